/**
 * The command line of a bench: --help says what stands at the head of its file and which options there
 * are; a mistake is one line, not a trace.
 */
import { readFileSync } from 'node:fs';
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';

const EXIT_USAGE = 2;
const NUMBER = /^\d+(?:\.\d+)?$/;

/** What stands in the first comment of a file, as text. */
export function headerOf(file: string): string {
  const comment = /^\/\*\*([\s\S]*?)\*\//.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  return comment.replaceAll(/^\s*\* ?/gm, '').trim();
}

/**
 * Reads the options of the bench that this process runs. Ends the process after --help, and with exit
 * code 2 on an option that there is not, or on text in the place of a number.
 * @param options as parseArgs has them; whose default is a number takes only such
 */
export function benchOptions<const Options extends ParseArgsOptionsConfig>(options: Options) {
  if (process.argv.includes('--help')) {
    process.stdout.write(helpOf(process.argv[1]!, options));
    process.exit();
  }
  try {
    const { values } = parseArgs({ options });
    for (const [name, value] of Object.entries<unknown>(values)) {
      const isNumber = NUMBER.test(String(options[name]?.default));
      if (isNumber && !NUMBER.test(String(value))) {
        throw new TypeError(`--${name}: write a number, not "${value}"`);
      }
    }
    return values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n--help shows the options there are\n`);
    process.exit(EXIT_USAGE);
  }
}

function helpOf(file: string, options: ParseArgsOptionsConfig): string {
  const lines = Object.entries(options).map(([name, { type, default: usual }]) =>
    type === 'boolean' ? `  --${name}` : `  --${`${name} …`.padEnd(18)}${usual ?? ''}`.trimEnd(),
  );
  const list = lines.length === 0 ? [] : ['', 'Options, and what they are unless given:', ...lines];
  return `${[headerOf(file), ...list].join('\n')}\n`;
}
