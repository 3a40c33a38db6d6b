/** The `postilion` command: parses the command line, and turns failures into a sentence and an exit code. */
import { CommanderError } from 'commander';
import { commandTree } from './command-tree.ts';
import { ConfigInvalid } from './config/problems.ts';
import { CommandFailed, EXIT } from './exit.ts';
import { endWithReaders } from './readers.ts';

endWithReaders();

try {
  await commandTree().parseAsync();
} catch (error) {
  process.exitCode = explain(error);
}

function explain(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof ConfigInvalid) {
    process.stderr.write(`${error.message}\n`);
    return EXIT.usage;
  }
  if (error instanceof CommandFailed) {
    process.stderr.write(`postilion: ${error.message}\n`);
    return error.exitCode;
  }
  throw error;
}
