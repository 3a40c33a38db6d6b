/**
 * Owns XCLIENT, Postfix's extension by which a trusted peer says for whom it speaks.
 * Attributes: https://www.postfix.org/XCLIENT_README.html
 */
import { isIP } from 'node:net';
import { decodeXtext } from '../extra.ts';

/** As EHLO offers it. */
export const XCLIENT_OFFER = 'XCLIENT NAME ADDR PORT PROTO HELO LOGIN';
const NAMES: ReadonlySet<string> = new Set([
  'NAME',
  'ADDR',
  'PORT',
  'PROTO',
  'HELO',
  'LOGIN',
  'DESTADDR',
  'DESTPORT',
]);
const UNKNOWN: ReadonlySet<string> = new Set(['', '[UNAVAILABLE]', '[TEMPUNAVAIL]']);

export interface ClaimedClient {
  /** Numeric; null leaves what is known. */
  readonly address: string | null;
  readonly helo: string | null;
  /** A user that the peer has authenticated. */
  readonly login: string | null;
}

/** @returns null when it is malformed */
export function parseXclient(argument: string): ClaimedClient | null {
  const values = new Map<string, string>();
  for (const word of argument.split(/ +/)) {
    const split = word.indexOf('=');
    const name = word.slice(0, split).toUpperCase();
    if (split < 1 || !NAMES.has(name) || values.has(name)) return null;
    const value = decodeXtext(word.slice(split + 1));
    if (/[\x00-\x20\x7f-\xff]/.test(value)) return null;
    values.set(name, UNKNOWN.has(value.toUpperCase()) ? '' : value);
  }
  const address = (values.get('ADDR') ?? '').replace(/^IPV6:/i, '');
  if (address !== '' && isIP(address) === 0) return null;
  const known = (name: string): string | null => values.get(name) || null;
  return { address: address || null, helo: known('HELO'), login: known('LOGIN') };
}
