/**
 * Messages on the wire: the header, a query parsed into a reusable view, a response walked record by
 * record (RFC 1035 §4, RFC 6891). Datagrams are borrowed and nothing is allocated per message.
 */
import {
  COOKIE_CLIENT_OCTETS,
  COOKIE_OCTETS_MAX,
  COOKIE_OCTETS_MIN_FULL,
  EDNS_OPTION,
  EDNS_UDP_OCTETS,
  FLAG,
  HEADER_OCTETS,
  LABEL_OCTETS_MAX,
  NAME_OCTETS_MAX,
  OPCODE,
  OPTION_FIXED_OCTETS,
  OPTIONS_MAX,
  QUERY_RECORDS_MAX,
  QUESTION_FIXED_OCTETS,
  RCODE,
  RECORD_FIXED_OCTETS,
  RECORDS_MAX,
  TTL_SECONDS_MAX,
  TYPE,
  UDP_OCTETS_PLAIN,
} from './constants.ts';
import { checkName, lowerOctet, skipName, WireFault } from './names.ts';

/** Big-endian 16 bits; the caller has checked that both octets are there. */
export const readUint16 = (octets: Uint8Array, offset: number): number =>
  (octets[offset]! << 8) | octets[offset + 1]!;

/** Big-endian 32 bits, unsigned; the caller has checked that all four octets are there. */
export const readUint32 = (octets: Uint8Array, offset: number): number =>
  ((octets[offset]! << 24) |
    (octets[offset + 1]! << 16) |
    (octets[offset + 2]! << 8) |
    octets[offset + 3]!) >>>
  0;

export function writeUint16(octets: Uint8Array, offset: number, value: number): void {
  octets[offset] = value >>> 8;
  octets[offset + 1] = value;
}

export function writeUint32(octets: Uint8Array, offset: number, value: number): void {
  octets[offset] = value >>> 24;
  octets[offset + 1] = value >>> 16;
  octets[offset + 2] = value >>> 8;
  octets[offset + 3] = value;
}

/**
 * A copy of its own of some octets. Never `message.slice()`: messages often are Buffers, whose slice()
 * shares their memory.
 */
export function copyOctets(octets: Uint8Array, start: number, end: number): Uint8Array {
  const copy = new Uint8Array(end - start);
  copy.set(octets.subarray(start, end));
  return copy;
}

/** A TTL as it counts: zero when the top bit is set (RFC 2181 §8). */
export function readTtlSeconds(octets: Uint8Array, ttlOffset: number): number {
  const seconds = readUint32(octets, ttlOffset);
  return seconds > TTL_SECONDS_MAX ? 0 : seconds;
}

// The header, for a message of at least HEADER_OCTETS.
export const idOf = (message: Uint8Array): number => readUint16(message, 0);
export const setId = (message: Uint8Array, id: number): void => writeUint16(message, 0, id);
/** The whole flags word; test it with FLAG. */
export const flagsOf = (message: Uint8Array): number => readUint16(message, 2);
export const opcodeOf = (message: Uint8Array): number => (message[2]! >>> 3) & 0x0f;
/** The lower four bits; {@link RecordCursor.rcode} joins them with those of an OPT record. */
export const headerRcodeOf = (message: Uint8Array): number => message[3]! & 0x0f;
export const hasFlag = (message: Uint8Array, flag: number): boolean =>
  (flagsOf(message) & flag) !== 0;
export const questionCountOf = (message: Uint8Array): number => readUint16(message, 4);
export const answerCountOf = (message: Uint8Array): number => readUint16(message, 6);
export const authorityCountOf = (message: Uint8Array): number => readUint16(message, 8);
export const additionalCountOf = (message: Uint8Array): number => readUint16(message, 10);

/**
 * What to do with a query: resolve it, say nothing, or answer at once. Positive values are the RCODE.
 */
export const QueryVerdict = {
  ok: 0,
  /** No header, or a response: to answer would be to talk to ourselves or to amplify. */
  drop: -1,
  /** No question, but a cookie: the client wants ours (RFC 7873 §5.4). */
  cookieOnly: -2,
  formErr: RCODE.FORMERR,
  notImp: RCODE.NOTIMP,
  badVers: RCODE.BADVERS,
} as const;
export type QueryVerdict = (typeof QueryVerdict)[keyof typeof QueryVerdict];

/**
 * One parsed query: offsets into its datagram, valid while that is. Reused from query to query.
 * HEADER_OCTETS < nameEnd < questionEnd <= message.length once the question is sound, else
 * nameEnd = questionEnd = 0.
 */
export class QueryView {
  verdict: QueryVerdict = QueryVerdict.drop;
  id = 0;
  /** The flags word as received. */
  flags = 0;
  opcode = 0;
  /** The QNAME starts at HEADER_OCTETS and is never compressed. */
  nameEnd = 0;
  questionEnd = 0;
  qtype = 0;
  qclass = 0;
  rd = false;
  ad = false;
  cd = false;
  hasEdns = false;
  ednsVersion = 0;
  /** UDP payload that the client takes, at least UDP_OCTETS_PLAIN (RFC 6891 §6.2.3). */
  udpOctets = UDP_OCTETS_PLAIN;
  /** DO: the client wants DNSSEC records (RFC 3225). */
  dnssecOk = false;
  /** All options of the OPT record. */
  optionsOffset = 0;
  optionsLength = 0;
  /** The COOKIE option's data (RFC 7873); length 0 when there is none. */
  cookieOffset = 0;
  cookieLength = 0;
  /** Options that ask for the same in the response (RFC 5001, RFC 7828, RFC 7830). */
  hasNsid = false;
  hasKeepalive = false;
  hasPadding = false;
}

function resetView(view: QueryView): void {
  view.opcode = 0;
  view.nameEnd = 0;
  view.questionEnd = 0;
  view.qtype = 0;
  view.qclass = 0;
  view.hasEdns = false;
  view.ednsVersion = 0;
  view.udpOctets = UDP_OCTETS_PLAIN;
  view.dnssecOk = false;
  view.optionsOffset = 0;
  view.optionsLength = 0;
  view.cookieOffset = 0;
  view.cookieLength = 0;
  view.hasNsid = false;
  view.hasKeepalive = false;
  view.hasPadding = false;
}

/**
 * Parses a query from a client.
 *
 * FORMERR: QDCOUNT other than 1 (RFC 9619; 0 is allowed with a cookie), anything cut short, a compressed QNAME (a pointer could
 * only lead into the header), records in the answer section, two OPT records or one that is not owned
 * by the root (RFC 6891 §6.1.1), a COOKIE of the wrong length (RFC 7873 §5.2.2).
 * Octets behind the last counted record are ignored: the counts define the message, no RFC forbids
 * them, and our query to the upstream is written anew, so they go nowhere.
 *
 * @param message the datagram, borrowed; offsets in `into` refer to it
 * @returns the verdict, which also stands in `into`; id, flags and opcode are set unless it is `drop`
 */
export function parseQuery(message: Uint8Array, into: QueryView): QueryVerdict {
  resetView(into);
  into.verdict = judgeQuery(message, into);
  return into.verdict;
}

function judgeQuery(message: Uint8Array, view: QueryView): QueryVerdict {
  if (message.length < HEADER_OCTETS) return QueryVerdict.drop;
  const flags = flagsOf(message);
  if ((flags & FLAG.QR) !== 0) return QueryVerdict.drop;
  view.id = idOf(message);
  view.flags = flags;
  view.opcode = opcodeOf(message);
  view.rd = (flags & FLAG.RD) !== 0;
  view.ad = (flags & FLAG.AD) !== 0;
  view.cd = (flags & FLAG.CD) !== 0;
  const hasQuestion = questionCountOf(message) === 1 && parseQuestion(message, view);
  if (view.opcode !== OPCODE.QUERY) return QueryVerdict.notImp;
  if (questionCountOf(message) === 0) return judgeWithoutQuestion(message, view);
  if (!hasQuestion) return QueryVerdict.formErr;
  return parseQueryRecords(message, view);
}

function judgeWithoutQuestion(message: Uint8Array, view: QueryView): QueryVerdict {
  const verdict = parseQueryRecords(message, view);
  if (verdict !== QueryVerdict.ok) return verdict;
  return view.cookieLength > 0 ? QueryVerdict.cookieOnly : QueryVerdict.formErr;
}

/** @returns whether the question is sound; offsets are set only then */
function parseQuestion(message: Uint8Array, view: QueryView): boolean {
  const limit = Math.min(HEADER_OCTETS + NAME_OCTETS_MAX, message.length - QUESTION_FIXED_OCTETS);
  let at = HEADER_OCTETS;
  while (at < limit) {
    const length = message[at]!;
    at += 1;
    if (length === 0) {
      view.nameEnd = at;
      view.qtype = readUint16(message, at);
      view.qclass = readUint16(message, at + 2);
      view.questionEnd = at + QUESTION_FIXED_OCTETS;
      return true;
    }
    if (length > LABEL_OCTETS_MAX) return false;
    at += length;
  }
  return false;
}

/** Looks for the OPT record among what follows the question. */
function parseQueryRecords(message: Uint8Array, view: QueryView): QueryVerdict {
  const authorities = authorityCountOf(message);
  const records = authorities + additionalCountOf(message);
  if (answerCountOf(message) !== 0 || records > QUERY_RECORDS_MAX) return QueryVerdict.formErr;
  let at = Math.max(view.questionEnd, HEADER_OCTETS);
  let verdict: QueryVerdict = QueryVerdict.ok;
  for (let index = 0; index < records; index += 1) {
    const fixedOffset = skipName(message, at);
    if (fixedOffset < 0 || fixedOffset + RECORD_FIXED_OCTETS > message.length) {
      return QueryVerdict.formErr;
    }
    const dataOffset = fixedOffset + RECORD_FIXED_OCTETS;
    const dataLength = readUint16(message, dataOffset - 2);
    if (dataOffset + dataLength > message.length) return QueryVerdict.formErr;
    if (readUint16(message, fixedOffset) === TYPE.OPT) {
      if (view.hasEdns || index < authorities || message[at] !== 0) return QueryVerdict.formErr;
      verdict = parseOpt(message, fixedOffset, dataLength, view);
      if (verdict === QueryVerdict.formErr) return verdict;
    }
    at = dataOffset + dataLength;
  }
  return verdict;
}

function parseOpt(
  message: Uint8Array,
  fixedOffset: number,
  optionsLength: number,
  view: QueryView,
): QueryVerdict {
  view.hasEdns = true;
  view.udpOctets = Math.max(readUint16(message, fixedOffset + 2), UDP_OCTETS_PLAIN);
  view.ednsVersion = message[fixedOffset + 5]!;
  view.dnssecOk = (message[fixedOffset + 6]! & 0x80) !== 0;
  view.optionsOffset = fixedOffset + RECORD_FIXED_OCTETS;
  view.optionsLength = optionsLength;
  // What options look like in another version is unknown, so they are not looked at.
  if (view.ednsVersion !== 0) return QueryVerdict.badVers;
  return parseOptions(message, view);
}

function parseOptions(message: Uint8Array, view: QueryView): QueryVerdict {
  const end = view.optionsOffset + view.optionsLength;
  let at = view.optionsOffset;
  for (let count = 0; at < end; count += 1) {
    if (count === OPTIONS_MAX || at + OPTION_FIXED_OCTETS > end) return QueryVerdict.formErr;
    const code = readUint16(message, at);
    const length = readUint16(message, at + 2);
    at += OPTION_FIXED_OCTETS;
    if (at + length > end) return QueryVerdict.formErr;
    // Of several cookies only the first counts (RFC 7873 §5.2).
    if (code === EDNS_OPTION.COOKIE && view.cookieLength === 0) {
      if (!isCookieLength(length)) return QueryVerdict.formErr;
      view.cookieOffset = at;
      view.cookieLength = length;
    } else if (code === EDNS_OPTION.NSID) {
      view.hasNsid = true;
    } else if (code === EDNS_OPTION.TCP_KEEPALIVE) {
      view.hasKeepalive = true;
    } else if (code === EDNS_OPTION.PADDING) {
      view.hasPadding = true;
    }
    at += length;
  }
  return QueryVerdict.ok;
}

const isCookieLength = (octets: number): boolean =>
  octets === COOKIE_CLIENT_OCTETS ||
  (octets >= COOKIE_OCTETS_MIN_FULL && octets <= COOKIE_OCTETS_MAX);

/** The largest UDP response for this client: what it takes, but never more than we send. */
export const udpLimitOctets = (view: QueryView): number =>
  Math.min(view.udpOctets, EDNS_UDP_OCTETS);

/**
 * Whether a response repeats the question that was asked: QR set, one question, the same name, type
 * and class. The ID and the address are the caller's to compare.
 *
 * @param query an uncompressed question that ends at `questionEnd`
 * @param caseMatters whether the name must come back in the very case it was sent in, where that is
 *   part of the defence against spoofing; else A-Z equal a-z (RFC 4343)
 */
export function repeatsQuestion(
  response: Uint8Array,
  query: Uint8Array,
  questionEnd: number,
  caseMatters: boolean,
): boolean {
  if (response.length < questionEnd || !hasFlag(response, FLAG.QR)) return false;
  if (questionCountOf(response) !== 1) return false;
  const nameEnd = questionEnd - QUESTION_FIXED_OCTETS;
  for (let at = HEADER_OCTETS; at < questionEnd; at += 1) {
    const received = response[at]!;
    const sent = query[at]!;
    if (received === sent) continue;
    // Length octets are below 64, so folding leaves them alone.
    if (caseMatters || at >= nameEnd || lowerOctet(received) !== lowerOctet(sent)) return false;
  }
  return true;
}

export type Section = 'answer' | 'authority' | 'additional';

/**
 * Steps through the records of a message; reusable.
 *
 * ```ts
 * let state = cursor.begin(message);
 * while (state > 0) { …cursor.type…; state = cursor.next(); }
 * if (state < 0) …fault…
 * ```
 *
 * Invariant while a step returns 1: ownerOffset < typeOffset < rdataOffset, and
 * rdataOffset + rdataLength <= message.length. Owner names are known to be sound; RDATA is opaque.
 */
export class RecordCursor {
  message: Uint8Array = new Uint8Array(0);
  section: Section = 'answer';
  ownerOffset = 0;
  type = 0;
  class = 0;
  ttlOffset = 0;
  rdataOffset = 0;
  rdataLength = 0;
  /** Past the question section, set by begin(). */
  questionEnd = 0;
  /** The header's RCODE, joined with the upper bits of an OPT record once it has been passed. */
  rcode = 0;
  #at = 0;
  #answersLeft = 0;
  #authoritiesLeft = 0;
  #additionalsLeft = 0;

  /** @returns 1 on the first record, 0 when there is none, or a negative WireFault */
  begin(message: Uint8Array): number {
    this.message = message;
    if (message.length < HEADER_OCTETS) return WireFault.truncated;
    this.rcode = headerRcodeOf(message);
    this.#answersLeft = answerCountOf(message);
    this.#authoritiesLeft = authorityCountOf(message);
    this.#additionalsLeft = additionalCountOf(message);
    const questions = questionCountOf(message);
    const records = this.#answersLeft + this.#authoritiesLeft + this.#additionalsLeft;
    // More than one question is no message of today (RFC 9619).
    if (questions > 1 || records > RECORDS_MAX) return WireFault.badCounts;
    this.#at = HEADER_OCTETS;
    if (questions === 1) {
      const nameEnd = checkName(message, HEADER_OCTETS);
      if (nameEnd < 0) return nameEnd;
      this.#at = nameEnd + QUESTION_FIXED_OCTETS;
      if (this.#at > message.length) return WireFault.truncated;
    }
    this.questionEnd = this.#at;
    return this.next();
  }

  /** @returns 1 on the next record, 0 at the end of the last section, or a negative WireFault */
  next(): number {
    if (this.#answersLeft > 0) {
      this.#answersLeft -= 1;
      this.section = 'answer';
    } else if (this.#authoritiesLeft > 0) {
      this.#authoritiesLeft -= 1;
      this.section = 'authority';
    } else if (this.#additionalsLeft > 0) {
      this.#additionalsLeft -= 1;
      this.section = 'additional';
    } else {
      return 0;
    }
    return this.#read();
  }

  /** Past the record that the cursor stands on. */
  get recordEnd(): number {
    return this.#at;
  }

  /** Seconds, 0 to TTL_SECONDS_MAX. */
  get ttlSeconds(): number {
    return readTtlSeconds(this.message, this.ttlOffset);
  }

  #read(): number {
    const message = this.message;
    const fixedOffset = checkName(message, this.#at);
    if (fixedOffset < 0) return fixedOffset;
    if (fixedOffset + RECORD_FIXED_OCTETS > message.length) return WireFault.truncated;
    this.ownerOffset = this.#at;
    this.type = readUint16(message, fixedOffset);
    this.class = readUint16(message, fixedOffset + 2);
    this.ttlOffset = fixedOffset + 4;
    this.rdataOffset = fixedOffset + RECORD_FIXED_OCTETS;
    this.rdataLength = readUint16(message, this.rdataOffset - 2);
    this.#at = this.rdataOffset + this.rdataLength;
    if (this.#at > message.length) return WireFault.truncated;
    if (this.type === TYPE.OPT && this.section === 'additional') {
      this.rcode = (message[this.ttlOffset]! << 4) | headerRcodeOf(message);
    }
    return 1;
  }
}
