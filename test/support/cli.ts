/** Our own command line, run within the test: forty starts of a process would take a minute. */
import { CommanderError } from 'commander';
import { vi } from 'vitest';
import { commandTree } from '../../sidecar/command-tree.ts';
import { CommandFailed, EXIT } from '../../sidecar/exit.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One at a time: what the process writes meanwhile is taken for the command's. */
export async function runCommand(args: readonly string[]): Promise<Ran> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((text) => {
      written[stream] += String(text);
      return true;
    }),
  );
  let code = 0;
  try {
    await commandTree().parseAsync(args, { from: 'user' });
    code = Number(process.exitCode ?? 0);
  } catch (error) {
    if (!(error instanceof CommandFailed || error instanceof CommanderError)) throw error;
    code = error instanceof CommandFailed ? error.exitCode : EXIT.usage;
    written.stderr += error.message;
  } finally {
    for (const spy of spies) spy.mockRestore();
    process.exitCode = undefined;
  }
  return { code, ...written };
}
