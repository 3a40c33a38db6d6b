/**
 * Owns which mail addresses are admitted (RFC 5321 §4.1.2 Mailbox, RFC 6531 §3.3) and which domain
 * they are routed by. Everything later relies on what is refused here.
 *
 * Invariants of an admitted address
 * - local part 1 to 64 octets, domain at most 255, the whole at most 254 (a path is 256 with its brackets)
 * - no control character, no angle bracket, no space outside a quoted local part
 * - `domain` is A-labels in lower case without final dot, or a canonical address literal
 */
import { isIPv4, isIPv6 } from 'node:net';
import { domainToASCII } from 'node:url';
import ipaddr from 'ipaddr.js';
import type { Recipient } from '../envelope.ts';

/** RFC 5321 §4.5.3.1.1 to §4.5.3.1.3, in octets. */
export const LOCAL_PART_OCTETS_MAX = 64;
export const DOMAIN_OCTETS_MAX = 255;
export const ADDRESS_OCTETS_MAX = 254;
/** RFC 1035 §2.3.4: 255 octets on the wire leave 253 characters. */
const ROUTING_DOMAIN_LENGTH_MAX = 253;

export interface Mailbox {
  readonly fault: null;
  /** As the client wrote it. */
  readonly address: string;
  /** {@link Recipient.domain} */
  readonly domain: string;
  /** false: the address needs SMTPUTF8. */
  readonly ascii: boolean;
}

export interface AddressFault {
  readonly fault: 'no-domain' | 'local-part' | 'domain' | 'length' | 'characters';
  /** What is wrong, without quoting the address. */
  readonly text: string;
}

const ATOM = String.raw`[A-Za-z0-9!#$%&'*+/=?^_\x60{|}~\u0080-\uffff-]+`;
const DOT_ATOM = new RegExp(String.raw`^${ATOM}(?:\.${ATOM})*$`);
/** qtextSMTP and quoted-pairSMTP, without angle brackets: legal, but no one has them and paths are safer without. */
const QUOTED = /^"(?:[ !#-;=?-[\]-~\u0080-\uffff]|\\[ -;=?-~])*"$/;
const ASCII = /^[\x20-\x7e]*$/;
/** Holds nothing that is forbidden; nearly every address. */
const PLAIN = /^[ -;=?-~]*$/;
/** What no address may hold: controls, brackets, separators, and marks that make two addresses look alike. */
const FORBIDDEN =
  /[\p{Cc}<>\u00a0\u1680\u2000-\u200b\u200e\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufffd]/u;

const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
const HOST_NAME = new RegExp(String.raw`^${LABEL}(?:\.${LABEL})*$`);
const NUMERIC_LAST_LABEL = /(?:^|\.)\d+$/;
/** RFC 5321 §4.1.1.3 and appendix C: a source route is accepted and ignored. */
const SOURCE_ROUTE = /^@[^@,:\s]+(?:,@[^@,:\s]+)*:/;

const fault = (code: AddressFault['fault'], text: string): AddressFault => ({ fault: code, text });

/**
 * Admits local-part@domain.
 * @param text without angle brackets and without source route; untrusted
 */
export function parseMailbox(text: string): Mailbox | AddressFault {
  const plain = PLAIN.test(text);
  const ascii = plain || ASCII.test(text);
  if (octets(text, ascii) > ADDRESS_OCTETS_MAX) {
    return fault('length', `address longer than ${ADDRESS_OCTETS_MAX} octets`);
  }
  if (!plain && (FORBIDDEN.test(text) || !text.isWellFormed())) {
    return fault('characters', 'character that no address may hold');
  }
  // The last one: a quoted local part may hold others, a domain may not.
  const at = text.lastIndexOf('@');
  if (at === -1) return fault('no-domain', 'address without a domain; write local-part@domain');
  const local = text.slice(0, at);
  if (octets(local, ascii) > LOCAL_PART_OCTETS_MAX) {
    return fault('length', `local part longer than ${LOCAL_PART_OCTETS_MAX} octets`);
  }
  if (!DOT_ATOM.test(local) && !(QUOTED.test(local) && local.length > 2)) {
    return fault('local-part', 'local part is neither a dot-atom nor a quoted string');
  }
  const domain = routingDomain(text.slice(at + 1), ascii);
  return typeof domain === 'string' ? { fault: null, address: text, domain, ascii } : domain;
}

/**
 * Admits the inside of a forward-path or a non-null reverse-path; a source route is stripped.
 * @param path without angle brackets; untrusted
 */
export function parsePath(path: string): Mailbox | AddressFault {
  return parseMailbox(path.charCodeAt(0) === 0x40 ? path.replace(SOURCE_ROUTE, '') : path);
}

/** A mailbox that mail is to go to. */
export interface Forward extends Mailbox {
  /** {@link Recipient.extra} */
  readonly extra?: string | undefined;
}

export const toRecipient = ({ address, domain, extra }: Forward, index: number): Recipient =>
  extra === undefined ? { index, address, domain } : { index, address, domain, extra };

/** @returns {@link Recipient.domain}, or why there is none */
function routingDomain(text: string, ascii: boolean): string | AddressFault {
  if (text.startsWith('[')) return addressLiteral(text);
  let name = text.toLowerCase();
  if (!ascii && !ASCII.test(name)) {
    if (octets(text, false) > DOMAIN_OCTETS_MAX) {
      return fault('length', `domain longer than ${DOMAIN_OCTETS_MAX} octets`);
    }
    // domainToASCII() reads a URL's host: it would decode and cut at characters that no domain has.
    if (!/^[a-z0-9.\u0080-\uffff-]+$/.test(name)) return fault('domain', 'domain is not a name');
    name = domainToASCII(name);
  }
  if (name.length > ROUTING_DOMAIN_LENGTH_MAX) {
    return fault('length', `domain longer than ${ROUTING_DOMAIN_LENGTH_MAX} characters`);
  }
  if (!HOST_NAME.test(name)) {
    return fault('domain', 'domain is not letters, digits and hyphens between dots');
  }
  if (isDigit(name.charCodeAt(name.length - 1)) && NUMERIC_LAST_LABEL.test(name)) {
    return fault('domain', 'domain ends in a number; an address is written [192.0.2.1]');
  }
  return name;
}

/** RFC 5321 §4.1.3. One text for one address, so that it makes one site. */
function addressLiteral(text: string): string | AddressFault {
  const inside = text.endsWith(']') ? text.slice(1, -1) : '';
  if (isIPv4(inside)) return `[${inside}]`;
  const v6 = /^IPv6:([0-9a-f:.]+)$/i.exec(inside)?.[1];
  if (v6 !== undefined && isIPv6(v6)) return `[IPv6:${ipaddr.parse(v6).toString()}]`;
  return fault('domain', 'address literal is neither [192.0.2.1] nor [IPv6:2001:db8::1]');
}

const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;

const octets = (text: string, ascii: boolean): number =>
  ascii ? text.length : Buffer.byteLength(text);
