/**
 * The file of events: one line each, appended in batches, rotated by size and opened anew on request.
 *
 * Invariants
 * - path is the newest, path.1 the one before, …, path.<filesMax - 1> the oldest.
 * - A line is written GATHER_MS after the last write at the latest, and at once where nothing was written
 *   lately or somebody waits for it.
 * - Lines in memory <= PENDING_OCTETS_MAX; what a broken disk keeps from being written is dropped beyond
 *   it, and counted.
 */
import { type FileHandle, open, rename } from 'node:fs/promises';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { EventSink } from './events.ts';

const PENDING_OCTETS_MAX = 32 * 1_048_576;
const RETRY_MS = 1_000;
/** Between two writes: one costs 60 µs of CPU on both sides, and under load there would be one for each few messages. */
const GATHER_MS = 10;

export interface EventFileOptions {
  readonly path: string;
  /** A file that has grown to this is rotated; 0 never. */
  readonly octetsMax: number;
  /** Files kept, the newest included. */
  readonly filesMax: number;
  readonly clock: Clock;
  readonly log: Log;
}

export class EventFile implements EventSink {
  readonly #options: EventFileOptions;
  #file: FileHandle;
  #octets: number;
  #pending: string[] = [];
  #pendingOctets = 0;
  #writing: Promise<void> | null = null;
  #reopen = false;
  #closed = false;
  /** How many wait for flushed(). */
  #awaited = 0;
  /** Ends the pause under way. */
  #hurry: (() => void) | null = null;
  /** Lines that never reached the file. */
  dropped = 0;

  private constructor(options: EventFileOptions, file: FileHandle, octets: number) {
    this.#options = options;
    this.#file = file;
    this.#octets = octets;
  }

  /** @throws the system's error when the file cannot be opened */
  static async open(options: EventFileOptions): Promise<EventFile> {
    const file = await openAppending(options.path);
    return new EventFile(options, file, (await file.stat()).size);
  }

  write(line: string): void {
    if (this.#pendingOctets + line.length > PENDING_OCTETS_MAX) {
      this.dropped += 1;
      return;
    }
    this.#pending.push(line);
    this.#pendingOctets += line.length;
    this.#writing ??= this.#work();
  }

  /** Resolves when what was written has been handed to the system, or is given up. */
  async flushed(): Promise<void> {
    this.#awaited += 1;
    this.#hurry?.();
    await this.#writing;
    this.#awaited -= 1;
  }

  /** After this, lines go to a file of this name, also if the one that was open has been moved away. */
  reopen(): void {
    this.#reopen = true;
    this.#hurry?.();
    this.#writing ??= this.#work();
  }

  /** Writes what is pending. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#hurry?.();
    await this.#writing;
    await this.#file.close();
  }

  async #work(): Promise<void> {
    // Let the events of this turn gather.
    await Promise.resolve();
    while (this.#pending.length > 0 || this.#reopen) {
      try {
        if (this.#reopen) await this.#open();
        const { octetsMax } = this.#options;
        if (octetsMax > 0 && this.#octets >= octetsMax) await this.#rotate();
        await this.#writePending();
        if (!this.#closed && this.#awaited === 0) await this.#gather();
      } catch (error) {
        const { path, log, clock } = this.#options;
        log.error({ path, error: String(error), dropped: this.dropped }, 'events are not written');
        if (this.#closed) break;
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      }
    }
    this.#writing = null;
  }

  #gather(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(GATHER_MS, resolve);
      this.#hurry = () => {
        timer.cancel();
        resolve();
      };
    });
  }

  async #writePending(): Promise<void> {
    if (this.#pending.length === 0) return;
    const count = this.#pending.length;
    const octets = Buffer.from(this.#pending.join(''));
    const { bytesWritten } = await this.#file.write(octets);
    // A full disk takes a part: the rest stays, in the middle of a line if need be.
    this.#octets += bytesWritten;
    const rest = octets.toString('utf8', bytesWritten);
    this.#pending = [...(rest === '' ? [] : [rest]), ...this.#pending.slice(count)];
    this.#pendingOctets = this.#pending.reduce((sum, { length }) => sum + length, 0);
  }

  async #rotate(): Promise<void> {
    const { path, filesMax } = this.#options;
    const nameOf = (index: number): string => (index === 0 ? path : `${path}.${index}`);
    for (let index = filesMax - 2; index >= 0; index -= 1) {
      await rename(nameOf(index), nameOf(index + 1)).catch(ignoreMissing);
    }
    if (filesMax === 1) await this.#file.truncate(0);
    await this.#open();
  }

  async #open(): Promise<void> {
    const file = await openAppending(this.#options.path);
    await this.#file.close();
    this.#file = file;
    this.#octets = (await file.stat()).size;
    this.#reopen = false;
  }
}

const openAppending = (path: string): Promise<FileHandle> => open(path, 'a', 0o640);

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
}
