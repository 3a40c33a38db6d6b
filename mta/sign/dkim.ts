/**
 * Makes DKIM-Signature fields (RFC 6376; RFC 8301: SHA-256 only; RFC 8463: Ed25519). No I/O, no clock.
 *
 * Invariants
 * - From is always signed, and so is the absence of a second one: see OVERSIGNED.
 * - l= is never written: what is appended to a message breaks its signature.
 * - A signature covers every occurrence of a signed field, the lowest first (RFC 6376 §5.4.2).
 */
import { hash, type KeyObject, sign } from 'node:crypto';
import { bodyHash, type Form, writeField } from './canonical.ts';
import { authorDomain } from './from.ts';
import { type Field, type Header, readHeader } from './header.ts';

export type Algorithm = 'rsa-sha256' | 'ed25519-sha256';

export interface SigningKey {
  /** d=, A-labels in lower case. */
  readonly domain: string;
  readonly selector: string;
  readonly algorithm: Algorithm;
  readonly key: KeyObject;
  readonly header: Form;
  readonly body: Form;
}

/** Domain → its keys, each of which signs; none: it should have some, and they are of no use. */
export type KeyRing = ReadonlyMap<string, readonly SigningKey[]>;

/** Signed once more often than they occur, so that none can be added afterwards (RFC 6376 §8.15). */
export const OVERSIGNED = [
  'from',
  'reply-to',
  'subject',
  'date',
  'to',
  'cc',
  'message-id',
  'mime-version',
  'content-type',
  'content-transfer-encoding',
] as const;
/** Signed where they occur (RFC 6376 §5.4.1); mailing lists may still add theirs. */
export const SIGNED = [
  'sender',
  'in-reply-to',
  'references',
  'list-id',
  'list-unsubscribe',
  'list-unsubscribe-post',
  'feedback-id',
] as const;
const WANTED: ReadonlySet<string> = new Set([...OVERSIGNED, ...SIGNED]);
/** Occurrences of one field that are covered; RFC 5322 §3.6 allows one. */
const OCCURRENCES_MAX = 8;
/** Characters of a line of the signature field (RFC 5322 §2.1.1). */
const LINE_CHARACTERS = 76;

const CRLF_OCTETS = 2;

/** Why there is no signature though there is a key. */
export type Fault = 'header' | 'key';

export type Signing =
  /** fields: zero or more DKIM-Signature fields, each with its CRLF; ASCII. */
  | { readonly fault: null; readonly fields: string; readonly algorithms: readonly Algorithm[] }
  | { readonly fault: Fault; readonly text: string };

export interface Unsigned {
  /** Header and body, CRLF line endings; borrowed. */
  readonly content: Buffer;
  /** Of the reverse-path, A-labels in lower case; '' for the null one. */
  readonly reversePathDomain: string;
}

/**
 * Signs with every key of the author's domain, else of that of the reverse-path; with none, `fields` is ''.
 * @param seconds since the Unix epoch, for t=
 */
export function signMessage(message: Unsigned, ring: KeyRing, seconds: number): Signing {
  const { content, reversePathDomain } = message;
  const header = readHeader(content, WANTED);
  if (header === null) return { fault: 'header', text: 'the header cannot be read' };
  const keys = keysOf(authorOf(content, header), ring) ?? keysOf(reversePathDomain, ring);
  if (keys === null) return UNCONCERNED;
  if (keys.length === 0) return { fault: 'key', text: 'no key of the domain can be used' };
  const body = content.subarray(header.bodyStart);
  const hashes = new Map<Form, string>();
  let fields = '';
  for (const key of keys) {
    let digest = hashes.get(key.body);
    if (digest === undefined) {
      digest = bodyHash(body, key.body);
      hashes.set(key.body, digest);
    }
    try {
      fields += signatureField(content, header, key, digest, seconds);
    } catch (error) {
      const text = `${key.selector}._domainkey.${key.domain}: ${String(error)}`;
      return { fault: 'key', text };
    }
  }
  return { fault: null, fields, algorithms: keys.map(({ algorithm }) => algorithm) };
}

const UNCONCERNED: Signing = { fault: null, fields: '', algorithms: [] };

/** Keys of the domain or, where it has none, of the nearest domain above: d= is aligned with it all the same (RFC 7489 §3.1.1). */
export function keysOf(domain: string | null, ring: KeyRing): readonly SigningKey[] | null {
  for (let name = domain ?? ''; name !== ''; ) {
    const keys = ring.get(name);
    if (keys !== undefined) return keys;
    const dot = name.indexOf('.');
    name = dot === -1 ? '' : name.slice(dot + 1);
  }
  return null;
}

/** Of several From fields the lowest counts: the first that a signature covers. */
function authorOf(content: Buffer, { fields }: Header): string | null {
  const from = fields.findLast(({ name }) => name === 'from');
  return from === undefined
    ? null
    : authorDomain(content.toString('utf8', from.colon + 1, from.end));
}

function signatureField(
  content: Buffer,
  { fields }: Header,
  key: SigningKey,
  digest: string,
  seconds: number,
): string {
  const { names, covered } = selectFields(fields);
  const unsigned = template(key, names, digest, seconds);
  return `${unsigned}${fold(signature(content, covered, unsigned, key))}\r\n`;
}

/** What h= lists, and the fields it stands for, in the same order. */
function selectFields(fields: readonly Field[]): {
  readonly names: readonly string[];
  readonly covered: readonly Field[];
} {
  const names: string[] = [];
  const covered: Field[] = [];
  const take = (name: string): void => {
    let count = 0;
    for (let index = fields.length - 1; index >= 0 && count < OCCURRENCES_MAX; index -= 1) {
      const field = fields[index]!;
      if (field.name !== name) continue;
      names.push(name);
      covered.push(field);
      count += 1;
    }
  };
  for (const name of OVERSIGNED) {
    take(name);
    names.push(name);
  }
  for (const name of SIGNED) take(name);
  return { names, covered };
}

/** The field up to and including "b=". */
function template(
  { domain, selector, algorithm, header, body }: SigningKey,
  names: readonly string[],
  digest: string,
  seconds: number,
): string {
  let text = `DKIM-Signature: v=1; a=${algorithm}; c=${header}/${body}; d=${domain};\r\n\ts=${selector}; t=${seconds};`;
  let line = '\r\n\th=';
  for (const [index, name] of names.entries()) {
    const piece = index < names.length - 1 ? `${name}:` : `${name};`;
    if (line.length + piece.length > LINE_CHARACTERS) {
      text += line;
      line = '\r\n\t';
    }
    line += piece;
  }
  text += line;
  return `${text}\r\n\tbh=${digest};\r\n\tb=`;
}

/**
 * @param unsigned the signature field up to and including an empty b=, without CRLF
 * @returns base64
 * @throws OpenSSL's error when the key cannot sign
 */
export function signature(
  content: Buffer,
  covered: readonly Field[],
  unsigned: string,
  { algorithm, key, header }: Pick<SigningKey, 'algorithm' | 'key' | 'header'>,
): string {
  const data = signedOctets(content, covered, unsigned, header);
  // RFC 8463 §3: Ed25519 signs the SHA-256 hash, not the text.
  return algorithm === 'rsa-sha256'
    ? sign('sha256', data, key).toString('base64')
    : sign(null, hash('sha256', data, 'buffer'), key).toString('base64');
}

/** What is signed or verified (RFC 6376 §3.7): the covered fields, then the signature field without its CRLF. */
export function signedOctets(
  content: Buffer,
  covered: readonly Field[],
  unsigned: string,
  form: Form,
): Buffer {
  let room = unsigned.length + 2 * CRLF_OCTETS;
  for (const { start, end } of covered) room += end - start;
  const data = Buffer.allocUnsafe(room);
  let at = 0;
  for (const field of covered) at = writeField(content, field, form, data, at);
  const own = Buffer.from(`${unsigned}\r\n`, 'latin1');
  const colon = unsigned.indexOf(':');
  const name = unsigned.slice(0, colon).toLowerCase();
  at = writeField(own, { name, start: 0, colon, end: own.length }, form, data, at);
  return data.subarray(0, at - 2);
}

/** Breaks base64 into lines; white space within b= does not count (RFC 6376 §3.5). */
function fold(base64: string): string {
  let text = base64.slice(0, LINE_CHARACTERS - 4);
  for (let at = LINE_CHARACTERS - 4; at < base64.length; at += LINE_CHARACTERS - 2) {
    text += `\r\n\t${base64.slice(at, at + LINE_CHARACTERS - 2)}`;
  }
  return text;
}
