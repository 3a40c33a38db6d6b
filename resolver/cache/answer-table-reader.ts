/**
 * The answer table as a front sees it: a datagram in, the answer in its place, nothing allocated.
 *
 * The answer takes shape where the query lies. ID and question stay, so the client's ID and case need
 * no copying; the response's question is as long as the query's, so its octets keep their offsets and
 * are copied as words. Whatever is not a plain question, or not here, or past its time, is the core's.
 *
 * What comes out is what renderAnswer of entry.ts makes of the same query, entry and time, octet for
 * octet; a property holds the two to each other.
 */
import {
  EDNS_UDP_OCTETS,
  FLAG,
  HEADER_OCTETS,
  LABEL_OCTETS_MAX,
  NAME_OCTETS_MAX,
  OPT_FIXED_OCTETS,
  QUESTION_FIXED_OCTETS,
  TYPE,
  UDP_OCTETS_PLAIN,
} from '../wire/constants.ts';
import {
  type AnswerTableMemory,
  foldQuestion,
  HITS_MAX,
  hashQuestion,
  lastWordMask,
  PROBES_MAX,
  QUESTION_WORDS_MAX,
  RECORD,
  RECORD_WIRE_OCTETS_MAX,
  ringOffsetOf,
  SLOT_HASH,
  SLOT_HITS,
  SLOT_WORDS,
  slotCountOf,
  slotsOf,
  TAIL,
  UNIT_SHIFT,
  wordAligned,
} from './answer-table-layout.ts';

/** Queries that may be read ahead for at once. */
const PLACES_MAX = 64;

/** What {@link AnswerTableReader.answer} returns when the core must be asked; the query is as it was. */
export const ASK_CORE = 0;
/** Room for an answer, from the start of its query. */
export const HOT_ANSWER_OCTETS_MAX = wordAligned(RECORD_WIRE_OCTETS_MAX) + OPT_FIXED_OCTETS + 1;

/** Second header word of a plain question: QDCOUNT 1, ANCOUNT 0. Octets 4 to 7, little-endian. */
const ONE_QUESTION = 0x0000_0100;
/** Third header word: NSCOUNT 0, ARCOUNT 1. */
const ONE_ADDITIONAL = 0x0100_0000;
/** QR and OPCODE in the third octet of the header. */
const NO_PLAIN_QUERY = 0xf8;
const KEY_DNSSEC_OK = 1;
const KEY_CHECKING_DISABLED = 2;
const FLAGS_HIGH_RD = FLAG.RD >>> 8;
const OPT_DNSSEC_OK = 0x80;
const KEPT_HIGH = FLAG.TC >>> 8;
const RCODE_MASK = 0x0f;

/**
 * Plain loads, here and in the hardware, keep their order; elsewhere a fence must see to it. An
 * Atomics.load is a call into the runtime: two of them took a third of a hit's time in user space.
 */
const LOADS_ARE_ORDERED = process.arch === 'x64';

const RECORD_WIRE_WORD = RECORD.wire >>> 2;
const QUESTION_WORD = HEADER_OCTETS >>> 2;

export class AnswerTableReader {
  /** QTYPE of the last query answered. */
  qtype = 0;
  /** RCODE of the last answer. */
  rcode = 0;
  readonly #queries: Uint8Array;
  readonly #queryWords: Int32Array;
  readonly #words: Int32Array;
  readonly #shorts: Uint16Array;
  readonly #floats: Float64Array;
  readonly #slots: Int32Array;
  readonly #slotMask: number;
  readonly #ringWord: number;
  readonly #placeMask: number;
  readonly #seed: number;
  readonly #question = new Int32Array(QUESTION_WORDS_MAX);
  readonly #fence = new Int32Array(new SharedArrayBuffer(4));
  #questionWords = 0;
  /** By place; any slot will do for what is no plain question. */
  readonly #slotAhead = new Int32Array(PLACES_MAX);
  /** Nothing but what was read ahead, kept so that reading it is not optimised away. */
  ahead = 0;
  // Of the query under way.
  #nameEnd = 0;
  #flags = 0;
  #hasEdns = false;
  #octetsMax = 0;

  /** @param queries memory with datagrams and room to answer them; a whole number of words */
  constructor(table: AnswerTableMemory, queries: Uint8Array) {
    const { buffer, ringUnits, seed } = table;
    this.#queries = queries;
    this.#queryWords = new Int32Array(queries.buffer, queries.byteOffset, queries.length >>> 2);
    this.#words = new Int32Array(buffer);
    this.#shorts = new Uint16Array(buffer);
    this.#floats = new Float64Array(buffer);
    this.#slots = slotsOf(table);
    this.#slotMask = slotCountOf(ringUnits) - 1;
    this.#ringWord = ringOffsetOf(ringUnits) >>> 2;
    this.#placeMask = ringUnits - 1;
    this.#seed = seed;
  }

  /** Notes where the answer to the query at `at` would be, for {@link readAhead}. */
  lookAhead(at: number, octets: number, place: number): void {
    this.#slotAhead[place] = 0;
    if (!this.#parse(at, octets)) return;
    const words = foldQuestion(this.#queryWords, at >>> 2, this.#nameEnd, this.#question);
    const hash = hashQuestion(this.#question, words, this.#flags, this.#seed);
    this.#slotAhead[place] = (hash & this.#slotMask) * SLOT_WORDS;
  }

  /**
   * Reads slots and records of all places noted. Each is a line that no cache has, once the table is
   * large; in loops as short as these the processor waits for many at once, and {@link answer} for none.
   */
  readAhead(places: number): void {
    const slots = this.#slots;
    const words = this.#words;
    const slotAhead = this.#slotAhead;
    const ringWord = this.#ringWord;
    const placeMask = this.#placeMask;
    let read = 0;
    for (let place = 0; place < places; place += 1) read ^= slots[slotAhead[place]!]!;
    for (let place = 0; place < places; place += 1) {
      const position = slots[slotAhead[place]!]!;
      read ^= words[ringWord + ((position & placeMask) << (UNIT_SHIFT - 2))]!;
    }
    this.ahead = read;
  }

  /**
   * Answers the query at `at` in place, if it can.
   *
   * @param at     octet of the memory where the query starts, a multiple of four, with
   *   HOT_ANSWER_OCTETS_MAX octets of room
   * @param octets of the query
   * @param nowMs  monotonic, of the clock that the table is published by
   * @returns octets of the answer, or ASK_CORE
   */
  answer(at: number, octets: number, nowMs: number): number {
    if (!this.#parse(at, octets)) return ASK_CORE;
    const words = foldQuestion(this.#queryWords, at >>> 2, this.#nameEnd, this.#question);
    this.#questionWords = words;
    const hash = hashQuestion(this.#question, words, this.#flags, this.#seed);
    const slots = this.#slots;
    const mask = this.#slotMask;
    let index = hash & mask;
    for (let probe = 0; probe < PROBES_MAX; probe += 1) {
      const slot = index * SLOT_WORDS;
      const position = slots[slot]!;
      if (position === 0) return ASK_CORE;
      if (slots[slot + SLOT_HASH] === hash && this.#isAsked(position)) {
        const answered = this.#render(at, position, nowMs);
        if (answered !== ASK_CORE && slots[slot + SLOT_HITS]! < HITS_MAX) {
          slots[slot + SLOT_HITS] = slots[slot + SLOT_HITS]! + 1;
        }
        return answered;
      }
      index = (index + 1) & mask;
    }
    return ASK_CORE;
  }

  /** Whether the datagram is a plain question: one name, at most a bare OPT, nothing behind. */
  #parse(at: number, octets: number): boolean {
    const queries = this.#queries;
    const headerWord = at >>> 2;
    if (octets < HEADER_OCTETS + 1 + QUESTION_FIXED_OCTETS) return false;
    if ((queries[at + 2]! & NO_PLAIN_QUERY) !== 0) return false;
    if (this.#queryWords[headerWord + 1] !== ONE_QUESTION) return false;
    const nameEnd = this.#stepOverName(at, octets);
    if (nameEnd === 0) return false;
    this.#nameEnd = nameEnd;
    this.qtype = (queries[at + nameEnd]! << 8) | queries[at + nameEnd + 1]!;
    this.#flags = (queries[at + 3]! & FLAG.CD) !== 0 ? KEY_CHECKING_DISABLED : 0;
    this.#hasEdns = false;
    this.#octetsMax = UDP_OCTETS_PLAIN;
    const questionEnd = nameEnd + QUESTION_FIXED_OCTETS;
    const others = this.#queryWords[headerWord + 2];
    if (others === 0) return octets === questionEnd;
    return (
      others === ONE_ADDITIONAL &&
      octets === questionEnd + OPT_FIXED_OCTETS &&
      this.#parseOpt(at + questionEnd)
    );
  }

  /** @returns octet past the name, from the start of the message; 0 when there is no sound name */
  #stepOverName(at: number, octets: number): number {
    const queries = this.#queries;
    const limit = Math.min(HEADER_OCTETS + NAME_OCTETS_MAX, octets - QUESTION_FIXED_OCTETS);
    let end = HEADER_OCTETS;
    while (end < limit) {
      const length = queries[at + end]!;
      end += 1;
      if (length === 0) return end;
      if (length > LABEL_OCTETS_MAX) return 0;
      end += length;
    }
    return 0;
  }

  /** Whether it is version 0 without options. The extended RCODE and other flags say nothing. */
  #parseOpt(opt: number): boolean {
    const queries = this.#queries;
    if (queries[opt] !== 0 || queries[opt + 1] !== 0 || queries[opt + 2] !== TYPE.OPT) return false;
    if (queries[opt + 6] !== 0 || queries[opt + 9] !== 0 || queries[opt + 10] !== 0) return false;
    const udpOctets = (queries[opt + 3]! << 8) | queries[opt + 4]!;
    this.#octetsMax = Math.min(Math.max(udpOctets, UDP_OCTETS_PLAIN), EDNS_UDP_OCTETS);
    this.#hasEdns = true;
    if ((queries[opt + 7]! & OPT_DNSSEC_OK) !== 0) this.#flags |= KEY_DNSSEC_OK;
    return true;
  }

  /** Whether the record at the position has our question; the hash alone proves nothing. */
  #isAsked(position: number): boolean {
    const words = this.#words;
    const question = this.#question;
    const record = this.#wordAt(position);
    const questionEnd = this.#nameEnd + QUESTION_FIXED_OCTETS;
    if (words[record + (RECORD.key >>> 2)] !== ((questionEnd << 8) | this.#flags)) return false;
    const first = record + RECORD_WIRE_WORD + QUESTION_WORD;
    const last = this.#questionWords - 1;
    for (let index = 0; index < last; index += 1) {
      if (words[first + index] !== question[index]) return false;
    }
    return (words[first + last]! & lastWordMask(this.#nameEnd)) === question[last];
  }

  /** Turns the query into the answer, unless that is too late, too large, or overtaken. */
  #render(at: number, position: number, nowMs: number): number {
    const record = this.#wordAt(position);
    const floats = this.#floats;
    if (!(nowMs < floats[(record + (RECORD.expiresAtMs >>> 2)) >>> 1]!)) return ASK_CORE;
    const storedAtMs = floats[(record + (RECORD.storedAtMs >>> 2)) >>> 1]!;
    const shape = this.#words[record + (RECORD.shape >>> 2)]!;
    const wireOctets = shape & 0xffff;
    const octets = this.#hasEdns ? wireOctets + OPT_FIXED_OCTETS : wireOctets;
    // The bound is our own too: what we read may be overwritten just now, and is then nonsense.
    if (octets > this.#octetsMax || wireOctets > RECORD_WIRE_OCTETS_MAX) return ASK_CORE;
    const tailWord = (this.#nameEnd + QUESTION_FIXED_OCTETS) >>> 2;
    const queryWords = this.#queryWords;
    const from = record + RECORD_WIRE_WORD;
    const to = at >>> 2;
    // An OPT record lies within four words; needed again only when the answer is overtaken.
    const kept0 = queryWords[to + tailWord]!;
    const kept1 = queryWords[to + tailWord + 1]!;
    const kept2 = queryWords[to + tailWord + 2]!;
    const kept3 = queryWords[to + tailWord + 3]!;
    const end = (wireOctets + 3) >>> 2;
    const words = this.#words;
    for (let word = tailWord; word < end; word += 1) queryWords[to + word] = words[from + word]!;
    const ageSeconds = Math.floor((nowMs - storedAtMs) / 1000);
    if (ageSeconds > 0) this.#countDown(at, 2 * (from + end), shape, ageSeconds);
    const flagsWord = words[from]!;
    const countsWord1 = words[from + 1]!;
    const countsWord2 = words[from + 2]!;
    // What was copied is whole if the tail, looked at afterwards, has not passed it.
    if (!LOADS_ARE_ORDERED) Atomics.add(this.#fence, 0, 1);
    if (((position - words[TAIL]!) | 0) < 0) {
      queryWords[to + tailWord] = kept0;
      queryWords[to + tailWord + 1] = kept1;
      queryWords[to + tailWord + 2] = kept2;
      queryWords[to + tailWord + 3] = kept3;
      return ASK_CORE;
    }
    this.#writeHeader(at, flagsWord, countsWord1, countsWord2);
    if (this.#hasEdns) this.#appendOpt(at, wireOctets);
    return octets;
  }

  /** @param short index of the first TTL offset. @param shape of the record */
  #countDown(at: number, short: number, shape: number, ageSeconds: number): void {
    const wireOctets = shape & 0xffff;
    const count = shape >>> 16;
    const questionEnd = this.#nameEnd + QUESTION_FIXED_OCTETS;
    const queries = this.#queries;
    const shorts = this.#shorts;
    for (let index = 0; index < count; index += 1) {
      const offset = shorts[short + index]!;
      // Only what is overwritten just now can say so.
      if (offset < questionEnd || offset + 4 > wireOctets) return;
      const ttl = at + offset;
      const seconds =
        ((queries[ttl]! << 24) |
          (queries[ttl + 1]! << 16) |
          (queries[ttl + 2]! << 8) |
          queries[ttl + 3]!) >>>
        0;
      const left = seconds > ageSeconds ? seconds - ageSeconds : 0;
      queries[ttl] = left >>> 24;
      queries[ttl + 1] = left >>> 16;
      queries[ttl + 2] = left >>> 8;
      queries[ttl + 3] = left;
    }
  }

  /** Flags by the same rules as entry.ts, counts as the record has them and one more for OPT. */
  #writeHeader(at: number, recordWord0: number, recordWord1: number, recordWord2: number): void {
    const queries = this.#queries;
    const queryHigh = queries[at + 2]!;
    const queryLow = queries[at + 3]!;
    const recordHigh = (recordWord0 >>> 16) & 0xff;
    const recordLow = recordWord0 >>> 24;
    const wantsAuthentic = (queryLow & FLAG.AD) !== 0 || (this.#flags & KEY_DNSSEC_OK) !== 0;
    this.rcode = recordLow & RCODE_MASK;
    queries[at + 2] = (FLAG.QR >>> 8) | (recordHigh & KEPT_HIGH) | (queryHigh & FLAGS_HIGH_RD);
    queries[at + 3] =
      FLAG.RA | this.rcode | (wantsAuthentic ? recordLow & FLAG.AD : 0) | (queryLow & FLAG.CD);
    const header = at >>> 2;
    this.#queryWords[header + 1] = recordWord1;
    this.#queryWords[header + 2] = recordWord2;
    if (!this.#hasEdns) return;
    const additionals = ((queries[at + 10]! << 8) | queries[at + 11]!) + 1;
    queries[at + 10] = additionals >>> 8;
    queries[at + 11] = additionals;
  }

  /** As appendOpt of wire/write.ts does for an RCODE below 16. */
  #appendOpt(at: number, wireOctets: number): void {
    const queries = this.#queries;
    const opt = at + wireOctets;
    queries[opt] = 0;
    queries[opt + 1] = 0;
    queries[opt + 2] = TYPE.OPT;
    queries[opt + 3] = EDNS_UDP_OCTETS >>> 8;
    queries[opt + 4] = EDNS_UDP_OCTETS & 0xff;
    queries[opt + 5] = 0;
    queries[opt + 6] = 0;
    queries[opt + 7] = (this.#flags & KEY_DNSSEC_OK) !== 0 ? OPT_DNSSEC_OK : 0;
    queries[opt + 8] = 0;
    queries[opt + 9] = 0;
    queries[opt + 10] = 0;
  }

  #wordAt(position: number): number {
    return this.#ringWord + ((position & this.#placeMask) << (UNIT_SHIFT - 2));
  }
}
