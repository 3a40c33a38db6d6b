/**
 * Cached responses as octets in one memory. Objects would cost more than what they hold: a million
 * entries are a million objects for the collector to walk, and a buffer of its own costs each 95 octets
 * outside of the heap.
 *
 * ```
 * storedAtMs (8) │ lifetimeMs (4) │ staleMs (4) │ wire octets (2) │ TTLs (2) │ flags │ hits │ upstream │ error octets
 * wire │ INFO-CODE and EXTRA-TEXT, if any │ TTL offsets (2 each, big-endian) │ up to 7 octets of nothing
 * ```
 *
 * The key is not kept: the question in `wire` is stored in the key's own form, name in lower case, type
 * and class, and the flags octet holds DO and CD, so that key and record compare octet by octet.
 *
 * Invariant: a record starts at a multiple of RECORD_ALIGN.
 */
import { HEADER_OCTETS, QUESTION_FIXED_OCTETS } from '../wire/constants.ts';
import { readUint16, writeUint16 } from '../wire/message.ts';
import { EXTRA_TEXT_OCTETS_MAX, type ExtendedError } from '../wire/write.ts';
import type { CacheEntry, EntryKind } from './entry.ts';

export const RECORD_ALIGN = 8;
const FIXED_OCTETS = 24;
const LIFETIME_WORD = 2;
const STALE_WORD = 3;
const WIRE_OCTETS = 16;
const TTLS = 18;
const FLAGS = 20;
const HITS = 21;
const UPSTREAM = 22;
const ERROR_OCTETS = 23;
const INFO_CODE_OCTETS = 2;
const TTL_OFFSET_OCTETS = 2;

/** The flags octet: two bits of kind, two of the key, and whether the record is still in the index. */
const KIND_MASK = 0x03;
const KEY_FLAGS_SHIFT = 2;
const KEY_FLAGS_MASK = 0x03;
const LIVE = 0x10;
const KINDS: readonly EntryKind[] = ['answer', 'nodata', 'nxdomain', 'failure'];

/** 49 days: what 32 bits of milliseconds hold. Longer lives are cut to it. */
const SPAN_MS_MAX = 0xffff_ffff;
const HITS_MAX = 0xff;
/** Names of upstreams that can be told apart; those beyond are forgotten. */
const UPSTREAMS_MAX = 0xff;
/** Takes any response, and most of them hundreds of times. */
const POOL_OCTETS = 131_072;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One memory for records, written and read by offset; who lies where is the shelf's to know. */
export class Records {
  readonly octets: Buffer;
  readonly #floats: Float64Array;
  readonly #words: Uint32Array;
  readonly #upstreams = new Upstreams();
  /** Where the next copy of a response goes; see {@link copyPooled}. */
  #pool = new ArrayBuffer(0);
  #poolEnd = 0;

  /** @param octets a multiple of RECORD_ALIGN; what was never written to takes no memory */
  constructor(octets: number) {
    const memory = new ArrayBuffer(octets);
    this.octets = Buffer.from(memory);
    this.#floats = new Float64Array(memory);
    this.#words = new Uint32Array(memory);
  }

  /** Writes a live record of recordOctets(entry) octets. */
  write(at: number, key: string, entry: CacheEntry, hits: number): void {
    const { octets } = this;
    const { wire, ttlOffsets, storedAtMs, expiresAtMs, staleUntilMs, extendedError } = entry;
    this.#floats[at / 8] = storedAtMs;
    this.#words[at / 4 + LIFETIME_WORD] = Math.min(expiresAtMs - storedAtMs, SPAN_MS_MAX);
    this.#words[at / 4 + STALE_WORD] = Math.min(staleUntilMs - expiresAtMs, SPAN_MS_MAX);
    writeUint16(octets, at + WIRE_OCTETS, wire.length);
    writeUint16(octets, at + TTLS, ttlOffsets.length);
    const questionOctets = key.length - 1;
    const keyFlags = key.charCodeAt(questionOctets);
    octets[at + FLAGS] = KINDS.indexOf(entry.kind) | (keyFlags << KEY_FLAGS_SHIFT) | LIVE;
    octets[at + HITS] = hits;
    octets[at + UPSTREAM] = this.#upstreams.numberOf(entry.upstream);
    let into = at + FIXED_OCTETS;
    octets.set(wire, into);
    for (let index = 0; index < questionOctets; index += 1) {
      octets[into + HEADER_OCTETS + index] = key.charCodeAt(index);
    }
    into += wire.length;
    const errorOctets = extendedError === null ? 0 : writeError(octets, into, extendedError);
    octets[at + ERROR_OCTETS] = errorOctets;
    into += errorOctets;
    for (const offset of ttlOffsets) {
      writeUint16(octets, into, offset);
      into += TTL_OFFSET_OCTETS;
    }
  }

  /** Copies a record of `size` octets. */
  move(from: number, to: number, size: number, hits: number): void {
    this.octets.copyWithin(to, from, from + size);
    this.octets[to + HITS] = hits;
  }

  /** @returns the entry as an object that owns what it holds */
  read(at: number): CacheEntry {
    const { octets } = this;
    const storedAtMs = this.#floats[at / 8]!;
    const expiresAtMs = storedAtMs + this.#words[at / 4 + LIFETIME_WORD]!;
    const wireAt = at + FIXED_OCTETS;
    const wireEnd = wireAt + readUint16(octets, at + WIRE_OCTETS);
    const errorOctets = octets[at + ERROR_OCTETS]!;
    let ttlAt = wireEnd + errorOctets;
    const ttlOffsets: number[] = [];
    for (let left = readUint16(octets, at + TTLS); left > 0; left -= 1) {
      ttlOffsets.push(readUint16(octets, ttlAt));
      ttlAt += TTL_OFFSET_OCTETS;
    }
    return {
      wire: this.#copyPooled(wireAt, wireEnd),
      ttlOffsets,
      kind: KINDS[octets[at + FLAGS]! & KIND_MASK]!,
      storedAtMs,
      expiresAtMs,
      staleUntilMs: expiresAtMs + this.#words[at / 4 + STALE_WORD]!,
      extendedError: errorOctets === 0 ? null : readError(octets, wireEnd, errorOctets),
      upstream: this.#upstreams.nameOf(octets[at + UPSTREAM]!),
    };
  }

  /** Octets of the record, those of alignment included. */
  sizeAt(at: number): number {
    const { octets } = this;
    return aligned(
      FIXED_OCTETS +
        readUint16(octets, at + WIRE_OCTETS) +
        octets[at + ERROR_OCTETS]! +
        TTL_OFFSET_OCTETS * readUint16(octets, at + TTLS),
    );
  }

  isLive(at: number): boolean {
    return (this.octets[at + FLAGS]! & LIVE) !== 0;
  }

  /** The record is in the index no longer. */
  kill(at: number): void {
    this.octets[at + FLAGS] = this.octets[at + FLAGS]! & ~LIVE;
  }

  hitsAt(at: number): number {
    return this.octets[at + HITS]!;
  }

  addHits(at: number, count: number): void {
    this.octets[at + HITS] = Math.min(this.octets[at + HITS]! + count, HITS_MAX);
  }

  matches(at: number, key: string): boolean {
    const { octets } = this;
    const question = at + FIXED_OCTETS + HEADER_OCTETS;
    const last = key.length - 1;
    if (((octets[at + FLAGS]! >>> KEY_FLAGS_SHIFT) & KEY_FLAGS_MASK) !== key.charCodeAt(last)) {
      return false;
    }
    // The name delimits itself, so equal octets up to here are equal questions.
    for (let index = 0; index < last; index += 1) {
      if (octets[question + index] !== key.charCodeAt(index)) return false;
    }
    return true;
  }

  keyAt(at: number): string {
    const { octets } = this;
    const flags = (octets[at + FLAGS]! >>> KEY_FLAGS_SHIFT) & KEY_FLAGS_MASK;
    const question = at + FIXED_OCTETS + HEADER_OCTETS;
    const text = octets.toString('latin1', question, question + this.#questionOctets(question));
    return text + String.fromCharCode(flags);
  }

  /** As {@link hashKey} of the record's key. */
  hashAt(at: number, seed: number): number {
    const { octets } = this;
    const question = at + FIXED_OCTETS + HEADER_OCTETS;
    const end = question + this.#questionOctets(question);
    let hash = seed;
    for (let index = question; index < end; index += 1) hash = mix(hash, octets[index]!);
    return finish(mix(hash, (octets[at + FLAGS]! >>> KEY_FLAGS_SHIFT) & KEY_FLAGS_MASK));
  }

  /**
   * Memory that is used up and never written again, so that an entry once handed out stays what it was
   * when its record is long gone. A buffer for each would cost more than all else of a hit.
   */
  #copyPooled(start: number, end: number): Uint8Array {
    const length = end - start;
    if (this.#poolEnd + length > this.#pool.byteLength) {
      this.#pool = new ArrayBuffer(POOL_OCTETS);
      this.#poolEnd = 0;
    }
    const copy = new Uint8Array(this.#pool, this.#poolEnd, length);
    copy.set(this.octets.subarray(start, end));
    this.#poolEnd += length;
    return copy;
  }

  #questionOctets(question: number): number {
    let at = question;
    while (this.octets[at] !== 0) at += 1 + this.octets[at]!;
    return at + 1 + QUESTION_FIXED_OCTETS - question;
  }
}

/** Names of upstreams as single octets; 0 is nobody. */
class Upstreams {
  readonly #names: (string | null)[] = [null];

  numberOf(name: string | null): number {
    const known = this.#names.indexOf(name);
    if (known >= 0) return known;
    return this.#names.length > UPSTREAMS_MAX ? 0 : this.#names.push(name) - 1;
  }

  nameOf(number: number): string | null {
    return this.#names[number] ?? null;
  }
}

const aligned = (octets: number): number => (octets + RECORD_ALIGN - 1) & -RECORD_ALIGN;

/** Octets that an entry takes up as a record. */
export const recordOctets = ({ wire, ttlOffsets, extendedError }: CacheEntry): number =>
  aligned(
    FIXED_OCTETS +
      wire.length +
      (extendedError === null ? 0 : errorOctetsOf(extendedError)) +
      TTL_OFFSET_OCTETS * ttlOffsets.length,
  );

/** FNV-1a over the key's octets from a secret seed, then stirred, so that every bit counts. */
export function hashKey(key: string, seed: number): number {
  let hash = seed;
  for (let index = 0; index < key.length; index += 1) hash = mix(hash, key.charCodeAt(index));
  return finish(hash);
}

const mix = (hash: number, octet: number): number => Math.imul(hash ^ octet, 0x01000193);
const finish = (hash: number): number => {
  const stirred = Math.imul(hash ^ (hash >>> 15), 0x85ebca6b);
  return (stirred ^ (stirred >>> 13)) >>> 0;
};

const errorScratch = new Uint8Array(INFO_CODE_OCTETS + EXTRA_TEXT_OCTETS_MAX);
const errorOctetsOf = (error: ExtendedError): number => writeError(errorScratch, 0, error);

function writeError(octets: Uint8Array, at: number, { code, text }: ExtendedError): number {
  writeUint16(octets, at, code);
  const textAt = at + INFO_CODE_OCTETS;
  const room = octets.subarray(textAt, textAt + EXTRA_TEXT_OCTETS_MAX);
  return INFO_CODE_OCTETS + encoder.encodeInto(text, room).written;
}

const readError = (octets: Uint8Array, at: number, count: number): ExtendedError => ({
  code: readUint16(octets, at),
  text: decoder.decode(octets.subarray(at + INFO_CODE_OCTETS, at + count)),
});
