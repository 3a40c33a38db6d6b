/**
 * The segments of a spool: the one that is being appended to, those that are read, and how much of each
 * is still wanted.
 *
 * Invariants
 * - A segment grows up to SEGMENT_OCTETS, and by one batch more.
 * - What is wanted of a segment is counted in the database, in the transactions that change it; memory
 *   follows after the commit.
 * - A file goes when nothing of it is wanted, nothing is appended to it, and no crash can make anybody
 *   read the log from so far back; its row goes after it.
 */
import { readdirSync, statfsSync, truncateSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { makeFolder, syncFolder } from './folder.ts';
import {
  SEGMENT_HEAD_OCTETS,
  SegmentFile,
  type SegmentId,
  segmentIdOf,
  segmentName,
} from './segment-file.ts';
import { Spare } from './spare.ts';

export const SEGMENTS_FOLDER = 'segments';
/** A new segment is begun beyond this. */
const SEGMENT_OCTETS = 64 * 1_048_576;
/** A spare is made once a segment has an octet for so many of a whole one: a spool at rest needs none. */
const SPARE_FROM_SHARE = 16;
/**
 * And only where a sync has fewer octets: it then saves some 45 µs of CPU and a third of its time or more. To
 * fill as much as 10 KB costs 4 µs, and up to 20 on a busy machine: at 100 KB to a sync that was a loss.
 */
const SPARE_SYNC_OCTETS = 32_768;
/** And only where the disk has room for so many segments beyond what is to be kept free. */
const SPARE_ROOM_SEGMENTS = 8;
/** Files kept open for reading, besides the one appended to. */
const READERS_MAX = 64;

/** Where something begins. */
export interface Place {
  readonly segment: SegmentId;
  /** Octet in the file. */
  readonly at: number;
}

export const isBefore = (one: Place, other: Place): boolean =>
  one.segment !== other.segment ? one.segment < other.segment : one.at < other.at;

/** What is still wanted of a segment. */
interface Wanted {
  messages: number;
  octets: number;
}

/** A segment of which little is wanted, and how much. */
export interface Sparse {
  readonly id: SegmentId;
  readonly octets: number;
}

export interface SegmentsOptions {
  /** Of the disk, to be kept free. */
  readonly reserveOctets: number;
  /** Of a whole segment; smaller ones are for tests. */
  readonly segmentOctets?: number | undefined;
}

export class Segments {
  readonly #folder: string;
  readonly #reserveOctets: number;
  readonly #segmentOctets: number;
  readonly #spare: Spare;
  readonly #upsert: Database.Statement<[SegmentId, number, number]>;
  readonly #delete: Database.Statement<[SegmentId]>;
  /** Files that are there, or ought to be. */
  readonly #known = new Set<SegmentId>();
  /** Octets of those that nothing is appended to, as far as anybody asked. */
  readonly #sizes = new Map<SegmentId, number>();
  /** As committed. */
  readonly #wanted = new Map<SegmentId, Wanted>();
  /** Segment → how many others want something of it. */
  readonly #pins = new Map<SegmentId, number>();
  /** Of the transaction under way. */
  readonly #changes = new Map<SegmentId, Wanted>();
  /** Rows whose file is gone; the next transaction deletes them. */
  #rowsToGo: SegmentId[] = [];
  /** In order of use, the last one last. */
  readonly #readers = new Map<SegmentId, SegmentFile>();
  #current: SegmentFile | null = null;
  /** Of the current one. */
  #syncs = 0;
  #lastId: SegmentId = 0;
  #sealedOctets = 0;

  /** @throws the system's error */
  constructor(
    db: Database.Database,
    spoolFolder: string,
    { reserveOctets, segmentOctets = SEGMENT_OCTETS }: SegmentsOptions,
  ) {
    this.#folder = join(spoolFolder, SEGMENTS_FOLDER);
    this.#reserveOctets = reserveOctets;
    this.#segmentOctets = segmentOctets;
    this.#spare = new Spare(this.#folder, segmentOctets);
    this.#upsert = db.prepare(
      `INSERT INTO segments (id, messages, octets) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE
       SET messages = messages + excluded.messages, octets = octets + excluded.octets`,
    );
    this.#delete = db.prepare('DELETE FROM segments WHERE id = ?');
    const rows = db
      .prepare<[], Wanted & { id: SegmentId }>('SELECT id, messages, octets FROM segments')
      .all();
    for (const { id, messages, octets } of rows) this.#wanted.set(id, { messages, octets });
    for (const id of [...this.#wanted.keys(), ...this.#files()]) {
      this.#known.add(id);
      this.#lastId = Math.max(this.#lastId, id);
    }
  }

  /**
   * Durable when it returns, with all that was appended before; or after the next sync() where `synced`
   * is false.
   *
   * @param nowMs wall time, salts a new segment
   * @throws the system's error; then nothing was appended
   */
  append(
    parts: readonly Uint8Array[],
    { nowMs, synced }: { readonly nowMs: number; readonly synced: boolean },
  ): Place {
    const file = this.next(nowMs);
    if (synced) this.#syncs += 1;
    try {
      return { segment: file.id, at: file.append(parts, synced) };
    } catch (error) {
      this.#recover(file, error);
      throw error;
    }
  }

  /** The segment that the next append goes to. @throws the system's error */
  next(nowMs: number): SegmentFile {
    if (this.#current !== null && this.#isWhole(this.#current)) this.seal();
    this.#current ??= this.#begin(nowMs);
    return this.#current;
  }

  /** When there is time: makes a spare ready for the next segment. */
  prepare(): void {
    const end = this.#current?.end ?? 0;
    if (this.#spare.isComing || end < this.#segmentOctets / SPARE_FROM_SHARE) return;
    if (end > this.#syncs * SPARE_SYNC_OCTETS) return;
    const { bavail, bsize } = statfsSync(this.#folder);
    const wanted = this.#reserveOctets + SPARE_ROOM_SEGMENTS * this.#segmentOctets;
    if (bavail * bsize >= wanted) this.#spare.make();
  }

  /** Room is needed. */
  dropSpare(): void {
    this.#spare.drop();
  }

  /**
   * What is appended from here on is behind `place`, as far as the index had come: segments that have gone may
   * have had higher ids than those that are left, and nobody would read again what seems to be behind him.
   */
  beginBehind({ segment, at }: Place): void {
    this.#lastId = Math.max(this.#lastId, at > 0 ? segment : segment - 1);
  }

  /** Where the log ends. */
  get end(): Place {
    const file = this.#current;
    return file === null
      ? { segment: this.#lastId + 1, at: 0 }
      : { segment: file.id, at: file.end };
  }

  /** Octets appended since it was opened. */
  get appended(): number {
    return this.#sealedOctets + (this.#current?.end ?? 0);
  }

  /** Something of it is wanted that the database does not count. */
  pin(segment: SegmentId): void {
    this.#pins.set(segment, (this.#pins.get(segment) ?? 0) + 1);
  }

  unpin(segment: SegmentId): void {
    const count = (this.#pins.get(segment) ?? 0) - 1;
    if (count > 0) this.#pins.set(segment, count);
    else this.#pins.delete(segment);
  }

  /**
   * @param roomFor where they go. @returns octets of the file, or why there are none; throws an error of the
   *   system that may pass
   */
  read(
    { segment, at }: Place,
    octets: number,
    roomFor: (octets: number) => Buffer = Buffer.allocUnsafe,
  ): Buffer | 'missing' | 'short' {
    const file = this.#reader(segment);
    if (file === null) return 'missing';
    const content = roomFor(octets);
    return file.read(content, 0, octets, at) === octets ? content : 'short';
  }

  /** As much of it as the file still has; null when that is nothing. @throws the system's error */
  remains({ segment, at }: Place, octets: number): Buffer | null {
    const content = Buffer.alloc(octets);
    const got = this.#reader(segment)?.read(content, 0, octets, at) ?? 0;
    return got === 0 ? null : content.subarray(0, got);
  }

  /** Inside a transaction: so much more, or less, is wanted of it. */
  want(segment: SegmentId, messages: number, octets: number): void {
    const change = this.#changes.get(segment);
    if (change === undefined) this.#changes.set(segment, { messages, octets });
    else {
      change.messages += messages;
      change.octets += octets;
    }
  }

  /** Inside the transaction, at its end. */
  save(): void {
    for (const id of this.#rowsToGo) this.#delete.run(id);
    for (const [id, { messages, octets }] of this.#changes) this.#upsert.run(id, messages, octets);
  }

  /** The transaction is committed. */
  saved(): void {
    this.#rowsToGo = [];
    for (const [id, { messages, octets }] of this.#changes) {
      const wanted = this.#wanted.get(id) ?? { messages: 0, octets: 0 };
      wanted.messages += messages;
      wanted.octets += octets;
      this.#wanted.set(id, wanted);
    }
    this.#changes.clear();
  }

  /** The transaction is not committed. */
  unsaved(): void {
    this.#changes.clear();
  }

  /** Segments that are there or ought to be, from `first` on, in order. @throws the system's error */
  from(first: SegmentId): SegmentId[] {
    const ids = new Set([...this.#files(), ...this.#wanted.keys()].filter((id) => id >= first));
    return [...ids].sort((one, other) => one - other);
  }

  /** @returns null when it is missing, or its head is damaged */
  file(id: SegmentId): SegmentFile | null {
    return this.#reader(id);
  }

  /** Of those before `before`, the one of which least is wanted, at most `shareMax` of it; null when there is none. */
  sparsest(before: SegmentId, shareMax: number): Sparse | null {
    let found: Sparse | null = null;
    for (const [id, { messages, octets }] of this.#wanted) {
      if (
        id >= before ||
        messages === 0 ||
        octets >= (found?.octets ?? Number.POSITIVE_INFINITY) ||
        this.#pins.has(id)
      )
        continue;
      if (octets > this.#sizeOf(id) * shareMax) continue;
      found = { id, octets };
    }
    return found;
  }

  /** Rows have something there. */
  isWanted(id: SegmentId): boolean {
    return (this.#wanted.get(id)?.messages ?? 0) > 0;
  }

  /** There are files that could go if the log began behind them. */
  get hasUnwanted(): boolean {
    for (const id of this.#known) if (this.#isUnwanted(id)) return true;
    return false;
  }

  /** Removes files that nothing is wanted of. @param low the log may be read from here on, after a crash */
  sweep(low: SegmentId): void {
    for (const id of this.#known) {
      if (id >= low || !this.#isUnwanted(id) || !this.#unlink(id)) continue;
      this.#readers.get(id)?.close();
      this.#readers.delete(id);
      this.#known.delete(id);
      this.#sizes.delete(id);
      if (this.#wanted.delete(id)) this.#rowsToGo.push(id);
    }
  }

  /** What is behind `at` in a segment that a process has left goes; where it cannot, it stays. */
  cutOff({ segment, at }: Place): void {
    this.#readers.get(segment)?.close();
    this.#readers.delete(segment);
    try {
      truncateSync(join(this.#folder, segmentName(segment)), at);
    } catch {
      // It is nothing but zeros.
    }
  }

  /** Makes all that was appended durable. @throws the system's error */
  sync(): void {
    this.#current?.sync();
  }

  /** Nothing more is appended to the current one. @throws the system's error, when it cannot be synced */
  seal(): void {
    this.#current?.finish();
    this.#retire();
  }

  /** Ends the current one when nothing of it is wanted, so that it can go. */
  sealUnwanted(): void {
    const file = this.#current;
    if (file !== null && file.end > SEGMENT_HEAD_OCTETS && this.#isDead(file.id)) this.seal();
  }

  close(): void {
    this.#current?.close();
    this.#current = null;
    for (const file of this.#readers.values()) file.close();
    this.#readers.clear();
    this.#spare.close();
  }

  /** Of one that nothing is appended to. */
  #sizeOf(id: SegmentId): number {
    const known = this.#sizes.get(id);
    if (known !== undefined) return known;
    const size = this.#reader(id)?.end ?? 0;
    this.#sizes.set(id, size);
    return size;
  }

  #retire(): void {
    const file = this.#current;
    if (file === null) return;
    this.#current = null;
    this.#sealedOctets += file.end;
    this.#keep(file);
  }

  #isUnwanted(id: SegmentId): boolean {
    return id !== this.#current?.id && this.#isDead(id);
  }

  #isDead(id: SegmentId): boolean {
    return (this.#wanted.get(id)?.messages ?? 0) === 0 && !this.#pins.has(id);
  }

  /** @returns whether it is gone; else it is tried again when the spool is opened */
  #unlink(id: SegmentId): boolean {
    try {
      unlinkSync(join(this.#folder, segmentName(id)));
      return true;
    } catch (error) {
      return isMissing(error);
    }
  }

  /** One that grows ends as soon as there is a spare. */
  #isWhole({ end, isFilled }: SegmentFile): boolean {
    if (end >= this.#segmentOctets) return true;
    return !isFilled && this.#spare.isReady && end >= this.#segmentOctets / SPARE_FROM_SHARE;
  }

  #begin(nowMs: number): SegmentFile {
    makeFolder(this.#folder);
    const id = this.#lastId + 1;
    const file = this.#create(id, crc32(`${nowMs} ${id} ${process.pid}`));
    try {
      syncFolder(this.#folder);
    } catch (error) {
      file.close();
      throw error;
    }
    this.#lastId = id;
    this.#syncs = 0;
    this.#known.add(id);
    return file;
  }

  #create(id: SegmentId, salt: number): SegmentFile {
    if (!this.#spare.isReady) return SegmentFile.create(this.#folder, id, salt);
    try {
      this.#spare.moveTo(join(this.#folder, segmentName(id)));
      return SegmentFile.createOver(this.#folder, id, salt);
    } catch {
      return SegmentFile.create(this.#folder, id, salt);
    }
  }

  /** A full disk leaves a file that can be gone on with; after anything else another one is begun. */
  #recover(file: SegmentFile, cause: unknown): void {
    try {
      file.cut();
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOSPC') return;
    } catch {
      // What it has behind its end is ignored as long as this process lives.
    }
    this.#retire();
  }

  #reader(id: SegmentId): SegmentFile | null {
    if (id === this.#current?.id) return this.#current;
    let file = this.#readers.get(id) ?? null;
    if (file === null) {
      try {
        file = SegmentFile.open(this.#folder, id);
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
      if (file === null) return null;
    }
    this.#keep(file);
    return file;
  }

  #keep(file: SegmentFile): void {
    this.#readers.delete(file.id);
    this.#readers.set(file.id, file);
    if (this.#readers.size <= READERS_MAX) return;
    const [oldest] = this.#readers.values();
    oldest!.close();
    this.#readers.delete(oldest!.id);
  }

  #files(): SegmentId[] {
    try {
      return readdirSync(this.#folder)
        .map(segmentIdOf)
        .filter((id) => id !== null);
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'ENOENT';
