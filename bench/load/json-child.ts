/**
 * A program of ours in a process of its own that speaks JSON lines: one when it is ready, then one for
 * each empty line it is sent, and one at its end.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

export interface JsonChild<Ready, Answer> {
  readonly pid: number;
  readonly ready: Ready;
  ask(): Promise<Answer>;
  stop(): Promise<void>;
}

/** @param script relative to bench/; @param options name → value, true for an option without one */
export async function startJsonChild<Ready, Answer>(
  script: string,
  options: Readonly<Record<string, string | number | true>>,
): Promise<JsonChild<Ready, Answer>> {
  const file = fileURLToPath(new URL(`../${script}`, import.meta.url));
  const args = Object.entries(options).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, String(value)],
  );
  const child: ChildProcess = spawn(process.execPath, [file, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  const next = async (): Promise<unknown> => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error(`${script} has ended`);
    return JSON.parse(value);
  };
  const ready = (await next()) as Ready;
  return {
    pid: child.pid!,
    ready,
    ask() {
      child.stdin!.write('\n');
      return next() as Promise<Answer>;
    },
    async stop() {
      child.stdin!.end();
      await exited;
      process.off('exit', kill);
    },
  };
}
