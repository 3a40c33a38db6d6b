/**
 * Writing messages: queries to upstreams, errors to clients, and local responses.
 *
 * Every function writes either into a buffer of its own or at an offset of one that it is handed, and
 * returns the octets or the offset past what it wrote. Buffers too small are the caller's mistake.
 */
import {
  CLASS,
  EDNS_OPTION,
  EDNS_UDP_OCTETS,
  FLAG,
  HEADER_OCTETS,
  OPT_FIXED_OCTETS,
  OPTION_FIXED_OCTETS,
  POINTER_TAG,
  QUESTION_FIXED_OCTETS,
  RCODE,
  RECORD_FIXED_OCTETS,
  TYPE,
} from './constants.ts';
import { type QueryView, writeUint16, writeUint32 } from './message.ts';

/** An extended error (RFC 8914): a code for programs, a sentence for people. */
export interface ExtendedError {
  /** INFO-CODE, one of EXTENDED_ERROR. */
  readonly code: number;
  /** EXTRA-TEXT; what exceeds EXTRA_TEXT_OCTETS_MAX is cut off. */
  readonly text: string;
}

/** Our own bound on EXTRA-TEXT: with a name of 255 octets an error still fits in 512. */
export const EXTRA_TEXT_OCTETS_MAX = 160;
/** What {@link appendOpt} may write at most. */
export const OPT_OCTETS_MAX = OPT_FIXED_OCTETS + OPTION_FIXED_OCTETS + 2 + EXTRA_TEXT_OCTETS_MAX;

const textEncoder = new TextEncoder();

/**
 * Appends our OPT record (RFC 6891 §6.1.2), with an extended error if there is one to tell. The
 * caller counts it in ARCOUNT.
 *
 * @param rcode whole RCODE; its upper eight bits go into the record
 * @returns offset past the record, at most OPT_OCTETS_MAX further
 */
export function appendOpt(
  out: Uint8Array,
  offset: number,
  rcode: number,
  dnssecOk: boolean,
  extendedError?: ExtendedError,
): number {
  out[offset] = 0;
  writeUint16(out, offset + 1, TYPE.OPT);
  writeUint16(out, offset + 3, EDNS_UDP_OCTETS);
  out[offset + 5] = rcode >>> 4;
  out[offset + 6] = 0;
  writeUint16(out, offset + 7, dnssecOk ? 0x8000 : 0);
  const optionsOffset = offset + OPT_FIXED_OCTETS;
  const end =
    extendedError === undefined
      ? optionsOffset
      : appendExtendedError(out, optionsOffset, extendedError);
  writeUint16(out, offset + 9, end - optionsOffset);
  return end;
}

function appendExtendedError(out: Uint8Array, offset: number, error: ExtendedError): number {
  const textOffset = offset + OPTION_FIXED_OCTETS + 2;
  // encodeInto never splits a character.
  const target = out.subarray(textOffset, textOffset + EXTRA_TEXT_OCTETS_MAX);
  const { written } = textEncoder.encodeInto(error.text, target);
  writeUint16(out, offset, EDNS_OPTION.EXTENDED_ERROR);
  writeUint16(out, offset + 2, 2 + written);
  writeUint16(out, offset + 4, error.code);
  return textOffset + written;
}

export interface QueryToWrite {
  /** 16 random bits (RFC 5452 §9.2). */
  readonly id: number;
  /** QNAME on the wire, uncompressed, in the case it shall be asked in; may be part of a message. */
  readonly name: Uint8Array;
  readonly type: number;
  /** Default: IN. */
  readonly class?: number;
  /** Default: true. */
  readonly rd?: boolean;
  readonly ad?: boolean;
  readonly cd?: boolean;
  readonly dnssecOk?: boolean;
  /** Whether to send OPT with EDNS_UDP_OCTETS. Default: true; DO needs it. */
  readonly edns?: boolean;
}

/** @returns one query in a buffer of its own; its question ends at HEADER_OCTETS + name.length + 4 */
export function writeQuery(query: QueryToWrite): Uint8Array {
  const hasEdns = query.edns !== false;
  const questionEnd = HEADER_OCTETS + query.name.length + QUESTION_FIXED_OCTETS;
  const out = new Uint8Array(questionEnd + (hasEdns ? OPT_FIXED_OCTETS : 0));
  writeUint16(out, 0, query.id);
  const flags =
    (query.rd === false ? 0 : FLAG.RD) |
    (query.ad === true ? FLAG.AD : 0) |
    (query.cd === true ? FLAG.CD : 0);
  writeUint16(out, 2, flags);
  out[5] = 1;
  appendQuestion(out, query.name, query.type, query.class ?? CLASS.IN);
  if (hasEdns) {
    out[11] = 1;
    appendOpt(out, questionEnd, RCODE.NOERROR, query.dnssecOk === true);
  }
  return out;
}

function appendQuestion(out: Uint8Array, name: Uint8Array, type: number, klass: number): number {
  out.set(name, HEADER_OCTETS);
  const nameEnd = HEADER_OCTETS + name.length;
  writeUint16(out, nameEnd, type);
  writeUint16(out, nameEnd + 2, klass);
  return nameEnd + QUESTION_FIXED_OCTETS;
}

/**
 * Writes the response that carries nothing but an RCODE: FORMERR, NOTIMP, REFUSED, SERVFAIL, BADVERS.
 * ID, opcode, RD and CD are the query's; the question too when it could be parsed, octet for octet;
 * OPT exactly when the query had one (RFC 6891 §6.1.1, §7).
 *
 * @param query the datagram that `view` was parsed from; a verdict of `drop` must not come here
 * @param rcode above 15 only when the query had EDNS; SERVFAIL is sent in its place otherwise
 */
export function writeError(
  query: Uint8Array,
  view: QueryView,
  rcode: number,
  extendedError?: ExtendedError,
): Uint8Array {
  const sentRcode = rcode > 0x0f && !view.hasEdns ? RCODE.SERVFAIL : rcode;
  const questionEnd = Math.max(view.questionEnd, HEADER_OCTETS);
  const out = new Uint8Array(questionEnd + (view.hasEdns ? OPT_OCTETS_MAX : 0));
  writeUint16(out, 0, view.id);
  const kept = view.flags & (0x7800 | FLAG.RD | FLAG.CD);
  writeUint16(out, 2, FLAG.QR | kept | FLAG.RA | (sentRcode & 0x0f));
  if (view.questionEnd > 0) {
    out[5] = 1;
    out.set(query.subarray(HEADER_OCTETS, view.questionEnd), HEADER_OCTETS);
  }
  if (!view.hasEdns) return out;
  out[11] = 1;
  return out.subarray(0, appendOpt(out, questionEnd, sentRcode, view.dnssecOk, extendedError));
}

export interface RecordToWrite {
  /** Owner on the wire, uncompressed. */
  readonly name: Uint8Array;
  readonly type: number;
  /** Default: IN. */
  readonly class?: number;
  readonly ttlSeconds: number;
  /** As it goes on the wire, uncompressed. */
  readonly rdata: Uint8Array;
}

export interface ResponseToWrite {
  readonly id: number;
  /** Of FLAG, QR not needed. */
  readonly flags: number;
  readonly rcode?: number;
  readonly question: { readonly name: Uint8Array; readonly type: number; readonly class?: number };
  readonly answers?: readonly RecordToWrite[];
  readonly authorities?: readonly RecordToWrite[];
  readonly additionals?: readonly RecordToWrite[];
  /** Whether to append our OPT record. */
  readonly edns?: boolean;
  readonly dnssecOk?: boolean;
  readonly extendedError?: ExtendedError;
}

/**
 * Writes a response of our own, for local answers and for tests. Owners that are the QNAME, octet for
 * octet, become a pointer to it; nothing else is compressed.
 */
export function writeResponse(response: ResponseToWrite): Uint8Array {
  const { question, answers = [], authorities = [], additionals = [], rcode = 0 } = response;
  const sections = [answers, authorities, additionals];
  const records = sections.flat();
  const octetsMax = records.reduce(
    (octets, record) => octets + record.name.length + RECORD_FIXED_OCTETS + record.rdata.length,
    HEADER_OCTETS + question.name.length + QUESTION_FIXED_OCTETS + OPT_OCTETS_MAX,
  );
  const out = new Uint8Array(octetsMax);
  writeUint16(out, 0, response.id);
  writeUint16(out, 2, FLAG.QR | response.flags | (rcode & 0x0f));
  out[5] = 1;
  for (const [index, section] of sections.entries()) {
    writeUint16(out, 6 + 2 * index, section.length);
  }
  let at = appendQuestion(out, question.name, question.type, question.class ?? CLASS.IN);
  for (const record of records) at = appendRecord(out, at, question.name, record);
  if (response.edns === true) {
    writeUint16(out, 10, additionals.length + 1);
    at = appendOpt(out, at, rcode, response.dnssecOk === true, response.extendedError);
  }
  return out.subarray(0, at);
}

function appendRecord(
  out: Uint8Array,
  offset: number,
  questionName: Uint8Array,
  record: RecordToWrite,
): number {
  let at = offset;
  if (sameOctets(record.name, questionName)) {
    writeUint16(out, at, (POINTER_TAG << 8) | HEADER_OCTETS);
    at += 2;
  } else {
    out.set(record.name, at);
    at += record.name.length;
  }
  writeUint16(out, at, record.type);
  writeUint16(out, at + 2, record.class ?? CLASS.IN);
  writeUint32(out, at + 4, record.ttlSeconds);
  writeUint16(out, at + 8, record.rdata.length);
  out.set(record.rdata, at + RECORD_FIXED_OCTETS);
  return at + RECORD_FIXED_OCTETS + record.rdata.length;
}

const sameOctets = (left: Uint8Array, right: Uint8Array): boolean =>
  left.length === right.length && left.every((octet, index) => octet === right[index]);
