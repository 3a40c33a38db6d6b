/**
 * Reads a response to one of our questions: an answer, a definite no, or trouble.
 *
 * Invariants
 * - Only records of the answer section whose owner is the QNAME, or what a chain of CNAMEs from there
 *   leads to, count. The chain has at most CHAIN_MAX links (RFC 1034 §3.6.2 asks only for "robust").
 * - A no is NXDOMAIN or NODATA by RCODE and answer section (RFC 2308 §2). Whatever else is odd about a
 *   response makes it trouble: a name is never called missing on the word of a damaged message.
 */
import {
  CLASS,
  EDNS_OPTION,
  FLAG,
  OPTION_FIXED_OCTETS,
  OPTIONS_MAX,
  RCODE,
  rcodeName,
  TYPE,
} from '../../resolver/wire/constants.ts';
import { hasFlag, RecordCursor, readUint16 } from '../../resolver/wire/message.ts';
import { faultName, nameKey } from '../../resolver/wire/names.ts';
import { soaMinimumSeconds } from '../../resolver/wire/rdata.ts';

export type TroubleCause =
  /** This question got no response, though others did meanwhile. */
  | 'timeout'
  /** Nothing got a response: the resolver is not there. */
  | 'unreachable'
  | 'servfail'
  /** REFUSED, and every other RCODE that says that the resolver will not. */
  | 'refused'
  | 'malformed'
  /** Our own bound on waiting lookups is reached. */
  | 'overload';

export interface Trouble {
  readonly kind: 'trouble';
  readonly cause: TroubleCause;
  /** One line, printable, bounded; with the resolver's EXTRA-TEXT (RFC 8914) where it sent one. */
  readonly text: string;
}

export type Lookup<Rdata> =
  | {
      readonly kind: 'answer';
      /** One or more. */
      readonly records: readonly Rdata[];
      /** The least TTL of the RRset and of the CNAMEs that lead to it. */
      readonly ttlSeconds: number;
      /** The AD bit (RFC 4035 §3.2.3). */
      readonly authenticated: boolean;
    }
  /** ttlSeconds is 0 when the response says nothing of it (RFC 2308 §5). */
  | { readonly kind: 'nodata'; readonly ttlSeconds: number }
  | { readonly kind: 'nxdomain'; readonly ttlSeconds: number }
  | Trouble;

/** One of the decoders of resolver/wire/rdata.ts; a number is a WireFault. */
export type Decode<Rdata extends string | object> = (
  message: Uint8Array,
  offset: number,
  length: number,
) => Rdata | number;

/** CNAMEs followed within one response. */
const CHAIN_MAX = 16;
/** Records of one answer section looked at. */
const ANSWER_RECORDS_MAX = 512;
/** Characters kept of EXTRA-TEXT. */
const EXTRA_TEXT_MAX = 200;

interface Found {
  readonly owner: string;
  readonly type: number;
  readonly ttlSeconds: number;
  readonly rdataOffset: number;
  readonly rdataLength: number;
}

interface Scan {
  readonly answers: readonly Found[];
  readonly rcode: number;
  /** min(SOA TTL, SOA MINIMUM) of the authority section; 0 without one. */
  readonly negativeTtlSeconds: number;
  /** '' without one. */
  readonly extendedError: string;
}

const cursor = new RecordCursor();

const malformed = (text: string): Trouble => ({ kind: 'trouble', cause: 'malformed', text });

/**
 * @param message a whole response, already matched to the question by ID, name, type and class
 * @param qnameKey the QNAME as {@link nameKey} has it
 */
export function readAnswer<Rdata extends string | object>(
  message: Uint8Array,
  qnameKey: string,
  qtype: number,
  decode: Decode<Rdata>,
): Lookup<Rdata> {
  const scan = scanMessage(message);
  if (typeof scan === 'string') return malformed(`malformed response: ${scan}`);
  if (scan.rcode !== RCODE.NOERROR && scan.rcode !== RCODE.NXDOMAIN) return refusal(scan);

  let owner = qnameKey;
  let ttlSeconds = Number.POSITIVE_INFINITY;
  for (let link = 0; link <= CHAIN_MAX; link += 1) {
    const rrset = scan.answers.filter((found) => found.owner === owner && found.type === qtype);
    if (rrset.length > 0) {
      if (scan.rcode === RCODE.NXDOMAIN) return malformed('NXDOMAIN with an answer');
      for (const found of rrset) ttlSeconds = Math.min(ttlSeconds, found.ttlSeconds);
      return decodeRrset(message, rrset, ttlSeconds, decode);
    }
    const alias = scan.answers.find((found) => found.owner === owner && found.type === TYPE.CNAME);
    if (alias === undefined) {
      const kind = scan.rcode === RCODE.NXDOMAIN ? 'nxdomain' : 'nodata';
      return { kind, ttlSeconds: Math.min(ttlSeconds, scan.negativeTtlSeconds) };
    }
    const target = nameKey(message, alias.rdataOffset);
    if (typeof target === 'number') return malformed(`malformed CNAME: ${faultName(target)}`);
    ttlSeconds = Math.min(ttlSeconds, alias.ttlSeconds);
    owner = target;
  }
  return malformed(`more than ${CHAIN_MAX} CNAMEs, or a loop of them`);
}

function decodeRrset<Rdata extends string | object>(
  message: Uint8Array,
  rrset: readonly Found[],
  ttlSeconds: number,
  decode: Decode<Rdata>,
): Lookup<Rdata> {
  const records: Rdata[] = [];
  for (const { rdataOffset, rdataLength } of rrset) {
    const record = decode(message, rdataOffset, rdataLength);
    if (typeof record === 'number') return malformed(`malformed RDATA: ${faultName(record)}`);
    records.push(record);
  }
  return { kind: 'answer', records, ttlSeconds, authenticated: hasFlag(message, FLAG.AD) };
}

function refusal({ rcode, extendedError }: Scan): Trouble {
  const cause = rcode === RCODE.SERVFAIL ? 'servfail' : 'refused';
  const why = extendedError === '' ? '' : `: ${extendedError}`;
  return { kind: 'trouble', cause, text: `the resolver says ${rcodeName(rcode)}${why}` };
}

/** @returns what the message holds, or what is wrong with it */
function scanMessage(message: Uint8Array): Scan | string {
  const answers: Found[] = [];
  let negativeTtlSeconds = 0;
  let extendedError = '';
  let state = cursor.begin(message);
  for (; state > 0; state = cursor.next()) {
    const { section, type, ttlSeconds, rdataOffset, rdataLength } = cursor;
    if (section === 'additional' && type === TYPE.OPT) {
      extendedError = readExtendedError(message, rdataOffset, rdataLength);
    }
    if (cursor.class !== CLASS.IN) continue;
    if (section === 'answer') {
      const owner = nameKey(message, cursor.ownerOffset);
      if (typeof owner === 'number') return faultName(owner);
      if (answers.length === ANSWER_RECORDS_MAX) return `over ${ANSWER_RECORDS_MAX} answers`;
      answers.push({ owner, type, ttlSeconds, rdataOffset, rdataLength });
    } else if (section === 'authority' && type === TYPE.SOA) {
      const minimumSeconds = soaMinimumSeconds(message, rdataOffset, rdataLength);
      if (minimumSeconds < 0) return faultName(minimumSeconds);
      negativeTtlSeconds = Math.min(ttlSeconds, minimumSeconds);
    }
  }
  if (state < 0) return faultName(state);
  return { answers, rcode: cursor.rcode, negativeTtlSeconds, extendedError };
}

const utf8 = new TextDecoder();

/** @returns "EXTRA-TEXT (INFO-CODE)" made printable, or '' (RFC 8914 §2) */
function readExtendedError(message: Uint8Array, offset: number, length: number): string {
  const end = offset + length;
  let at = offset;
  for (let count = 0; count < OPTIONS_MAX && at + OPTION_FIXED_OCTETS <= end; count += 1) {
    const code = readUint16(message, at);
    const dataOffset = at + OPTION_FIXED_OCTETS;
    at = dataOffset + readUint16(message, at + 2);
    if (at > end) return '';
    if (code !== EDNS_OPTION.EXTENDED_ERROR || at - dataOffset < 2) continue;
    const infoCode = readUint16(message, dataOffset);
    const text = utf8
      .decode(message.subarray(dataOffset + 2, at))
      .replaceAll(/\p{C}+/gu, ' ')
      .trim();
    return text === ''
      ? `extended error ${infoCode}`
      : `${text.slice(0, EXTRA_TEXT_MAX)} (extended error ${infoCode})`;
  }
  return '';
}
