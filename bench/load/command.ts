/** The command line that all scenarios share: whole numbers as options, a table or JSON as outcome. */
import { parseArgs } from 'node:util';

export type Numbers<Name extends string> = Readonly<Record<Name, number>>;

export interface BenchCommand<Name extends string> {
  /** Option → default; all are whole numbers of at least 1. */
  readonly defaults: Numbers<Name>;
  run(numbers: Numbers<Name>): Promise<object>;
  /** What of an outcome is failure; default: none is. */
  failed?(outcome: object): boolean;
}

/** Runs the scenario with what the command line says; exit 1 when it failed. */
export async function benchMain<Name extends string>(command: BenchCommand<Name>): Promise<void> {
  const names = Object.keys(command.defaults) as Name[];
  const { values } = parseArgs({
    options: {
      json: { type: 'boolean', default: false },
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' as const }])),
    },
  });
  const given = values as Readonly<Record<string, string | boolean | undefined>>;
  const numbers = { ...command.defaults } as Record<Name, number>;
  for (const name of names) {
    const text = given[name];
    if (text === undefined) continue;
    numbers[name] = Number(text);
    if (!Number.isInteger(numbers[name]) || numbers[name] < 1) {
      process.stderr.write(`--${name}: write a whole number of at least 1\n`);
      process.exitCode = 1;
      return;
    }
  }
  const outcome = await command.run(numbers);
  if (given.json === true) process.stdout.write(`${JSON.stringify(outcome, null, 2)}\n`);
  else
    for (const [name, value] of Object.entries(outcome)) if (isLine(value)) printLine(name, value);
  if (command.failed?.(outcome) === true) process.exitCode = 1;
}

/** Tables are the scenario's own to print. */
const isLine = (value: unknown): boolean => typeof value !== 'object' || Array.isArray(value);

/** "queriesPerMessage" → "queries per message" */
function printLine(name: string, value: unknown): void {
  const label = name.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
  const number = typeof value === 'number' && !Number.isInteger(value);
  const text = number
    ? value.toFixed(2)
    : Array.isArray(value)
      ? String(value.length)
      : String(value);
  process.stdout.write(`${label.padEnd(24)}${text.padStart(12)}\n`);
}
