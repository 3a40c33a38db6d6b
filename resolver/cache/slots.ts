/**
 * Where each key's record is: an open-addressed table of locations, five octets a slot. It is as large
 * at the start as it will ever be, so that it never has to be built anew while queries wait; pages that
 * nothing was put into cost no memory.
 *
 * Invariants: entries <= entriesMax < slots, so a probe ends; between the slot that a hash says and the
 * slot where its record is found no slot is free.
 */

/** A record's place: segment number and offset, never 0. */
export type Location = number;

/** The records that locations stand for. */
export interface SlotReader {
  matches(location: Location, key: string): boolean;
  hashAt(location: Location): number;
}

/** Above this share of slots in use, probes grow long. */
const LOAD_MAX = 0.75;
const SLOT_OCTETS = 5;
const FREE = 0;

export class Slots {
  readonly entriesMax: number;
  readonly octets: number;
  readonly #reader: SlotReader;
  readonly #locations: Uint32Array;
  /** Top octet of each hash: tells 255 of 256 strangers without a look at their record. */
  readonly #tags: Uint8Array;
  readonly #mask: number;
  entries = 0;

  /** @param entriesAtLeast rounded up to what a power of two of slots holds */
  constructor(entriesAtLeast: number, reader: SlotReader) {
    let slots = 64;
    while (slots * LOAD_MAX < entriesAtLeast) slots *= 2;
    this.entriesMax = Math.floor(slots * LOAD_MAX);
    this.octets = slots * SLOT_OCTETS;
    this.#reader = reader;
    this.#locations = new Uint32Array(slots);
    this.#tags = new Uint8Array(slots);
    this.#mask = slots - 1;
  }

  /** @returns the location of the key's record, or 0 when there is none */
  find(key: string, hash: number): Location {
    const slot = this.#slotOf(key, hash);
    return slot < 0 ? FREE : this.#locations[slot]!;
  }

  /** Puts a location under a key. @returns what it replaced, or 0; there is room when it replaces none */
  set(key: string, hash: number, location: Location): Location {
    const found = this.#slotOf(key, hash);
    const replaced = found < 0 ? FREE : this.#locations[found]!;
    this.#fill(found < 0 ? this.#freeSlot(hash) : found, hash, location);
    if (found < 0) this.entries += 1;
    return replaced;
  }

  /** The record moved. */
  move(hash: number, from: Location, to: Location): void {
    this.#locations[this.#slotAt(hash, from)] = to;
  }

  remove(hash: number, location: Location): void {
    let gap = this.#slotAt(hash, location);
    this.entries -= 1;
    // Whoever was pushed past the gap moves up, until a free slot says that nobody further was.
    for (let slot = (gap + 1) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const other = this.#locations[slot]!;
      if (other === FREE) break;
      const home = this.#reader.hashAt(other) & this.#mask;
      if (((slot - home) & this.#mask) < ((slot - gap) & this.#mask)) continue;
      this.#locations[gap] = other;
      this.#tags[gap] = this.#tags[slot]!;
      gap = slot;
    }
    this.#locations[gap] = FREE;
  }

  clear(): void {
    this.#locations.fill(FREE);
    this.entries = 0;
  }

  #slotOf(key: string, hash: number): number {
    const tag = hash >>> 24;
    for (let slot = hash & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const location = this.#locations[slot]!;
      if (location === FREE) return -1;
      if (this.#tags[slot] === tag && this.#reader.matches(location, key)) return slot;
    }
  }

  #slotAt(hash: number, location: Location): number {
    let slot = hash & this.#mask;
    while (this.#locations[slot] !== location) {
      if (this.#locations[slot] === FREE) throw new Error('a record is not in its index');
      slot = (slot + 1) & this.#mask;
    }
    return slot;
  }

  #freeSlot(hash: number): number {
    let slot = hash & this.#mask;
    while (this.#locations[slot] !== FREE) slot = (slot + 1) & this.#mask;
    return slot;
  }

  #fill(slot: number, hash: number, location: Location): void {
    this.#locations[slot] = location;
    this.#tags[slot] = hash >>> 24;
  }
}
