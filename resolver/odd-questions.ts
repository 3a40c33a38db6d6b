/**
 * Questions that are well formed but that no forwarder passes on: other classes, zone transfers, ANY,
 * and types that exist only as questions or only in the header of a transport.
 */
import { CLASS, EXTENDED_ERROR, FLAG, HEADER_OCTETS, RCODE, TYPE } from './wire/constants.ts';
import type { QueryView } from './wire/message.ts';
import { nameToText } from './wire/names.ts';
import { type ExtendedError, writeError, writeResponse } from './wire/write.ts';

/** QTYPEs and meta-types (RFC 6895 §3.1); ordinary types resume above. */
const META_TYPE_MIN = 128;
const META_TYPE_MAX = 255;
const ANY_TTL_SECONDS = 3_600;
/** HINFO with CPU "RFC8482" and an empty OS (RFC 8482 §4.2). */
const ANY_RDATA = Uint8Array.from([7, ...Buffer.from('RFC8482', 'latin1'), 0]);

const refuse = (text: string): ExtendedError => ({ code: EXTENDED_ERROR.NOT_SUPPORTED, text });
const NO_CLASS = refuse('only class IN is served here');
const NO_TRANSFER = refuse('a forwarder has no zones to transfer');
const NO_META = refuse('this type is no question');

/** @returns whether {@link answerOddQuestion} must be asked; cheap, as every query passes here */
export const isOddQuestion = (view: QueryView): boolean =>
  view.qclass !== CLASS.IN ||
  (view.qtype >= META_TYPE_MIN && view.qtype <= META_TYPE_MAX) ||
  view.qtype === TYPE.OPT ||
  view.qtype === 0;

/** What is told to those who ask in class CHAOS (RFC 4892); "" is nothing. */
export interface Identity {
  /** id.server, hostname.bind */
  readonly name: string;
  /** version.server, version.bind */
  readonly version: string;
}

const CHAOS_NAMES: Readonly<Record<string, keyof Identity>> = {
  'id.server.': 'name',
  'hostname.bind.': 'name',
  'version.server.': 'version',
  'version.bind.': 'version',
};
const CHAOS_TEXT_OCTETS_MAX = 255;

/** @returns the response to an odd question, in a buffer of its own */
export function answerOddQuestion(
  query: Uint8Array,
  view: QueryView,
  identity: Identity,
): Uint8Array {
  if (view.qclass === CLASS.CH && view.qtype === TYPE.TXT) {
    const what = CHAOS_NAMES[lowerText(query)];
    const text = what === undefined ? '' : identity[what];
    if (text !== '') return answerChaos(query, view, text);
  }
  if (view.qclass !== CLASS.IN) return writeError(query, view, RCODE.REFUSED, NO_CLASS);
  if (view.qtype === TYPE.ANY) return answerAny(query, view);
  if (view.qtype === TYPE.AXFR || view.qtype === TYPE.IXFR) {
    return writeError(query, view, RCODE.REFUSED, NO_TRANSFER);
  }
  if (view.qtype === 0 || view.qtype === TYPE.OPT) {
    return writeError(query, view, RCODE.FORMERR, NO_META);
  }
  return writeError(query, view, RCODE.NOTIMP, NO_META);
}

function lowerText(query: Uint8Array): string {
  const text = nameToText(query, HEADER_OCTETS);
  return typeof text === 'number' ? '' : text.toLowerCase();
}

function answerChaos(query: Uint8Array, view: QueryView, text: string): Uint8Array {
  const name = query.subarray(HEADER_OCTETS, view.nameEnd);
  const octets = Buffer.from(text).subarray(0, CHAOS_TEXT_OCTETS_MAX);
  const rdata = Uint8Array.from([octets.length, ...octets]);
  return writeResponse({
    id: view.id,
    flags: FLAG.AA | (view.flags & (FLAG.RD | FLAG.CD)),
    question: { name, type: TYPE.TXT, class: CLASS.CH },
    answers: [{ name, type: TYPE.TXT, class: CLASS.CH, ttlSeconds: 0, rdata }],
    edns: view.hasEdns,
    dnssecOk: view.dnssecOk,
  });
}

function answerAny(query: Uint8Array, view: QueryView): Uint8Array {
  const name = query.subarray(HEADER_OCTETS, view.nameEnd);
  return writeResponse({
    id: view.id,
    flags: FLAG.RA | (view.flags & (FLAG.RD | FLAG.CD)),
    question: { name, type: TYPE.ANY },
    answers: [{ name, type: TYPE.HINFO, ttlSeconds: ANY_TTL_SECONDS, rdata: ANY_RDATA }],
    edns: view.hasEdns,
    dnssecOk: view.dnssecOk,
  });
}
