/**
 * One cached response, and how it becomes the response for one client.
 *
 * Invariants: storedAtMs <= expiresAtMs <= staleUntilMs. `wire` is never written to after it was
 * admitted. Its ID is zero, it has one question right behind the header and no OPT record, its TTLs
 * are within the limits of the cache, and every offset in `ttlOffsets` has four octets behind it.
 */
import {
  EXTENDED_ERROR,
  FLAG,
  HEADER_OCTETS,
  MESSAGE_OCTETS_MAX,
  RCODE,
} from '../wire/constants.ts';
import {
  copyOctets,
  type QueryView,
  readUint32,
  writeUint16,
  writeUint32,
} from '../wire/message.ts';
import { appendOpt, type ExtendedError, OPT_OCTETS_MAX } from '../wire/write.ts';

export type EntryKind = 'answer' | 'nodata' | 'nxdomain' | 'failure';

export interface CacheEntry {
  /** Response as received but for what the invariants say; owned here. */
  readonly wire: Uint8Array;
  /**
   * Octet offset of each TTL in `wire`. A plain array of small integers: a Uint16Array costs 190
   * octets more per entry.
   */
  readonly ttlOffsets: readonly number[];
  readonly kind: EntryKind;
  /** Whole monotonic milliseconds, so that they are stored in place. */
  readonly storedAtMs: number;
  readonly expiresAtMs: number;
  /** Equal to expiresAtMs when the entry may not be served stale. */
  readonly staleUntilMs: number;
  /** Why a failure failed; told to every client that has EDNS. */
  readonly extendedError: ExtendedError | null;
  /** Who said so, such as "192.0.2.53:53"; null when nobody did. One string for all its entries. */
  readonly upstream: string | null;
}

/** TTL of each expired record in a stale response (RFC 8767 §4). */
export const STALE_TTL_SECONDS = 30;
/** The bounds of RFC 9520 §3.2 on how long a failure is remembered. */
export const FAILURE_TTL_MS_MIN = 1_000;
export const FAILURE_TTL_MS_MAX = 300_000;

const STALE_ANSWER: ExtendedError = { code: EXTENDED_ERROR.STALE_ANSWER, text: '' };

export interface Rendering {
  /** Monotonic. */
  readonly nowMs: number;
  /** What the transport takes: udpLimitOctets(view) for UDP, MESSAGE_OCTETS_MAX for streams. */
  readonly octetsMax: number;
  /** TTL of expired records in a stale response; default STALE_TTL_SECONDS. */
  readonly staleTtlSeconds?: number;
  /** Told in place of the entry's own. */
  readonly extendedError?: ExtendedError;
}

export const isFresh = (entry: CacheEntry, nowMs: number): boolean => nowMs < entry.expiresAtMs;

/** Past its time, but still allowed to serve when the upstream fails (RFC 8767). */
export const isStale = (entry: CacheEntry, nowMs: number): boolean =>
  nowMs >= entry.expiresAtMs && nowMs < entry.staleUntilMs;

/** Answers that are asked for again in the last tenth of their life are worth renewing before it ends. */
const RENEWAL_SHARE = 0.1;

/** Monotonic; from when on a fresh entry may be renewed. */
export const renewableFromMs = ({ storedAtMs, expiresAtMs }: CacheEntry): number =>
  expiresAtMs - (expiresAtMs - storedAtMs) * RENEWAL_SHARE;

/** How large the buffer for {@link renderAnswer} must be; never above MESSAGE_OCTETS_MAX + OPT. */
export const renderedOctetsMax = (entry: CacheEntry): number => entry.wire.length + OPT_OCTETS_MAX;

/** A buffer of this size takes every rendering. */
export const RENDER_OCTETS_MAX = MESSAGE_OCTETS_MAX + OPT_OCTETS_MAX;

/**
 * Writes the response for one client: its ID, the case of its question, RD and CD as asked; RA, never
 * AA; AD only when asked for by AD or DO (RFC 6840 §5.7, §5.8); TTLs counted down, those of expired
 * records in a stale response STALE_TTL_SECONDS; OPT exactly when the client sent one, DO repeated.
 * What exceeds `octetsMax` becomes header, question and OPT with TC set (RFC 2181 §9).
 *
 * @param query the client's datagram, asking what the entry's key says; borrowed
 * @param view  `query` parsed
 * @param out   at least renderedOctetsMax(entry) octets
 * @returns octets written
 * @throws RangeError when `out` is too small
 */
export function renderAnswer(
  entry: CacheEntry,
  query: Uint8Array,
  view: QueryView,
  how: Rendering,
  out: Uint8Array,
): number {
  const wire = entry.wire;
  if (out.length < wire.length + OPT_OCTETS_MAX) throw new RangeError('rendering needs more room');
  out.set(wire, 0);
  writeUint16(out, 0, view.id);
  writeUint16(out, 2, clientFlags(wire, view));
  for (let at = HEADER_OCTETS; at < view.nameEnd; at += 1) out[at] = query[at]!;
  countDown(entry, how.nowMs, how.staleTtlSeconds ?? STALE_TTL_SECONDS, out);
  const error = how.extendedError ?? entry.extendedError ?? staleError(entry, how.nowMs);
  const rcode = wire[3]! & 0x0f;
  if (!view.hasEdns) {
    return wire.length <= how.octetsMax ? wire.length : truncate(out, view, rcode);
  }
  writeUint16(out, 10, ((wire[10]! << 8) | wire[11]!) + 1);
  const end = appendOpt(out, wire.length, rcode, view.dnssecOk, error);
  if (end <= how.octetsMax) return end;
  // The reason is worth less than the answer.
  const bareEnd = appendOpt(out, wire.length, rcode, view.dnssecOk);
  return bareEnd <= how.octetsMax ? bareEnd : truncate(out, view, rcode);
}

function clientFlags(wire: Uint8Array, view: QueryView): number {
  // TC stays when the upstream could give no whole answer.
  const kept = ((wire[2]! << 8) | wire[3]!) & (FLAG.TC | 0x000f);
  const authentic = view.ad || view.dnssecOk ? wire[3]! & FLAG.AD : 0;
  return FLAG.QR | FLAG.RA | kept | authentic | (view.flags & (FLAG.RD | FLAG.CD));
}

function countDown(
  entry: CacheEntry,
  nowMs: number,
  staleTtlSeconds: number,
  out: Uint8Array,
): void {
  const { wire, ttlOffsets } = entry;
  const ageSeconds = Math.max(0, Math.floor((nowMs - entry.storedAtMs) / 1000));
  if (ageSeconds === 0) return;
  const floorSeconds = isStale(entry, nowMs) ? staleTtlSeconds : 0;
  for (let index = 0; index < ttlOffsets.length; index += 1) {
    const offset = ttlOffsets[index]!;
    const leftSeconds = readUint32(wire, offset) - ageSeconds;
    writeUint32(out, offset, leftSeconds > 0 ? leftSeconds : floorSeconds);
  }
}

const staleError = (entry: CacheEntry, nowMs: number): ExtendedError | undefined =>
  isStale(entry, nowMs) ? STALE_ANSWER : undefined;

/** Leaves header, question and OPT. */
function truncate(out: Uint8Array, view: QueryView, rcode: number): number {
  out[2] = out[2]! | (FLAG.TC >>> 8);
  out.fill(0, 6, HEADER_OCTETS);
  if (!view.hasEdns) return view.questionEnd;
  out[11] = 1;
  return appendOpt(out, view.questionEnd, rcode, view.dnssecOk);
}

/**
 * A resolution failure of our own making: no upstream answered, or none with sense (RFC 9520 §2).
 *
 * @param query the question's message; its question starts behind the header and ends at `questionEnd`
 * @param ttlMs kept within FAILURE_TTL_MS_MIN and _MAX
 */
export function failureEntry(
  query: Uint8Array,
  questionEnd: number,
  nowMs: number,
  ttlMs: number,
  extendedError: ExtendedError | null,
  rcode: number = RCODE.SERVFAIL,
): CacheEntry {
  const wire = copyOctets(query, 0, questionEnd);
  wire.fill(0, 0, HEADER_OCTETS);
  writeUint16(wire, 2, FLAG.QR | (rcode & 0x0f));
  wire[5] = 1;
  const storedAtMs = Math.floor(nowMs);
  const keptMs = Math.min(Math.max(ttlMs, FAILURE_TTL_MS_MIN), FAILURE_TTL_MS_MAX);
  const expiresAtMs = storedAtMs + keptMs;
  return {
    wire,
    ttlOffsets: [],
    kind: 'failure',
    storedAtMs,
    expiresAtMs,
    staleUntilMs: expiresAtMs,
    extendedError,
    upstream: null,
  };
}
