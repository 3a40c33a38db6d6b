/** Owns the header fields that intake writes: Received (RFC 5321 §4.4), Date and Message-ID (RFC 6409 §8). */
import type { Random } from '../../runtime/random.ts';

/** How the message came. RFC 3848 and RFC 6531 §4.3 name the SMTP variants. */
export interface Trace {
  readonly protocol: Protocol;
  /** Argument of HELO or EHLO, untrusted; '' when there is none. */
  readonly helo: string;
  /** Numeric address of the client; '' when it is unknown. */
  readonly address: string;
}

export type Protocol =
  | 'SMTP'
  | `ESMTP${'' | 'S'}${'' | 'A'}`
  | `UTF8SMTP${'' | 'S'}${'' | 'A'}`
  | `HTTP${'' | 'S'}`;

const HELO_NAME = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,253}[A-Za-z0-9_])?$/;

/** Without `for`, which would show one recipient to the others, and without `id`, not known before acceptance. */
export function receivedField(hostname: string, trace: Trace, nowMs: number): string {
  const literal = trace.address === '' ? '' : addressLiteral(trace.address);
  // A name that cannot stand in a header says nothing that the address does not say better.
  const name = HELO_NAME.test(trace.helo) ? trace.helo : literal;
  const from = name === literal ? literal : `${name} (${literal})`;
  const source = from === '' ? '' : `from ${from}\r\n\t`;
  return `Received: ${source}by ${hostname} with ${trace.protocol};\r\n\t${dateTime(nowMs)}\r\n`;
}

export const dateField = (nowMs: number): string => `Date: ${dateTime(nowMs)}\r\n`;

export const messageIdField = (hostname: string, nowMs: number, random: Random): string =>
  `Message-ID: ${newMessageId(hostname, nowMs, random)}\r\n`;

/** @returns "<…@hostname>", unique for as long as 64 random bits within one millisecond are */
export function newMessageId(hostname: string, nowMs: number, random: Random): string {
  const word = (): string => random.integer(0x1_0000_0000).toString(36).padStart(7, '0');
  return `<${nowMs.toString(36)}.${word()}${word()}@${hostname}>`;
}

/** Kept: every message of one second has the same. */
let dated = { second: Number.NaN, text: '' };

/** RFC 5322 §3.3, always in UTC. */
function dateTime(wallMs: number): string {
  const second = Math.floor(wallMs / 1000);
  if (second !== dated.second) {
    dated = { second, text: new Date(wallMs).toUTCString().replace('GMT', '+0000') };
  }
  return dated.text;
}

/** RFC 5321 §4.1.3; a dual-stack socket writes IPv4 clients as ::ffff:192.0.2.1. */
function addressLiteral(address: string): string {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return plain.includes(':') ? `[IPv6:${plain}]` : `[${plain}]`;
}
