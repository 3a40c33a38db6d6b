/**
 * Where things stand in the shared memory of the answer table, and how a question is folded and
 * hashed. One thread writes (answer-table.ts), any number read (answer-table-reader.ts).
 *
 * ```
 * control │ index: slots of position, hash, hits │ ring: records in order of their age
 * ```
 *
 * A *position* counts units of UNIT_OCTETS ever given out in the ring, modulo 2^32; its place is the
 * position modulo the ring. Positions from `tail` on are whole; those below may be overwritten at any
 * moment. So `tail` is the sequence lock: who has copied a record looks at it once more, and what was
 * below it by then is worth nothing. A position would have to come round again (64 GiB written) within
 * one probe to deceive.
 *
 * Invariants: tail <= position of every slot < head <= tail + ringUnits; tail moves before the octets
 * below it change; a slot points at a record only after the record is whole. Slots in use never exceed
 * half of all, and a slot is at most PROBES_MAX from where its hash says.
 *
 * All words are little-endian, as on every machine that Node 24 runs on but s390x.
 */
import { HEADER_OCTETS, NAME_OCTETS_MAX, QUESTION_FIXED_OCTETS } from '../wire/constants.ts';

export const UNIT_OCTETS = 16;
export const UNIT_SHIFT = 4;
/** Bounds on the ring; powers of two. */
export const RING_OCTETS_MIN = 65_536;
export const RING_OCTETS_MAX = 1_073_741_824;

/** Index of the `tail` word. Control fills a cache line of its own. */
export const TAIL = 0;
export const CONTROL_OCTETS = 128;

/** Words of a slot; four, so that none lies across two cache lines. */
export const SLOT_WORDS = 4;
/** 0 when free. */
export const SLOT_POSITION = 0;
export const SLOT_HASH = 1;
export const SLOT_HITS = 2;
/** Of the hits, those that the core knows of. */
export const SLOT_TOLD = 3;
const SLOT_OCTETS = 4 * SLOT_WORDS;
/** Records are nine units and more in practice, so four units of ring a slot is less than half full. */
const UNITS_PER_SLOT = 4;
/** Slots looked at for one hash; at half load two are usual. */
export const PROBES_MAX = 32;
/** Hits are counted up to here. Once there, a popular slot is only read, and stays in every core's cache. */
export const HITS_MAX = 255;

/**
 * A record, in octets from its position. `size` is units, its sign bit set for what only fills the
 * ring up to its end. `shape` joins the response's octets (low half) with its number of TTLs. `key`
 * joins octet past the question (upper three octets) with the key's flags. TTL offsets follow the
 * response at the next multiple of four.
 */
export const RECORD = {
  size: 0,
  hash: 4,
  storedAtMs: 8,
  expiresAtMs: 16,
  shape: 24,
  key: 28,
  wire: 32,
} as const;

/** Of responses that are kept; with OPT they must fit into a datagram that we send. */
export const RECORD_WIRE_OCTETS_MAX = 1_221;
export const RECORD_TTLS_MAX = 128;

/** Words of the longest question, header excluded. */
export const QUESTION_WORDS_MAX = (NAME_OCTETS_MAX + 1 + QUESTION_FIXED_OCTETS) / 4;
const QUESTION_WORD = HEADER_OCTETS / 4;

export interface AnswerTableMemory {
  readonly buffer: SharedArrayBuffer;
  readonly ringUnits: number;
  /** Secret, so that nobody can choose names of one hash. */
  readonly seed: number;
}

export const slotCountOf = (ringUnits: number): number => ringUnits / UNITS_PER_SLOT;
export const ringOffsetOf = (ringUnits: number): number =>
  CONTROL_OCTETS + SLOT_OCTETS * slotCountOf(ringUnits);
export const tableOctetsOf = (ringUnits: number): number =>
  ringOffsetOf(ringUnits) + UNIT_OCTETS * ringUnits;

/** The index: SLOT_WORDS words a slot. */
export const slotsOf = ({ buffer, ringUnits }: AnswerTableMemory): Int32Array =>
  new Int32Array(buffer, CONTROL_OCTETS, SLOT_WORDS * slotCountOf(ringUnits));

/** Octets rounded up to whole words. */
export const wordAligned = (octets: number): number => (octets + 3) & ~3;

/** Four octets at once: A to Z become a to z, all others stay. */
export const lowerWord = (word: number): number => {
  const low = word & 0x7f7f7f7f;
  // Per octet, the top bit of the first sum says "A or above", that of the second "above Z".
  const isUpper = ((low + 0x3f3f3f3f) ^ (low + 0x25252525)) & ~word & 0x80808080;
  return word | (isUpper >>> 2);
};

/** Of a word, the octets before `octets`; all of them from four on. */
const MASKS = Int32Array.of(0, 0xff, 0xffff, 0xffffff);

/**
 * Copies a question with its name in lower case, as words, the octets behind it zero.
 *
 * @param words   memory with the message
 * @param message index of the word where the message's header starts
 * @param nameEnd octet past the name, from the start of the message
 * @param into    QUESTION_WORDS_MAX words
 * @returns number of words
 */
export function foldQuestion(
  words: Int32Array,
  message: number,
  nameEnd: number,
  into: Int32Array,
): number {
  const wholeWords = nameEnd >>> 2;
  let count = 0;
  let at = QUESTION_WORD;
  for (; at < wholeWords; at += 1) into[count++] = lowerWord(words[message + at]!);
  // Length octets are below A, so folding leaves them alone; type and class it might not.
  const mixed = words[message + at]!;
  const nameMask = MASKS[nameEnd & 3]!;
  into[count++] = (lowerWord(mixed) & nameMask) | (mixed & ~nameMask);
  if (nameMask !== 0) into[count++] = words[message + at + 1]! & nameMask;
  return count;
}

/** Octets of the last question word that belong to the question. */
export const lastWordMask = (nameEnd: number): number => {
  const mask = MASKS[nameEnd & 3]!;
  return mask === 0 ? -1 : mask;
};

/** @param flags of the key, DO and CD */
export function hashQuestion(
  question: Int32Array,
  count: number,
  flags: number,
  seed: number,
): number {
  let hash = seed ^ flags;
  for (let index = 0; index < count; index += 1) {
    hash = Math.imul(hash ^ question[index]!, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  hash = Math.imul(hash, 0x85ebca6b);
  return hash ^ (hash >>> 13);
}
