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
 * - Behind its end there is nothing, or zeros where it was made of a spare.
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
export const FILE_MODE = 0o600;
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
  /** Octets of zeros that the file was made of; 0 where it grows. */
  #filled: number;
  /** Something is written and not synced. */
  #dirty = false;

  private constructor(id: SegmentId, salt: number, fd: number, end: number, filled = 0) {
    this.id = id;
    this.salt = salt;
    this.#fd = fd;
    this.#end = end;
    this.#filled = filled;
  }

  /** @throws the system's error; then there is no such file */
  static create(folder: string, id: SegmentId, salt: number): SegmentFile {
    return SegmentFile.#begin(join(folder, segmentName(id)), 'w+', id, salt);
  }

  /**
   * Of the file of zeros that bears its name already.
   * @throws the system's error; then there is no such file
   */
  static createOver(folder: string, id: SegmentId, salt: number): SegmentFile {
    return SegmentFile.#begin(join(folder, segmentName(id)), 'r+', id, salt);
  }

  static #begin(path: string, flags: 'w+' | 'r+', id: SegmentId, salt: number): SegmentFile {
    const head = Buffer.alloc(SEGMENT_HEAD_OCTETS);
    head.write(MAGIC, 'latin1');
    head.writeUInt32LE(id, 8);
    head.writeUInt32LE(salt, 12);
    const fd = openSync(path, flags, FILE_MODE);
    try {
      const filled = fstatSync(fd).size;
      writeAll(fd, head, head.length, 0);
      fsyncSync(fd);
      return new SegmentFile(id, salt, fd, SEGMENT_HEAD_OCTETS, filled);
    } catch (error) {
      closeSync(fd);
      rmSync(path, { force: true });
      throw error;
    }
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

  /** It was made of a spare. */
  get isFilled(): boolean {
    return this.#filled > 0;
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

  /** Nothing more is appended: it is made durable, without zeros behind its end. @throws the system's error */
  finish(): void {
    this.sync();
    if (this.#filled <= this.#end) return;
    this.cut();
    fsyncSync(this.#fd);
  }

  /** Cuts off what is behind its end, such as what a failed append left. @throws the system's error */
  cut(): void {
    ftruncateSync(this.#fd, this.#end);
    this.#filled = 0;
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
