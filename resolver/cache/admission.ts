/**
 * What may enter the cache, as what, and for how long: RFC 2181 §8 (TTL), RFC 2308 §5 (negative
 * responses), RFC 9520 (failures), RFC 8767 (stale). A response is kept whole under the one question
 * it answers; nothing in it is ever an answer to another question, so what was not asked for cannot
 * poison.
 */
import { FLAG, HEADER_OCTETS, QUESTION_FIXED_OCTETS, RCODE, TYPE } from '../wire/constants.ts';
import {
  copyOctets,
  hasFlag,
  questionCountOf,
  RecordCursor,
  readTtlSeconds,
  readUint16,
  writeUint16,
  writeUint32,
} from '../wire/message.ts';
import { equalNames, WireFault } from '../wire/names.ts';
import { soaMinimumSeconds } from '../wire/rdata.ts';
import { type CacheEntry, type EntryKind, failureEntry } from './entry.ts';

export interface AdmissionLimits {
  /** Positive records live at least this long, and at most maxTtlMs. */
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
  /** In place of the two above, for answers to questions of a type. */
  readonly byType?: ReadonlyMap<number, TtlBounds>;
  readonly maxNegativeTtlMs: number;
  readonly failureTtlMs: number;
  /** How long past expiry an answer may serve; 0 is never. */
  readonly staleMs: number;
}

export interface TtlBounds {
  readonly minTtlMs: number;
  readonly maxTtlMs: number;
}

/** Why a response answers those who wait for it, but is not kept. */
export type PassReason =
  /** TC: the answer is not whole. */
  | 'truncated'
  /** For this transaction only (RFC 1035 §3.2.1). */
  | 'zeroTtl'
  /** A negative response without SOA has no lifetime (RFC 2308 §5). */
  | 'noSoa'
  /** Neither an answer nor its denial: name servers to ask instead. */
  | 'referral';

export type Admission =
  | { readonly verdict: 'keep'; readonly entry: CacheEntry }
  | { readonly verdict: 'pass'; readonly entry: CacheEntry; readonly reason: PassReason }
  | { readonly verdict: 'malformed'; readonly fault: WireFault };

/** CNAMEs followed within one response; real chains have fewer than ten. */
export const CHAIN_LINKS_MAX = 16;

/** What one pass over the records learns. Offsets are into the response. */
interface Survey {
  readonly rcode: number;
  readonly questionEnd: number;
  /** Past the last record that is kept: where the OPT record begins, or the end. */
  readonly keptEnd: number;
  readonly additionals: number;
  readonly ttlOffsets: number[];
  /** Of `ttlOffsets`, how many are of the answer section; those come first. */
  readonly answers: number;
  readonly links: readonly Link[];
  /** Offset of the first authority SOA's TTL and its MINIMUM; null when there is none. */
  readonly soa: { readonly ttlOffset: number; readonly minimumSeconds: number } | null;
  readonly hasAuthorityNs: boolean;
}

/** One record of the answer section, as far as chains of CNAMEs matter. */
interface Link {
  readonly ownerOffset: number;
  readonly type: number;
  readonly rdataOffset: number;
}

const cursor = new RecordCursor();

/**
 * Judges a response that is already known to come from the upstream asked and to repeat the question.
 *
 * @param response the datagram; copied, so that its buffer may be used again at once
 * @param nowMs monotonic
 * @param upstream who sent it, for people
 */
export function admit(
  response: Uint8Array,
  nowMs: number,
  limits: AdmissionLimits,
  upstream: string | null = null,
): Admission {
  const survey = surveyRecords(response);
  if (typeof survey === 'number') return { verdict: 'malformed', fault: survey };
  const storedAtMs = Math.floor(nowMs);
  if (survey.rcode !== RCODE.NOERROR && survey.rcode !== RCODE.NXDOMAIN) {
    // RCODEs above 15 are between us and the upstream; to a client they are a failure to resolve.
    const rcode = survey.rcode > 0x0f ? RCODE.SERVFAIL : survey.rcode;
    const { failureTtlMs } = limits;
    const entry = failureEntry(response, survey.questionEnd, nowMs, failureTtlMs, null, rcode);
    return { verdict: 'keep', entry };
  }
  const kind = kindOf(response, survey);
  const wire = copyResponse(response, survey);
  clampTtls(wire, survey, limits);
  const lifetime = hasFlag(response, FLAG.TC)
    ? 'truncated'
    : lifetimeOf(wire, survey, kind, limits);
  // A response that is only passed on serves those who wait, and is never fresh or stale afterwards.
  const isKept = typeof lifetime === 'number';
  const expiresAtMs = storedAtMs + (isKept ? lifetime * 1000 : 0);
  const entry: CacheEntry = {
    wire,
    // A copy has room for its elements and no more; the one that grew has half as much again to spare.
    ttlOffsets: survey.ttlOffsets.slice(),
    kind,
    storedAtMs,
    expiresAtMs,
    staleUntilMs: expiresAtMs + (isKept ? staleMsOf(kind, limits) : 0),
    extendedError: null,
    upstream,
  };
  return isKept ? { verdict: 'keep', entry } : { verdict: 'pass', entry, reason: lifetime };
}

/**
 * An expired NXDOMAIN never serves: during an outage it would turn DNS trouble into a bounce. An
 * expired NODATA may, else a host without AAAA could not be reached by its stale A.
 */
const staleMsOf = (kind: EntryKind, limits: AdmissionLimits): number =>
  kind === 'nxdomain' ? 0 : limits.staleMs;

function surveyRecords(response: Uint8Array): Survey | WireFault {
  const ttlOffsets: number[] = [];
  const links: Link[] = [];
  let soa: Survey['soa'] = null;
  let hasAuthorityNs = false;
  let additionals = 0;
  let optOffset = -1;
  let state = cursor.begin(response);
  for (; state > 0; state = cursor.next()) {
    const { section, type, ownerOffset, ttlOffset, rdataOffset } = cursor;
    if (type === TYPE.OPT && section === 'additional' && optOffset < 0) optOffset = ownerOffset;
    // What stands behind OPT goes with it: closing the gap would shift what pointers point to.
    if (optOffset >= 0) continue;
    ttlOffsets.push(ttlOffset);
    if (section === 'answer') {
      links.push({ ownerOffset, type, rdataOffset });
    } else if (section === 'additional') {
      additionals += 1;
    } else if (type === TYPE.NS) {
      hasAuthorityNs = true;
    } else if (type === TYPE.SOA && soa === null) {
      const minimumSeconds = soaMinimumSeconds(response, rdataOffset, cursor.rdataLength);
      if (minimumSeconds < 0) return minimumSeconds as WireFault;
      soa = { ttlOffset, minimumSeconds };
    }
  }
  if (state < 0) return state as WireFault;
  if (questionCountOf(response) !== 1) return WireFault.badCounts;
  return {
    rcode: cursor.rcode,
    questionEnd: cursor.questionEnd,
    keptEnd: optOffset < 0 ? cursor.recordEnd : optOffset,
    additionals,
    ttlOffsets,
    answers: links.length,
    links,
    soa,
    hasAuthorityNs,
  };
}

/** RFC 2308 §2: the RCODE tells NXDOMAIN; NODATA shows in what the answer section lacks. */
function kindOf(response: Uint8Array, survey: Survey): EntryKind {
  if (survey.rcode === RCODE.NXDOMAIN) return 'nxdomain';
  const qtype = readUint16(response, survey.questionEnd - QUESTION_FIXED_OCTETS);
  return chainAnswers(response, survey.links, qtype) ? 'answer' : 'nodata';
}

/** Whether the answer section, from the QNAME and along its CNAMEs, ends in a record of the type asked. */
function chainAnswers(response: Uint8Array, links: readonly Link[], qtype: number): boolean {
  let nameOffset = HEADER_OCTETS;
  for (let followed = 0; followed <= CHAIN_LINKS_MAX; followed += 1) {
    const link = links.find(
      ({ type, ownerOffset }) =>
        (type === qtype || type === TYPE.CNAME || qtype === TYPE.ANY) &&
        equalNames(response, ownerOffset, response, nameOffset),
    );
    if (link === undefined) return false;
    if (link.type === qtype || qtype === TYPE.ANY) return true;
    nameOffset = link.rdataOffset;
  }
  return false;
}

function copyResponse(response: Uint8Array, survey: Survey): Uint8Array {
  // Its own memory of its exact size: a view would keep the whole receive buffer alive.
  const wire = copyOctets(response, 0, survey.keptEnd);
  writeUint16(wire, 0, 0);
  writeUint16(wire, 10, survey.additionals);
  return wire;
}

/** Brings every TTL of our copy into the limits; the minimum is for answers alone. */
function clampTtls(wire: Uint8Array, survey: Survey, limits: AdmissionLimits): void {
  const qtype = readUint16(wire, survey.questionEnd - QUESTION_FIXED_OCTETS);
  const { minTtlMs, maxTtlMs } = limits.byType?.get(qtype) ?? limits;
  const minSeconds = Math.floor(minTtlMs / 1000);
  const maxSeconds = Math.floor(maxTtlMs / 1000);
  for (const [index, offset] of survey.ttlOffsets.entries()) {
    const floorSeconds = index < survey.answers ? minSeconds : 0;
    const ttlSeconds = Math.max(readTtlSeconds(wire, offset), floorSeconds);
    writeUint32(wire, offset, Math.min(ttlSeconds, maxSeconds));
  }
}

/**
 * Whole seconds to keep a response, 1 and up, or why it is not kept. The answer section counts as a
 * whole: its shortest TTL is the lifetime. A negative response lives no longer than its SOA says; that
 * is also written into the SOA's TTL, for the caches of our clients (RFC 2308 §3).
 */
function lifetimeOf(
  wire: Uint8Array,
  survey: Survey,
  kind: EntryKind,
  limits: AdmissionLimits,
): number | PassReason {
  let seconds = Number.POSITIVE_INFINITY;
  for (let index = 0; index < survey.answers; index += 1) {
    seconds = Math.min(seconds, readTtlSeconds(wire, survey.ttlOffsets[index]!));
  }
  if (kind !== 'answer') {
    const { soa } = survey;
    if (soa === null) return survey.hasAuthorityNs && kind === 'nodata' ? 'referral' : 'noSoa';
    const soaTtlSeconds = readTtlSeconds(wire, soa.ttlOffset);
    const negativeSeconds = negativeTtlSeconds(soaTtlSeconds, soa.minimumSeconds, limits);
    writeUint32(wire, soa.ttlOffset, negativeSeconds);
    seconds = Math.min(seconds, negativeSeconds);
  }
  return seconds === 0 ? 'zeroTtl' : seconds;
}

/**
 * Lifetime of a negative response (RFC 2308 §5).
 *
 * @param ttlSeconds of the authority section's SOA
 * @param minimumSeconds its MINIMUM field
 */
export const negativeTtlSeconds = (
  ttlSeconds: number,
  minimumSeconds: number,
  limits: Pick<AdmissionLimits, 'maxNegativeTtlMs'>,
): number => Math.min(ttlSeconds, minimumSeconds, Math.floor(limits.maxNegativeTtlMs / 1000));
