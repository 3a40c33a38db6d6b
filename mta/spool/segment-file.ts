/**
 * One segment: a file that records are appended to, and that goes as a whole.
 *
 *   0  "PsSegm01"   8  u32 id   12  u32 salt   16  records
 *
 * Invariants
 * - What append() or sync() returned for has reached the disk (fdatasync), and its name too (fsync of the
 *   folder).
 * - After a failed append nothing behind the last good record is ever taken for one: it is cut off, and
 *   where even that fails the file takes no more.
 */
import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

export type SegmentId = number;

const MAGIC = 'PsSegm01';
/** Octets before the first record. */
export const SEGMENT_HEAD_OCTETS = 16;
const FILE_MODE = 0o600;
const NAME = /^(\d{10})\.seg$/;

export const segmentName = (id: SegmentId): string => `${String(id).padStart(10, '0')}.seg`;

/** @returns null when the name is none of a segment */
export function segmentIdOf(name: string): SegmentId | null {
  const digits = NAME.exec(name)?.[1];
  return digits === undefined ? null : Number(digits);
}

export class SegmentFile {
  readonly id: SegmentId;
  readonly salt: number;
  readonly #fd: number;
  /** Where the next record goes; meaningful to the one who appends. */
  #end: number;
  /** Something is written and not synced. */
  #dirty = false;

  private constructor(id: SegmentId, salt: number, fd: number, end: number) {
    this.id = id;
    this.salt = salt;
    this.#fd = fd;
    this.#end = end;
  }

  /** @throws the system's error; then there is no such file */
  static create(folder: string, id: SegmentId, salt: number): SegmentFile {
    const head = Buffer.alloc(SEGMENT_HEAD_OCTETS);
    head.write(MAGIC, 'latin1');
    head.writeUInt32LE(id, 8);
    head.writeUInt32LE(salt, 12);
    const fd = openSync(join(folder, segmentName(id)), 'w+', FILE_MODE);
    try {
      writeAll(fd, head, head.length, 0);
      fsyncSync(fd);
    } catch (error) {
      closeSync(fd);
      rmSync(join(folder, segmentName(id)), { force: true });
      throw error;
    }
    return new SegmentFile(id, salt, fd, SEGMENT_HEAD_OCTETS);
  }

  /** @returns null when it has no sound head; throws the system's error, ENOENT for a missing one */
  static open(folder: string, id: SegmentId): SegmentFile | null {
    const fd = openSync(join(folder, segmentName(id)), 'r');
    const head = Buffer.alloc(SEGMENT_HEAD_OCTETS);
    const got = readSync(fd, head, 0, head.length, 0);
    const isOurs =
      head.toString('latin1', 0, MAGIC.length) === MAGIC && head.readUInt32LE(8) === id;
    if (got === head.length && isOurs) {
      return new SegmentFile(id, head.readUInt32LE(12), fd, fstatSync(fd).size);
    }
    closeSync(fd);
    return null;
  }

  get end(): number {
    return this.#end;
  }

  /**
   * Durable when it returns, where it is to be `synced`. @returns where the first octet went
   * @throws the system's error; then cut() is to be called
   */
  append(parts: readonly Uint8Array[], synced: boolean): number {
    const at = this.#end;
    let end = at;
    for (const part of parts) {
      writeAll(this.#fd, part, part.length, end);
      end += part.length;
    }
    this.#dirty = true;
    if (synced) this.sync();
    this.#end = end;
    return at;
  }

  /** Makes durable what is not yet. @throws the system's error */
  sync(): void {
    if (!this.#dirty) return;
    fdatasyncSync(this.#fd);
    this.#dirty = false;
  }

  /** Cuts off what a failed append left. @throws the system's error */
  cut(): void {
    ftruncateSync(this.#fd, this.#end);
  }

  /** @returns octets read, fewer than asked only at the end of the file */
  read(into: Uint8Array, offset: number, length: number, at: number): number {
    let done = 0;
    while (done < length) {
      const got = readSync(this.#fd, into, offset + done, length - done, at + done);
      if (got === 0) break;
      done += got;
    }
    return done;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function writeAll(fd: number, octets: Uint8Array, length: number, at: number): void {
  let done = 0;
  while (done < length) done += writeSync(fd, octets, done, length - done, at + done);
}
