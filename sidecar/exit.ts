/** Exit codes of every command; docs/operations/README.md lists them for operators. */
export const EXIT = {
  ok: 0,
  /** It was tried and did not work. */
  failed: 1,
  /** Bad flags, arguments or configuration: running it again changes nothing. */
  usage: 2,
  /** The command asks a running program, and none answers. */
  notRunning: 3,
  /** Who read the output has gone: what a shell says of a program that SIGPIPE ended, 128 + 13. */
  readerGone: 141,
} as const;

/** Ends a command with a sentence for people and a code for scripts. */
export class CommandFailed extends Error {
  override readonly name = 'CommandFailed';
  readonly code = 'COMMAND_FAILED';
  readonly exitCode: number;
  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}
