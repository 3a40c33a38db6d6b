/**
 * RDATA decoders for the types that are looked into; every other type stays opaque (RFC 3597).
 *
 * Each takes the message and the bounds of one RDATA and returns a value or a negative WireFault.
 * The RDATA must be used up exactly. Names in it may be compressed only for the types of RFC 1035
 * (RFC 3597 §4), which CNAME, NS, PTR, MX and SOA are.
 */
import { copyOctets, readTtlSeconds, readUint16, readUint32 } from './message.ts';
import { checkName, nameToText, WireFault } from './names.ts';

const IPV4_OCTETS = 4;
const IPV6_OCTETS = 16;
/** SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM. */
const SOA_FIXED_OCTETS = 20;

/** @returns dotted decimal */
export function decodeA(message: Uint8Array, offset: number, length: number): string | WireFault {
  if (length !== IPV4_OCTETS) return WireFault.badRdata;
  if (offset + length > message.length) return WireFault.truncated;
  return `${message[offset]}.${message[offset + 1]}.${message[offset + 2]}.${message[offset + 3]}`;
}

/** @returns the address as RFC 5952 §4 and §5 have it: lower case, the longest run of zeros as "::" */
export function decodeAaaa(
  message: Uint8Array,
  offset: number,
  length: number,
): string | WireFault {
  if (length !== IPV6_OCTETS) return WireFault.badRdata;
  if (offset + length > message.length) return WireFault.truncated;
  const groups = Array.from({ length: 8 }, (_, index) => readUint16(message, offset + 2 * index));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) {
    return `::ffff:${decodeA(message, offset + 12, IPV4_OCTETS)}`;
  }
  const { start, count } = longestZeroRun(groups);
  const text = (from: number, to: number): string =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(':');
  return count < 2 ? text(0, 8) : `${text(0, start)}::${text(start + count, 8)}`;
}

/** The first of the longest runs (RFC 5952 §4.2.3). */
function longestZeroRun(groups: readonly number[]): { start: number; count: number } {
  let longest = { start: 0, count: 0 };
  let count = 0;
  for (const [index, group] of groups.entries()) {
    count = group === 0 ? count + 1 : 0;
    if (count > longest.count) longest = { start: index - count + 1, count };
  }
  return longest;
}

/** The single name of CNAME, NS or PTR as text. */
export function decodeName(
  message: Uint8Array,
  offset: number,
  length: number,
): string | WireFault {
  const end = checkName(message, offset);
  if (end < 0) return end as WireFault;
  return end === offset + length ? nameToText(message, offset) : WireFault.badRdata;
}

export interface MxRdata {
  /** 0 to 65535; lower is preferred (RFC 5321 §5.1). */
  readonly preference: number;
  /** As text, case kept; "." is a null MX (RFC 7505). */
  readonly exchange: string;
}

export function decodeMx(message: Uint8Array, offset: number, length: number): MxRdata | WireFault {
  if (length < 3) return WireFault.badRdata;
  if (offset + length > message.length) return WireFault.truncated;
  const exchange = decodeName(message, offset + 2, length - 2);
  if (typeof exchange === 'number') return exchange;
  return { preference: readUint16(message, offset), exchange };
}

/** @returns its character-strings, one or more (RFC 1035 §3.3.14), an octet a character (latin1) */
export function decodeTxt(
  message: Uint8Array,
  offset: number,
  length: number,
): string[] | WireFault {
  const end = offset + length;
  if (length === 0) return WireFault.badRdata;
  if (end > message.length) return WireFault.truncated;
  const strings: string[] = [];
  for (let at = offset; at < end; ) {
    const next = at + 1 + message[at]!;
    if (next > end) return WireFault.badRdata;
    strings.push(latin1(message, at + 1, next));
    at = next;
  }
  return strings;
}

/** In one piece and of its own memory, whatever becomes of the message. */
const latin1 = (octets: Uint8Array, start: number, end: number): string =>
  Buffer.from(octets.buffer, octets.byteOffset + start, end - start).toString('latin1');

export interface SoaRdata {
  readonly primary: string;
  readonly mailbox: string;
  readonly serial: number;
  readonly refreshSeconds: number;
  readonly retrySeconds: number;
  readonly expireSeconds: number;
  /** The bound on negative TTLs (RFC 2308 §4); 0 when its top bit is set. */
  readonly minimumSeconds: number;
}

export function decodeSoa(
  message: Uint8Array,
  offset: number,
  length: number,
): SoaRdata | WireFault {
  const fixedOffset = soaFixedOffset(message, offset, length);
  if (fixedOffset < 0) return fixedOffset as WireFault;
  const primary = nameToText(message, offset);
  if (typeof primary === 'number') return primary;
  const mailbox = nameToText(message, checkName(message, offset));
  if (typeof mailbox === 'number') return mailbox;
  return {
    primary,
    mailbox,
    serial: readUint32(message, fixedOffset),
    refreshSeconds: readUint32(message, fixedOffset + 4),
    retrySeconds: readUint32(message, fixedOffset + 8),
    expireSeconds: readUint32(message, fixedOffset + 12),
    minimumSeconds: readTtlSeconds(message, fixedOffset + 16),
  };
}

/** @returns the MINIMUM field alone in seconds, or a negative WireFault; builds no strings */
export function soaMinimumSeconds(message: Uint8Array, offset: number, length: number): number {
  const fixedOffset = soaFixedOffset(message, offset, length);
  return fixedOffset < 0 ? fixedOffset : readTtlSeconds(message, fixedOffset + 16);
}

/** Past MNAME and RNAME, with the five numbers behind them known to fill the RDATA. */
function soaFixedOffset(message: Uint8Array, offset: number, length: number): number {
  const primaryEnd = checkName(message, offset);
  if (primaryEnd < 0) return primaryEnd;
  const mailboxEnd = checkName(message, primaryEnd);
  if (mailboxEnd < 0) return mailboxEnd;
  const end = offset + length;
  if (end > message.length) return WireFault.truncated;
  return mailboxEnd + SOA_FIXED_OCTETS === end ? mailboxEnd : WireFault.badRdata;
}

export interface TlsaRdata {
  readonly usage: number;
  readonly selector: number;
  readonly matching: number;
  /** Owned by the caller. */
  readonly data: Uint8Array;
}

/** RFC 6698 §2.1. */
export function decodeTlsa(
  message: Uint8Array,
  offset: number,
  length: number,
): TlsaRdata | WireFault {
  if (length < 4) return WireFault.badRdata;
  if (offset + length > message.length) return WireFault.truncated;
  return {
    usage: message[offset]!,
    selector: message[offset + 1]!,
    matching: message[offset + 2]!,
    data: copyOctets(message, offset + 3, offset + length),
  };
}
