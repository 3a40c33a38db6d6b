/**
 * The snapshot on disk. It is written part by part while queries are served, into a file beside its
 * place, synced, and moved there: a crash leaves the old one or the new one, never half of one. It is
 * read block by block while queries are served, up to the first block that is not sound.
 *
 * Invariants: one save at a time; whatever is in the way is logged and costs warmth, never a query.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import {
  BLOCK_HEAD_OCTETS,
  decodeBlock,
  encodeBlock,
  formatBlock,
  type Instant,
  isFormat,
  isSound,
  payloadOctets,
} from './snapshot.ts';
import type { CacheStore } from './store.ts';

export interface SnapshotOptions {
  readonly file: string;
  /** Between two saves. */
  readonly everyMs: number;
  /** Longest time past expiry that what is read may serve. */
  readonly staleMs: number;
  readonly cache: CacheStore;
  /** Whether what was saved under the key still belongs into the cache. */
  readonly accepts: (key: string) => boolean;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly log: Log;
}

/**
 * Between two blocks, written or read, queries are served. With a block for each part of the cache,
 * some 1,300 entries, the loop stood still for 30 to 140 ms while 100,000 entries were read; so, 28 at most.
 */
const BLOCK_ENTRIES_MAX = 512;
/** Names what an administrator only should read and write. */
const MODE = 0o600;

export class SnapshotFile implements AlarmOwner {
  /** Responses read at the start, and written last. */
  entriesLoaded = 0;
  entriesSaved = 0;
  /** Wall milliseconds; null before the first. */
  savedAtMs: number | null = null;
  readonly #options: SnapshotOptions;
  readonly #alarm = new Alarm(this, 0);
  #saving: Promise<void> | null = null;
  #loading: Promise<void> = Promise.resolve();
  #stopped = false;
  /** What is still to be read is not wanted any more. */
  #abandoned = false;

  constructor(options: SnapshotOptions) {
    this.#options = options;
  }

  /**
   * Reads what there is, in the background, and saves from then on.
   * @returns when all has been read, or `withinMs` have passed and the rest comes beside the queries
   */
  async start(withinMs: number): Promise<void> {
    const { clock, wheel, everyMs } = this.#options;
    this.#loading = this.load();
    wheel.arm(this.#alarm, everyMs);
    let timer: Timer | null = null;
    const elapsed = new Promise<void>((resolve) => {
      timer = clock.after(withinMs, resolve);
    });
    await Promise.race([this.#loading, elapsed]);
    (timer as Timer | null)?.cancel();
  }

  /** Something was dropped on purpose: it must not come back from the file. */
  onFlushed(): void {
    this.#abandoned = true;
    if (!this.#stopped) this.#options.wheel.arm(this.#alarm, 0);
  }

  /** Saves for the last time, unless the file has been left to another. */
  async stop(): Promise<void> {
    const isOurs = !this.#stopped;
    await this.leave();
    if (isOurs) await this.save();
  }

  /** The file is another's from now on: what is under way is finished, and nothing is saved after it. */
  async leave(): Promise<void> {
    this.#stopped = true;
    this.#options.wheel.disarm(this.#alarm);
    await this.#loading;
    await this.#saving;
  }

  /** Saves now, so that who starts next has what is known by now. */
  async saveNow(): Promise<void> {
    this.onAlarm();
    await this.#saving;
  }

  onAlarm(): void {
    this.#saving ??= this.#loading
      .then(() => this.save())
      .finally(() => {
        this.#saving = null;
        if (!this.#stopped) this.#options.wheel.arm(this.#alarm, this.#options.everyMs);
      });
  }

  /** Resolves when the file has been read as far as it is sound; never rejects. */
  async load(): Promise<void> {
    const { file, log } = this.#options;
    const startMs = this.#options.clock.monotonicMs();
    let handle: FileHandle;
    try {
      handle = await open(file, 'r');
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT')
        log.warn({ file, code }, 'the cache starts cold: cannot read its snapshot');
      return;
    }
    try {
      const whole = await this.#loadBlocks(handle);
      const tookMs = Math.round(this.#options.clock.monotonicMs() - startMs);
      const figures = { file, entries: this.entriesLoaded, tookMs };
      if (whole) log.info(figures, 'the cache is warm from its snapshot');
      else log.warn(figures, 'the snapshot is damaged; what stands before the damage was used');
    } catch (error) {
      log.warn({ file, error: String(error) }, 'the snapshot could not be read to its end');
    } finally {
      await handle.close();
    }
  }

  /** @returns whether every block was sound */
  async #loadBlocks(handle: FileHandle): Promise<boolean> {
    const first = await readBlock(handle);
    if (first === null || first === 'damaged' || !isFormat(first)) return false;
    for (;;) {
      const payload = await readBlock(handle);
      if (payload === null || this.#abandoned) return true;
      if (payload === 'damaged') return false;
      this.#admit(payload);
    }
  }

  #admit(payload: Buffer): void {
    const { cache, staleMs, accepts } = this.#options;
    for (const { key, entry, hits } of decodeBlock(payload, this.#now(), staleMs)) {
      // What was asked for meanwhile is newer.
      if (cache.peek(key, 'answer') !== undefined || !accepts(key)) continue;
      cache.set(key, entry);
      cache.addHits(key, hits);
      this.entriesLoaded += 1;
    }
  }

  /** Never rejects. */
  async save(): Promise<void> {
    const { file, log, clock } = this.#options;
    const beside = `${file}.new`;
    try {
      await this.#saveTo(beside);
      await rename(beside, file);
      await syncFolder(dirname(file));
      this.savedAtMs = clock.wallMs();
    } catch (error) {
      log.warn({ file, error: String(error) }, 'the snapshot of the cache could not be written');
      await rm(beside, { force: true }).catch(() => undefined);
    }
  }

  async #saveTo(beside: string): Promise<void> {
    const { cache } = this.#options;
    const handle = await open(beside, 'w', MODE);
    let entries = 0;
    try {
      await handle.writeFile(formatBlock());
      for (let part = 0; part < cache.parts; part += 1) {
        const all = cache.entriesOf(part);
        for (let from = 0; from < all.length; from += BLOCK_ENTRIES_MAX) {
          const now = this.#now();
          const saved = all
            .slice(from, from + BLOCK_ENTRIES_MAX)
            .filter(([, entry]) => entry.staleUntilMs > now.monotonicMs)
            .map(([key, entry]) => ({ key, entry, hits: cache.hits(key) }));
          if (saved.length === 0) continue;
          await handle.writeFile(encodeBlock(saved, now));
          entries += saved.length;
        }
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
    this.entriesSaved = entries;
  }

  #now(): Instant {
    const { clock } = this.#options;
    return { monotonicMs: clock.monotonicMs(), wallMs: clock.wallMs() };
  }
}

/** @returns the payload of the next block; null at the end of the file */
async function readBlock(handle: FileHandle): Promise<Buffer | null | 'damaged'> {
  const head = await readExactly(handle, BLOCK_HEAD_OCTETS);
  if (head.length === 0) return null;
  const octets = head.length < BLOCK_HEAD_OCTETS ? null : payloadOctets(head);
  if (octets === null) return 'damaged';
  const payload = await readExactly(handle, octets);
  return payload.length === octets && isSound(head, payload) ? payload : 'damaged';
}

/** @returns fewer octets at the end of the file */
async function readExactly(handle: FileHandle, octets: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(octets);
  let filled = 0;
  while (filled < octets) {
    const { bytesRead } = await handle.read(buffer, filled, octets - filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

/** So that the new name outlives a power cut. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
