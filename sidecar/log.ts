/** Logs: one JSON object a line on standard error, so that standard output stays for people and pipes. */
import { writeSync } from 'node:fs';
import { type Logger, pino } from 'pino';
import type { LogLevel } from './config/schema.ts';
import { EXIT } from './exit.ts';

const STDERR = 2;
/** A pipe that is full is tried again so often before a line is dropped, a tenth of a second in all. */
const TRIES_MAX = 20;
const TRY_AGAIN_MS = 5;

/** @param program stands in every line, since programs share one standard error under `up` */
export function createLog(program: string, level: LogLevel): Logger {
  const lines = new LogLines(STDERR);
  const log = pino(
    {
      level,
      base: { program },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    lines,
  );
  lines.onAgain = (lost) => log.warn({ lost }, 'lines before this one could not be written');
  return log;
}

/** A mistake that nobody caught ends the process, as ever; it is a line of the log, with its traces. */
export function logUncaught(log: Logger): void {
  process.on('uncaughtException', (err: Error) => {
    log.error({ err }, `ends by a mistake: ${err.message}`);
    process.exit(EXIT.failed);
  });
}

/**
 * Lines written at once. One that cannot be (nobody reads, the disk is full, a reader that has stalled)
 * is dropped: no program ends, or waits for long, because of its log.
 *
 * Invariant: write() never throws. While lines are being dropped it does not wait for room at all.
 */
export class LogLines {
  /** Called once a line could be written again. @param lost lines dropped before it */
  onAgain: (lost: number) => void = () => undefined;
  readonly #fd: number;
  #lost = 0;
  /** The last line that was dropped had begun. */
  #torn = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  write(line: string): void {
    if (!this.#put(this.#torn ? `\n${line}` : line)) {
      this.#lost += 1;
      return;
    }
    this.#torn = false;
    const lost = this.#lost;
    this.#lost = 0;
    if (lost > 0) this.onAgain(lost);
  }

  #put(text: string): boolean {
    const octets = Buffer.from(text);
    let triesLeft = this.#lost === 0 ? TRIES_MAX : 0;
    for (let written = 0; written < octets.length; ) {
      try {
        written += writeSync(this.#fd, octets, written);
      } catch (error) {
        if (!isFull(error) || triesLeft === 0) {
          this.#torn ||= written > 0;
          return false;
        }
        triesLeft -= 1;
        Atomics.wait(NEVER_WOKEN, 0, 0, TRY_AGAIN_MS);
      }
    }
    return true;
  }
}

const NEVER_WOKEN = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** Pipes do not block once Node has opened them as its own standard output. */
const isFull = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN';
