/**
 * Who reads our standard output and error may go away, or their disk may fill. A command then works for
 * nobody, and ends; a program that serves others goes on, and what it would have written is lost.
 */
import { EXIT } from './exit.ts';

const STREAMS = () => [process.stdout, process.stderr];

/** Commands: where the reader has gone, as if SIGPIPE had ended them (Node ignores that signal). */
export function endWithReaders(): void {
  for (const stream of STREAMS()) stream.on('error', end);
}

/** Programs that serve: nothing that becomes of their output ends them. */
export function outliveReaders(): void {
  for (const stream of STREAMS()) stream.off('error', end).on('error', () => undefined);
}

function end(error: NodeJS.ErrnoException): never {
  if (error.code === 'EPIPE') process.exit(EXIT.readerGone);
  process.stderr.write(`postilion: the output could not be written: ${error.message}\n`);
  process.exit(EXIT.failed);
}
