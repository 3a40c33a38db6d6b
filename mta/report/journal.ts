/**
 * Lines on disk that wait to be taken in order: segment files, and how far they have been taken.
 *
 * Invariants
 * - Lines are read in the order of append(), each again until commit() has passed it.
 * - A line that flushed() covers survives power loss; a torn one at the end of a segment is passed over.
 * - octets is what all segments hold together.
 */
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';

const SEGMENT_OCTETS = 8 * 1_048_576;
const READ_OCTETS = 262_144;
const LF = 0x0a;
const CURSOR_FILE = 'cursor';

/** Where a reader stands: octets of a segment that it has behind it. */
export interface Cursor {
  readonly segment: number;
  readonly offset: number;
}

export interface Batch {
  /** Without LF. */
  readonly lines: readonly string[];
  readonly next: Cursor;
}

const nameOf = (segment: number): string => `${String(segment).padStart(10, '0')}.jsonl`;

export class Journal {
  readonly #folder: string;
  readonly #sizes = new Map<number, number>();
  #cursor: Cursor;
  #last: number;
  #file: FileHandle | null = null;
  #pending: string[] = [];
  #pendingOctets = 0;
  #flushing: Promise<void> | null = null;
  /** Called when there is more to read. */
  onLines: () => void = () => undefined;
  onTrouble: (error: unknown) => void = () => undefined;

  private constructor(folder: string, sizes: ReadonlyMap<number, number>, cursor: Cursor) {
    this.#folder = folder;
    this.#sizes = new Map(sizes);
    this.#cursor = cursor;
    this.#last = Math.max(cursor.segment, ...sizes.keys());
  }

  /** @throws the system's error */
  static async open(folder: string): Promise<Journal> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const sizes = new Map<number, number>();
    for (const name of (await readdir(folder)).sort()) {
      const segment = /^(\d{10})\.jsonl$/.exec(name)?.[1];
      if (segment === undefined) continue;
      const file = await open(join(folder, name));
      sizes.set(Number(segment), (await file.stat()).size);
      await file.close();
    }
    const first = Math.min(...sizes.keys(), Number.MAX_SAFE_INTEGER);
    const kept = await readFile(join(folder, CURSOR_FILE), 'latin1').catch(() => '');
    const [, segment, offset] = /^(\d+) (\d+)\n$/.exec(kept) ?? [];
    const cursor =
      segment !== undefined && Number(segment) >= first
        ? { segment: Number(segment), offset: Number(offset) }
        : { segment: sizes.size === 0 ? Number(segment ?? 0) + 1 : first, offset: 0 };
    return new Journal(folder, sizes, cursor);
  }

  /** On disk or on the way there, and not yet committed; a little more than remains to be read. */
  get octets(): number {
    let sum = 0;
    for (const size of this.#sizes.values()) sum += size;
    return sum - this.#cursor.offset + this.#pendingOctets;
  }

  get cursor(): Cursor {
    return this.#cursor;
  }

  /** @param line ends with LF */
  append(line: string): void {
    this.#pending.push(line);
    this.#pendingOctets += line.length;
    this.#flushing ??= this.#flush();
  }

  /** Tries again to write what could not be written. */
  retry(): void {
    if (this.#pending.length > 0) this.#flushing ??= this.#flush();
  }

  /** Resolves when what was appended is on disk, or cannot be written. */
  async flushed(): Promise<void> {
    await this.#flushing;
  }

  /** @returns null when there is nothing to read */
  async read(linesMax: number): Promise<Batch | null> {
    let { segment, offset } = this.#cursor;
    for (;;) {
      const size = this.#sizes.get(segment) ?? 0;
      const found = size > offset ? await this.#readAt(segment, offset, size, linesMax) : null;
      if (found !== null) return found;
      // What is left of an older segment is torn.
      if (segment >= this.#last) return null;
      segment += 1;
      offset = 0;
    }
  }

  /** Everything before `next` is done with. */
  async commit(next: Cursor): Promise<void> {
    const path = join(this.#folder, CURSOR_FILE);
    await writeFile(`${path}.new`, `${next.segment} ${next.offset}\n`, { flush: true });
    await rename(`${path}.new`, path);
    this.#cursor = next;
    for (const segment of this.#sizes.keys()) {
      if (segment >= next.segment) continue;
      await rm(join(this.#folder, nameOf(segment)), { force: true });
      this.#sizes.delete(segment);
    }
  }

  async close(): Promise<void> {
    await this.#flushing;
    await this.#file?.close();
    this.#file = null;
  }

  async #readAt(
    segment: number,
    offset: number,
    size: number,
    linesMax: number,
  ): Promise<Batch | null> {
    const file = await open(join(this.#folder, nameOf(segment)));
    try {
      // A line longer than a usual read is read with a larger one.
      for (let octetsMax = READ_OCTETS; ; octetsMax *= 4) {
        const buffer = Buffer.alloc(Math.min(octetsMax, size - offset));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
        const lines: string[] = [];
        let at = 0;
        while (lines.length < linesMax) {
          const lf = buffer.subarray(0, bytesRead).indexOf(LF, at);
          if (lf === -1) break;
          lines.push(buffer.toString('utf8', at, lf));
          at = lf + 1;
        }
        if (lines.length > 0) return { lines, next: { segment, offset: offset + at } };
        if (octetsMax >= size - offset) return null;
      }
    } finally {
      await file.close();
    }
  }

  async #flush(): Promise<void> {
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const lines = this.#pending;
      this.#pending = [];
      const octets = Buffer.from(lines.join(''));
      try {
        const file = await this.#writable();
        await file.appendFile(octets);
        await file.datasync();
        for (const { length } of lines) this.#pendingOctets -= length;
        this.#sizes.set(this.#last, (this.#sizes.get(this.#last) ?? 0) + octets.length);
        this.onLines();
      } catch (error) {
        // The segment may end in a torn line: the next try begins another.
        this.#pending = [...lines, ...this.#pending];
        await this.#file?.close().catch(() => undefined);
        this.#file = null;
        this.onTrouble(error);
        break;
      }
    }
    this.#flushing = null;
  }

  /** A fresh segment for each start, since the last one may be torn. */
  async #writable(): Promise<FileHandle> {
    if (this.#file !== null && (this.#sizes.get(this.#last) ?? 0) < SEGMENT_OCTETS)
      return this.#file;
    await this.#file?.close();
    this.#last += 1;
    this.#file = await open(join(this.#folder, nameOf(this.#last)), 'ax', 0o600);
    this.#sizes.set(this.#last, 0);
    return this.#file;
  }
}
