/**
 * The answer table as its one writer sees it: responses that fronts may serve without asking. It holds
 * copies only; the cache decides what is in it and until when, and losing an entry costs one question
 * to the core.
 *
 * The ring is a clock: what is oldest goes first, but goes on another round when it was asked for
 * since, with half its hits. Layout and invariants: answer-table-layout.ts.
 */
import { HEADER_OCTETS, QUESTION_FIXED_OCTETS } from '../wire/constants.ts';
import {
  type AnswerTableMemory,
  foldQuestion,
  hashQuestion,
  PROBES_MAX,
  QUESTION_WORDS_MAX,
  RECORD,
  RECORD_TTLS_MAX,
  RECORD_WIRE_OCTETS_MAX,
  RING_OCTETS_MAX,
  RING_OCTETS_MIN,
  ringOffsetOf,
  SLOT_HASH,
  SLOT_HITS,
  SLOT_POSITION,
  SLOT_TOLD,
  SLOT_WORDS,
  slotCountOf,
  slotsOf,
  TAIL,
  tableOctetsOf,
  UNIT_OCTETS,
  UNIT_SHIFT,
  wordAligned,
} from './answer-table-layout.ts';
import type { CacheEntry } from './entry.ts';

/** One publication moves at most so many records on; then the next goes, popular or not. */
const RELOCATIONS_MAX = 8;
const NOT_FOUND = -1;
const FILLER_BIT = 0x80000000 | 0;
const RECORD_OCTETS_MAX =
  RECORD.wire + wordAligned(RECORD_WIRE_OCTETS_MAX) + 2 * RECORD_TTLS_MAX + UNIT_OCTETS;

export class AnswerTable {
  readonly memory: AnswerTableMemory;
  readonly #words: Int32Array;
  readonly #octets: Uint8Array;
  readonly #shorts: Uint16Array;
  readonly #floats: Float64Array;
  readonly #slots: Int32Array;
  readonly #slotMask: number;
  readonly #slotsUsedMax: number;
  readonly #ringWord: number;
  readonly #placeMask: number;
  readonly #question = new Int32Array(QUESTION_WORDS_MAX);
  readonly #questionOctets = new Uint8Array(this.#question.buffer);
  /** A question as a message has it, to be folded; and a record on its way to another place. */
  readonly #stage = new Uint8Array(RECORD_OCTETS_MAX);
  readonly #stageWords = new Int32Array(this.#stage.buffer, 0, RECORD_OCTETS_MAX >>> 2);
  #head: number;
  #tail: number;
  #entries = 0;
  /** Set by {@link #lookUp}. */
  #hash = 0;
  #questionWords = 0;
  #sweepAt = 0;

  /**
   * @param octetsMax bound on the memory; the largest power of two that fits is used for the ring
   * @param seed      32 random bits
   */
  constructor(octetsMax: number, seed: number) {
    let ringOctets = RING_OCTETS_MIN;
    while (
      2 * ringOctets <= RING_OCTETS_MAX &&
      tableOctetsOf((2 * ringOctets) / UNIT_OCTETS) <= octetsMax
    ) {
      ringOctets *= 2;
    }
    const ringUnits = ringOctets / UNIT_OCTETS;
    const buffer = new SharedArrayBuffer(tableOctetsOf(ringUnits));
    this.memory = { buffer, ringUnits, seed };
    this.#words = new Int32Array(buffer);
    this.#octets = new Uint8Array(buffer);
    this.#shorts = new Uint16Array(buffer);
    this.#floats = new Float64Array(buffer);
    this.#slots = slotsOf(this.memory);
    this.#slotMask = slotCountOf(ringUnits) - 1;
    this.#slotsUsedMax = slotCountOf(ringUnits) / 2;
    this.#ringWord = ringOffsetOf(ringUnits) >>> 2;
    this.#placeMask = ringUnits - 1;
    // Position 0 would be a free slot.
    this.#head = ringUnits;
    this.#tail = ringUnits;
    Atomics.store(this.#words, TAIL, this.#tail | 0);
  }

  get entries(): number {
    return this.#entries;
  }

  /** Octets of shared memory; the system gives them as they are first written to. */
  get octets(): number {
    return this.memory.buffer.byteLength;
  }

  /** Lets fronts answer with the entry until it expires; what was there under the key is replaced. */
  publish(key: string, entry: CacheEntry): void {
    const { wire, ttlOffsets } = entry;
    if (wire.length > RECORD_WIRE_OCTETS_MAX || ttlOffsets.length > RECORD_TTLS_MAX) {
      this.remove(key);
      return;
    }
    this.#lookUp(key);
    const hash = this.#hash;
    const octets = RECORD.wire + wordAligned(wire.length) + 2 * ttlOffsets.length;
    const position = this.#allocate((octets + UNIT_OCTETS - 1) >>> UNIT_SHIFT, entry.storedAtMs);
    this.#writeRecord(position, key, entry);
    // Making room moves slots.
    let slot = this.#findKey(key.length - 1, hash, flagsOfKey(key));
    if (slot === NOT_FOUND) slot = this.#occupy(hash);
    if (slot !== NOT_FOUND) Atomics.store(this.#slots, slot + SLOT_POSITION, position | 0);
  }

  /** Publishes an entry that may have been crowded out; one that is there is current. */
  ensure(key: string, entry: CacheEntry): void {
    if (this.#lookUp(key) === NOT_FOUND) this.publish(key, entry);
  }

  /** @returns whether it was there */
  remove(key: string): boolean {
    const slot = this.#lookUp(key);
    if (slot === NOT_FOUND) return false;
    this.#free(slot);
    return true;
  }

  clear(): void {
    this.#slots.fill(0);
    this.#entries = 0;
    this.#moveTail(this.#head);
  }

  /** Hits of late, 0 to 255; they fade as {@link sweep} passes and the ring turns. */
  hitsOf(key: string): number {
    const slot = this.#lookUp(key);
    return slot === NOT_FOUND ? 0 : this.#slots[slot + SLOT_HITS]!;
  }

  /**
   * Visits the next slots in turn, tells of each key that was hit since the last time and how often, and
   * halves its hits. Beyond 255 hits are not counted, so that many are told as fewer.
   *
   * @param slotsMax how many slots to visit
   * @param toldMax  how many keys to tell of; then the rest waits for the next call
   */
  sweep(slotsMax: number, toldMax: number, onPopular: (key: string, hits: number) => void): void {
    const slots = this.#slots;
    let told = 0;
    let visited = 0;
    for (; visited < slotsMax && visited <= this.#slotMask && told < toldMax; visited += 1) {
      const slot = this.#sweepAt * SLOT_WORDS;
      this.#sweepAt = (this.#sweepAt + 1) & this.#slotMask;
      const hits = slots[slot + SLOT_HITS]!;
      const freshHits = hits - slots[slot + SLOT_TOLD]!;
      if (hits === 0 || slots[slot] === 0) continue;
      slots[slot + SLOT_HITS] = hits >>> 1;
      slots[slot + SLOT_TOLD] = hits >>> 1;
      if (freshHits <= 0) continue;
      told += 1;
      onPopular(this.#keyOf(slots[slot]!), freshHits);
    }
  }

  /** Slots in all. */
  get slotCount(): number {
    return this.#slotMask + 1;
  }

  /** @returns the slot of the key, or NOT_FOUND; the question, its hash and words are kept */
  #lookUp(key: string): number {
    const questionOctets = key.length - 1;
    const stage = this.#stage;
    for (let index = 0; index < questionOctets; index += 1) {
      stage[HEADER_OCTETS + index] = key.charCodeAt(index);
    }
    const nameEnd = HEADER_OCTETS + questionOctets - QUESTION_FIXED_OCTETS;
    this.#questionWords = foldQuestion(this.#stageWords, 0, nameEnd, this.#question);
    const flags = flagsOfKey(key);
    const { seed } = this.memory;
    this.#hash = hashQuestion(this.#question, this.#questionWords, flags, seed);
    return this.#findKey(questionOctets, this.#hash, flags);
  }

  /** Looks for the question that {@link #lookUp} folded. */
  #findKey(questionOctets: number, hash: number, flags: number): number {
    const slots = this.#slots;
    let index = hash & this.#slotMask;
    for (let probe = 0; probe < PROBES_MAX; probe += 1) {
      const slot = index * SLOT_WORDS;
      const position = slots[slot]!;
      if (position === 0) return NOT_FOUND;
      if (slots[slot + SLOT_HASH] === hash && this.#asks(position, questionOctets, flags)) {
        return slot;
      }
      index = (index + 1) & this.#slotMask;
    }
    return NOT_FOUND;
  }

  #asks(position: number, questionOctets: number, flags: number): boolean {
    const word = this.#wordAt(position);
    const questionEnd = HEADER_OCTETS + questionOctets;
    if (this.#words[word + (RECORD.key >>> 2)] !== ((questionEnd << 8) | flags)) return false;
    const first = 4 * word + RECORD.wire + HEADER_OCTETS;
    for (let index = 0; index < questionOctets; index += 1) {
      if (this.#octets[first + index] !== this.#questionOctets[index]) return false;
    }
    return true;
  }

  #wordAt(position: number): number {
    return this.#ringWord + ((position & this.#placeMask) << (UNIT_SHIFT - 2));
  }

  #writeRecord(position: number, key: string, entry: CacheEntry): void {
    const { wire, ttlOffsets } = entry;
    const word = this.#wordAt(position);
    const words = this.#words;
    const questionOctets = key.length - 1;
    this.#floats[(word + (RECORD.storedAtMs >>> 2)) >>> 1] = entry.storedAtMs;
    this.#floats[(word + (RECORD.expiresAtMs >>> 2)) >>> 1] = entry.expiresAtMs;
    words[word + (RECORD.hash >>> 2)] = this.#hash;
    words[word + (RECORD.shape >>> 2)] = wire.length | (ttlOffsets.length << 16);
    words[word + (RECORD.key >>> 2)] = ((HEADER_OCTETS + questionOctets) << 8) | flagsOfKey(key);
    const wireAt = 4 * word + RECORD.wire;
    this.#octets.set(wire, wireAt);
    // In lower case, as it is compared with.
    for (let index = 0; index < questionOctets; index += 1) {
      this.#octets[wireAt + HEADER_OCTETS + index] = this.#questionOctets[index]!;
    }
    const ttlsAt = (wireAt + wordAligned(wire.length)) >>> 1;
    for (let index = 0; index < ttlOffsets.length; index += 1) {
      this.#shorts[ttlsAt + index] = ttlOffsets[index]!;
    }
  }

  /** @returns the position of so many units in one piece, `size` written, all else as it was */
  #allocate(units: number, nowMs: number): number {
    let relocations = RELOCATIONS_MAX;
    while (
      this.#entries >= this.#slotsUsedMax ||
      this.#freeUnits() < units + this.#fillerFor(units)
    ) {
      relocations -= this.#passTail(nowMs, relocations > 0);
    }
    return this.#append(units);
  }

  #freeUnits(): number {
    return this.memory.ringUnits - ((this.#head - this.#tail) >>> 0);
  }

  /** Units left over at the end of the ring, when these do not fit there. */
  #fillerFor(units: number): number {
    // Position 0 means a free slot.
    if (this.#head === 0) return 1;
    const left = this.memory.ringUnits - (this.#head & this.#placeMask);
    return left < units ? left : 0;
  }

  #append(units: number): number {
    const filler = this.#fillerFor(units);
    if (filler > 0) {
      this.#words[this.#wordAt(this.#head)] = filler | FILLER_BIT;
      this.#advanceHead(filler);
    }
    const position = this.#head;
    this.#words[this.#wordAt(position)] = units;
    this.#advanceHead(units);
    return position;
  }

  #advanceHead(units: number): void {
    this.#head = (this.#head + units) >>> 0;
  }

  /** Gives up the oldest record, or moves it on. @returns 1 when it was moved, else 0 */
  #passTail(nowMs: number, mayMove: boolean): number {
    const position = this.#tail;
    const word = this.#wordAt(position);
    const size = this.#words[word]!;
    const units = size & ~FILLER_BIT;
    const slot = size < 0 ? NOT_FOUND : this.#findPosition(position, word);
    const hits = slot === NOT_FOUND ? 0 : this.#slots[slot + SLOT_HITS]!;
    const expiresAtMs = this.#floats[(word + (RECORD.expiresAtMs >>> 2)) >>> 1]!;
    const fits = this.#freeUnits() + units >= units + this.#fillerFor(units);
    const moves = mayMove && hits > 0 && expiresAtMs > nowMs && fits;
    if (moves) {
      const record = this.#octets.subarray(4 * word, 4 * word + units * UNIT_OCTETS);
      this.#stage.set(record);
    } else if (slot !== NOT_FOUND) {
      this.#free(slot);
    }
    this.#moveTail((position + units) >>> 0);
    if (!moves) return 0;
    const moved = this.#append(units);
    this.#octets.set(this.#stage.subarray(0, units * UNIT_OCTETS), 4 * this.#wordAt(moved));
    this.#slots[slot + SLOT_HITS] = hits >>> 1;
    this.#slots[slot + SLOT_TOLD] = Math.min(this.#slots[slot + SLOT_TOLD]!, hits >>> 1);
    Atomics.store(this.#slots, slot + SLOT_POSITION, moved | 0);
    return 1;
  }

  #moveTail(position: number): void {
    this.#tail = position;
    // An exchange, as a mere store may be overtaken by the writes that follow it.
    Atomics.exchange(this.#words, TAIL, position | 0);
  }

  #findPosition(position: number, word: number): number {
    const slots = this.#slots;
    let index = this.#words[word + (RECORD.hash >>> 2)]! & this.#slotMask;
    for (let probe = 0; probe < PROBES_MAX; probe += 1) {
      const slot = index * SLOT_WORDS;
      if (slots[slot] === (position | 0)) return slot;
      if (slots[slot] === 0) return NOT_FOUND;
      index = (index + 1) & this.#slotMask;
    }
    return NOT_FOUND;
  }

  /** @returns a slot for a new key, hash written and position not yet; NOT_FOUND in a crowd */
  #occupy(hash: number): number {
    const slots = this.#slots;
    let index = hash & this.#slotMask;
    for (let probe = 0; probe < PROBES_MAX; probe += 1) {
      const slot = index * SLOT_WORDS;
      if (slots[slot] === 0) {
        slots[slot + SLOT_HASH] = hash;
        slots[slot + SLOT_HITS] = 0;
        slots[slot + SLOT_TOLD] = 0;
        this.#entries += 1;
        return slot;
      }
      index = (index + 1) & this.#slotMask;
    }
    return NOT_FOUND;
  }

  /**
   * Frees a slot and closes the gap, so that no probe ends before its goal. A reader in the middle of
   * this may miss an entry, which then costs one question to the core.
   */
  #free(freed: number): void {
    const slots = this.#slots;
    let gap = freed / SLOT_WORDS;
    let index = gap;
    for (let moved = 0; moved <= this.#slotMask; moved += 1) {
      index = (index + 1) & this.#slotMask;
      const slot = index * SLOT_WORDS;
      if (slots[slot] === 0) break;
      const distance = (index - slots[slot + SLOT_HASH]!) & this.#slotMask;
      if (distance < ((index - gap) & this.#slotMask)) continue;
      const target = gap * SLOT_WORDS;
      slots[target + SLOT_HASH] = slots[slot + SLOT_HASH]!;
      slots[target + SLOT_HITS] = slots[slot + SLOT_HITS]!;
      slots[target + SLOT_TOLD] = slots[slot + SLOT_TOLD]!;
      Atomics.store(slots, target + SLOT_POSITION, slots[slot]!);
      gap = index;
    }
    Atomics.store(slots, gap * SLOT_WORDS + SLOT_POSITION, 0);
    slots[gap * SLOT_WORDS + SLOT_HITS] = 0;
    this.#entries -= 1;
  }

  #keyOf(position: number): string {
    const word = this.#wordAt(position);
    const key = this.#words[word + (RECORD.key >>> 2)]!;
    const first = 4 * word + RECORD.wire + HEADER_OCTETS;
    const question = this.#octets.subarray(first, first + (key >>> 8) - HEADER_OCTETS);
    return String.fromCharCode(...question, key & 0xff);
  }
}

const flagsOfKey = (key: string): number => key.charCodeAt(key.length - 1);
