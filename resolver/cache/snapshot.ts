/**
 * Cached responses as blocks of octets that outlive the process.
 *
 * ```
 * block:  length (4) │ CRC-32 of the payload (4) │ payload
 * file:   a block that says what follows │ blocks of responses
 * response: key │ kind │ hits │ stored, expires, stale until (8 each, wall ms) │ upstream │ wire
 * ```
 *
 * Numbers are big-endian; key, upstream and wire stand behind their length. What cannot be read costs
 * warmth, never truth: a block whose sum is wrong is not looked at, and of one whose sum is right every
 * response is stepped through again before it is believed.
 */
import { crc32 } from 'node:zlib';
import { FLAG, HEADER_OCTETS } from '../wire/constants.ts';
import { hasFlag, questionCountOf, RecordCursor } from '../wire/message.ts';
import { nameKey } from '../wire/names.ts';
import type { CacheEntry, EntryKind } from './entry.ts';
import { questionMatchesKey } from './key.ts';

const FORMAT = 'postilion cache snapshot 1\n';
/** Length and sum. */
export const BLOCK_HEAD_OCTETS = 8;
/** More than a part of the cache can hold. */
export const BLOCK_OCTETS_MAX = 2_097_152;
const KINDS: readonly EntryKind[] = ['answer', 'nodata', 'nxdomain'];
const FIXED_OCTETS = 2 + 1 + 1 + 3 * 8 + 1 + 2;
/** Longest name of an upstream; cut off beyond. */
const UPSTREAM_OCTETS_MAX = 255;

export interface Saved {
  readonly key: string;
  readonly entry: CacheEntry;
  /** Times asked for of late, 0 to 255. */
  readonly hits: number;
}

/** Both clocks at one instant: entries know the monotonic one, files the wall's. */
export interface Instant {
  readonly monotonicMs: number;
  readonly wallMs: number;
}

/** @returns what a file begins with */
export const formatBlock = (): Buffer => seal(Buffer.from(FORMAT, 'latin1'));

/** @returns whether the payload of the first block is that of {@link formatBlock} */
export const isFormat = (payload: Buffer): boolean => payload.toString('latin1') === FORMAT;

/** @returns one block; what of it would exceed BLOCK_OCTETS_MAX is left out */
export function encodeBlock(saved: readonly Saved[], now: Instant): Buffer {
  const toWallMs = now.wallMs - now.monotonicMs;
  const parts: Buffer[] = [];
  let octets = 0;
  for (const each of saved) {
    const part = encodeOne(each, toWallMs);
    octets += part.length;
    if (octets > BLOCK_OCTETS_MAX) break;
    parts.push(part);
  }
  return seal(Buffer.concat(parts));
}

function seal(payload: Buffer): Buffer {
  const head = Buffer.allocUnsafe(BLOCK_HEAD_OCTETS);
  head.writeUInt32BE(payload.length, 0);
  head.writeUInt32BE(crc32(payload), 4);
  return Buffer.concat([head, payload]);
}

/** @returns octets of the payload that follows, 1 to BLOCK_OCTETS_MAX; null when the head is none */
export function payloadOctets(head: Buffer): number | null {
  const octets = head.readUInt32BE(0);
  return octets === 0 || octets > BLOCK_OCTETS_MAX ? null : octets;
}

export const isSound = (head: Buffer, payload: Buffer): boolean =>
  head.readUInt32BE(4) === crc32(payload);

function encodeOne({ key, entry, hits }: Saved, toWallMs: number): Buffer {
  const upstream = Buffer.from(entry.upstream ?? '').subarray(0, UPSTREAM_OCTETS_MAX);
  const { wire } = entry;
  const out = Buffer.allocUnsafe(FIXED_OCTETS + key.length + upstream.length + wire.length);
  let at = out.writeUInt16BE(key.length, 0);
  at += out.write(key, at, 'latin1');
  at = out.writeUInt8(KINDS.indexOf(entry.kind), at);
  at = out.writeUInt8(hits, at);
  at = out.writeDoubleBE(entry.storedAtMs + toWallMs, at);
  at = out.writeDoubleBE(entry.expiresAtMs + toWallMs, at);
  at = out.writeDoubleBE(entry.staleUntilMs + toWallMs, at);
  at = out.writeUInt8(upstream.length, at);
  at += upstream.copy(out, at);
  at = out.writeUInt16BE(wire.length, at);
  out.set(wire, at);
  return out;
}

/**
 * Takes the responses of a sound payload that may still serve, fresh or stale.
 *
 * @param staleMs as configured now; where it is shorter than when it was saved, it holds
 */
export function* decodeBlock(payload: Buffer, now: Instant, staleMs: number): Generator<Saved> {
  let at = 0;
  while (at < payload.length) {
    const end = endOfOne(payload, at);
    if (end < 0) return;
    const saved = decodeOne(payload, at, now, staleMs);
    if (saved !== null) yield saved;
    at = end;
  }
}

/** @returns the offset past the response that starts at `start`, or -1 when it is cut short */
function endOfOne(payload: Buffer, start: number): number {
  if (start + FIXED_OCTETS > payload.length) return -1;
  const upstreamAt = start + 2 + payload.readUInt16BE(start) + 2 + 3 * 8;
  if (upstreamAt + 3 > payload.length) return -1;
  const wireAt = upstreamAt + 1 + payload[upstreamAt]!;
  if (wireAt + 2 > payload.length) return -1;
  const end = wireAt + 2 + payload.readUInt16BE(wireAt);
  return end > payload.length ? -1 : end;
}

function decodeOne(payload: Buffer, start: number, now: Instant, staleMs: number): Saved | null {
  const keyEnd = start + 2 + payload.readUInt16BE(start);
  const key = payload.toString('latin1', start + 2, keyEnd);
  const kind = KINDS[payload[keyEnd]!];
  const hits = payload[keyEnd + 1]!;
  const timesAt = keyEnd + 2;
  const upstreamAt = timesAt + 3 * 8;
  const upstreamEnd = upstreamAt + 1 + payload[upstreamAt]!;
  const wireAt = upstreamEnd + 2;
  const wire = Uint8Array.from(
    payload.subarray(wireAt, wireAt + payload.readUInt16BE(upstreamEnd)),
  );
  const times = readTimes(payload, timesAt, now, staleMs);
  const ttlOffsets = ttlOffsetsOf(wire);
  if (kind === undefined || times === null || ttlOffsets === null) return null;
  if (!questionMatchesKey(wire, key)) return null;
  const upstream = payload.toString('utf8', upstreamAt + 1, upstreamEnd);
  const entry = {
    wire,
    ttlOffsets,
    kind,
    ...times,
    extendedError: null,
    upstream: upstream || null,
  };
  return { key, entry, hits };
}

type Times = Pick<CacheEntry, 'storedAtMs' | 'expiresAtMs' | 'staleUntilMs'>;

/** @returns monotonic times; null when they are none, or the response may not serve any more */
function readTimes(payload: Buffer, at: number, now: Instant, staleMs: number): Times | null {
  const [stored, expires, stale] = [0, 8, 16].map((step) => payload.readDoubleBE(at + step));
  if (stored === undefined || expires === undefined || stale === undefined) return null;
  if (
    !(stored <= expires && expires <= stale && Number.isFinite(stored) && Number.isFinite(stale))
  ) {
    return null;
  }
  // Where the wall clock was set back, nothing is younger than now.
  const toMonotonicMs = Math.min(now.monotonicMs - now.wallMs, now.monotonicMs - stored);
  const expiresAtMs = Math.floor(expires + toMonotonicMs);
  const staleUntilMs = expiresAtMs + Math.min(Math.floor(stale - expires), staleMs);
  if (staleUntilMs <= now.monotonicMs) return null;
  return { storedAtMs: Math.floor(stored + toMonotonicMs), expiresAtMs, staleUntilMs };
}

const cursor = new RecordCursor();

/** @returns null when the octets are no response with one question */
function ttlOffsetsOf(wire: Uint8Array): number[] | null {
  const offsets: number[] = [];
  let state = cursor.begin(wire);
  for (; state > 0; state = cursor.next()) offsets.push(cursor.ttlOffset);
  if (state < 0 || questionCountOf(wire) !== 1 || !hasFlag(wire, FLAG.QR)) return null;
  return typeof nameKey(wire, HEADER_OCTETS) === 'string' ? offsets : null;
}
