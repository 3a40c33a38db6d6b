/**
 * Entries in segments, found by key, bounded by octets. What is new is written behind what is there;
 * when there is no more room, the oldest segment goes, and of it stays what was asked for since (CLOCK),
 * with half its hits.
 *
 * Newcomers have a queue of their own. Who is asked for again by the time its segment goes moves over to
 * the residents; who is not is forgotten. So a flood of names that nobody asks for twice passes through
 * the newcomers' share, and the residents never hear of it.
 *
 * Invariants: segments of a queue <= its bound, so octets <= octetsMax; a record is at most half a
 * segment, and after ROUNDS_GENTLE segments that stayed popular at most half of the next one stays, so
 * a put is done after one round more; entries <= entriesMax of the index.
 */
import type { CacheEntry } from './entry.ts';
import { hashKey, RECORD_ALIGN, Records, recordOctets } from './records.ts';
import { type Location, type SlotReader, Slots } from './slots.ts';

const SEGMENT_OCTETS_MIN = 8_192;
const SEGMENT_OCTETS_MAX = 262_144;
const SEGMENTS_MIN = 8;
/** So many segments in a row may keep all that is popular, before the next loses half of it. */
const ROUNDS_GENTLE = 4;
/** While a newcomers' segment goes, and a residents' because of it, what stays needs a place. */
const SEGMENTS_SPARE = 2;
/** The index has a slot for each so many octets: a small response with its record. */
const OCTETS_PER_ENTRY = 160;
/** What a location can tell: 32 bits of RECORD_ALIGN. */
const MEMORY_OCTETS_MAX = 2 ** 32 * RECORD_ALIGN - SEGMENT_OCTETS_MAX;
export interface ShelfOptions {
  /** Memory of segments and index together. */
  readonly octetsMax: number;
  /** Part of it that newcomers have, 0 to 1; 0: everyone is a resident at once. */
  readonly newcomerShare: number;
  /** Secret, so that nobody can choose keys that collide. */
  readonly seed: number;
}

/** A part of the memory that is filled from its start and given up whole. */
interface Segment {
  /** Offsets in the memory; records lie from `start` to `end`. */
  readonly start: number;
  end: number;
  liveOctets: number;
  queue: Queue | null;
}

interface Queue {
  /** Oldest first. */
  readonly segments: Segment[];
  readonly segmentsMax: number;
}

export class Shelf implements SlotReader {
  /** Entries given up for want of room. */
  evictedTotal = 0;
  readonly #seed: number;
  readonly #records: Records;
  readonly #slots: Slots;
  readonly #segmentOctets: number;
  /** In the order of their places. */
  readonly #segments: readonly Segment[];
  readonly #free: Segment[];
  readonly #residents: Queue;
  readonly #newcomers: Queue;

  constructor({ octetsMax, newcomerShare, seed }: ShelfOptions) {
    this.#seed = seed;
    this.#slots = new Slots(Math.floor(octetsMax / OCTETS_PER_ENTRY), this);
    const octets = Math.min(octetsMax - this.#slots.octets, MEMORY_OCTETS_MAX);
    let segmentOctets = SEGMENT_OCTETS_MAX;
    while (segmentOctets > SEGMENT_OCTETS_MIN && segmentOctets * SEGMENTS_MIN > octets) {
      segmentOctets /= 2;
    }
    const count = Math.max(Math.floor(octets / segmentOctets), SEGMENTS_MIN);
    this.#segmentOctets = segmentOctets;
    this.#records = new Records(count * segmentOctets);
    this.#segments = Array.from({ length: count }, (_, index) => {
      const start = index * segmentOctets;
      return { start, end: start, liveOctets: 0, queue: null };
    });
    this.#free = this.#segments.toReversed();
    const newcomers = newcomerShare === 0 ? 0 : Math.max(Math.round(count * newcomerShare), 2);
    this.#newcomers = { segments: [], segmentsMax: newcomers };
    this.#residents = { segments: [], segmentsMax: count - newcomers - SEGMENTS_SPARE };
  }

  get entries(): number {
    return this.#slots.entries;
  }

  /** Octets of memory in use: segments as far as they are filled, and the index's part for its entries. */
  get octets(): number {
    const indexOctets = (this.#slots.octets * this.entries) / this.#slots.entriesMax;
    return this.#segments.reduce((sum, it) => sum + it.end - it.start, Math.ceil(indexOctets));
  }

  /** @param counts whether the entry counts as asked for once more */
  get(key: string, counts: boolean): CacheEntry | undefined {
    const at = this.#find(key);
    if (at < 0) return undefined;
    if (counts) this.#records.addHits(at, 1);
    return this.#records.read(at);
  }

  /** Times that the entry was asked for, at most 255; of those before it was last renewed, half. */
  hits(key: string): number {
    const at = this.#find(key);
    return at < 0 ? 0 : this.#records.hitsAt(at);
  }

  /** Others have answered from copies of the entry. */
  addHits(key: string, count: number): void {
    const at = this.#find(key);
    if (at >= 0) this.#records.addHits(at, count);
  }

  /**
   * Keeps an entry, in place of the one of that key, whose hits count half for it. What is larger than
   * half a segment is not kept.
   *
   * @param resident never a newcomer; who replaces a resident is none either
   */
  set(key: string, entry: CacheEntry, resident: boolean): void {
    const records = this.#records;
    const hash = hashKey(key, this.#seed);
    const size = recordOctets(entry);
    const old = this.#slots.find(key, hash);
    if (size > this.#segmentOctets / 2) {
      if (old !== 0) this.#drop(hash, old);
      return;
    }
    const stays =
      resident || (old !== 0 && this.#segmentAt(offsetOf(old)).queue === this.#residents);
    const hits = old === 0 ? 0 : records.hitsAt(offsetOf(old)) >>> 1;
    while (this.entries >= this.#slots.entriesMax) this.#makeRoom(this.#fullest(), 'entries');
    const at = this.#allocate(stays ? this.#residents : this.#newcomers, size);
    records.write(at, key, entry, hits);
    const replaced = this.#slots.set(key, hash, locationOf(at));
    if (replaced !== 0) this.#kill(offsetOf(replaced));
  }

  /** @returns whether there was one */
  delete(key: string): boolean {
    const hash = hashKey(key, this.#seed);
    const location = this.#slots.find(key, hash);
    if (location !== 0) this.#drop(hash, location);
    return location !== 0;
  }

  /** @returns entries removed. Takes some 100 ns for each that is there */
  deleteWhere(isDoomed: (key: string) => boolean): number {
    let removed = 0;
    for (const segment of this.#segments) {
      for (const at of this.#liveOf(segment)) {
        if (!isDoomed(this.#records.keyAt(at))) continue;
        this.#drop(this.#records.hashAt(at, this.#seed), locationOf(at));
        removed += 1;
      }
    }
    return removed;
  }

  /** @returns entries removed */
  clear(): number {
    const removed = this.entries;
    this.#slots.clear();
    for (const queue of [this.#residents, this.#newcomers]) {
      for (const segment of queue.segments.splice(0)) this.#release(segment);
    }
    return removed;
  }

  /** Most recently stored first, residents before newcomers; nothing counts as asked for. */
  *dump(): Generator<readonly [key: string, entry: CacheEntry]> {
    for (const queue of [this.#residents, this.#newcomers]) {
      for (const segment of queue.segments.toReversed()) {
        for (const at of [...this.#liveOf(segment)].reverse()) yield this.#pair(at);
      }
    }
  }

  get segmentCount(): number {
    return this.#segments.length;
  }

  /** What one segment holds now, in the order it was stored; nothing counts as asked for. */
  entriesOf(segment: number): (readonly [key: string, entry: CacheEntry])[] {
    return [...this.#liveOf(this.#segments[segment]!)].map((at) => this.#pair(at));
  }

  matches(location: Location, key: string): boolean {
    return this.#records.matches(offsetOf(location), key);
  }

  hashAt(location: Location): number {
    return this.#records.hashAt(offsetOf(location), this.#seed);
  }

  /** @returns the offset of the key's record, or -1 */
  #find(key: string): number {
    const location = this.#slots.find(key, hashKey(key, this.#seed));
    return location === 0 ? -1 : offsetOf(location);
  }

  #pair(at: number): readonly [key: string, entry: CacheEntry] {
    return [this.#records.keyAt(at), this.#records.read(at)];
  }

  #segmentAt(at: number): Segment {
    return this.#segments[Math.floor(at / this.#segmentOctets)]!;
  }

  /** Offsets of the live records, in the order they were written. */
  *#liveOf({ start, end }: Segment): Generator<number> {
    for (let at = start; at < end; at += this.#records.sizeAt(at)) {
      if (this.#records.isLive(at)) yield at;
    }
  }

  #drop(hash: number, location: Location): void {
    this.#slots.remove(hash, location);
    this.#kill(offsetOf(location));
  }

  #kill(at: number): void {
    this.#records.kill(at);
    this.#segmentAt(at).liveOctets -= this.#records.sizeAt(at);
  }

  /** @returns the offset of `size` octets, at most half a segment, that count as live */
  #allocate(queue: Queue, size: number): number {
    for (let round = 1; ; round += 1) {
      const last = queue.segments.at(-1);
      if (last !== undefined && last.end + size <= last.start + this.#segmentOctets) {
        const at = last.end;
        last.end += size;
        last.liveOctets += size;
        return at;
      }
      if (queue.segments.length < queue.segmentsMax) this.#append(queue);
      else this.#makeRoom(queue, round <= ROUNDS_GENTLE ? 'gently' : 'octets');
    }
  }

  #append(queue: Queue): void {
    const segment = this.#free.pop();
    if (segment === undefined) throw new Error('queues have more segments than there are');
    segment.queue = queue;
    queue.segments.push(segment);
  }

  /**
   * Gives up one segment: the emptiest when less than half of it is live, which loses nothing; else the
   * oldest, which loses what nobody asked for.
   *
   * @param need what there is too much of, which then falls even when everybody is popular; 'gently':
   *   octets, but whoever is popular stays
   */
  #makeRoom(queue: Queue, need: 'gently' | 'octets' | 'entries'): void {
    const records = this.#records;
    const halfOctets = this.#segmentOctets / 2;
    const emptiest = queue.segments.reduce((a, b) => (b.liveOctets < a.liveOctets ? b : a));
    const loses = need === 'entries' || emptiest.liveOctets > halfOctets;
    const victim = loses ? queue.segments[0]! : emptiest;
    const movedMax =
      need === 'gently' ? this.#segmentOctets : Math.min(halfOctets, victim.liveOctets / 2);
    queue.segments.splice(queue.segments.indexOf(victim), 1);
    let movedOctets = 0;
    for (const from of this.#liveOf(victim)) {
      const hash = records.hashAt(from, this.#seed);
      const size = records.sizeAt(from);
      const hits = records.hitsAt(from);
      if (loses && (hits === 0 || movedOctets + size > movedMax)) {
        this.#slots.remove(hash, locationOf(from));
        this.evictedTotal += 1;
        continue;
      }
      movedOctets += size;
      const to = this.#allocate(loses ? this.#residents : queue, size);
      records.move(from, to, size, loses ? hits >>> 1 : hits);
      this.#slots.move(hash, locationOf(from), locationOf(to));
    }
    this.#release(victim);
  }

  /** Who gives way when the index is full. */
  #fullest(): Queue {
    const { segments, segmentsMax } = this.#newcomers;
    return segments.length > 1 && segments.length * 2 > segmentsMax
      ? this.#newcomers
      : this.#residents;
  }

  #release(segment: Segment): void {
    segment.end = segment.start;
    segment.liveOctets = 0;
    segment.queue = null;
    this.#free.push(segment);
  }
}

const offsetOf = (location: Location): number => (location - 1) * RECORD_ALIGN;
const locationOf = (offset: number): Location => offset / RECORD_ALIGN + 1;
