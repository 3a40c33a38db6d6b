/**
 * Owns what is checked of a message's octets, and what is written into it on the way in.
 *
 * A message that passed has only CRLF line endings, no NUL, no line longer than 998 octets, a header
 * that ends where it seems to, at most 100 Received fields, and a Date and a Message-ID.
 */
import { isAscii } from 'node:buffer';
import type { Body } from '../envelope.ts';

/** RFC 5321 §4.5.3.1.6, without the CRLF. */
export const LINE_OCTETS_MAX = 998;
/** RFC 5321 §6.3 asks for at least 100 before a loop is assumed. */
export const RECEIVED_MAX = 100;
/** A bound on the work below; the largest header seen in the wild is a tenth of it. */
export const HEADER_OCTETS_MAX = 1_048_576;
/** Where most headers end; read first, so that a large body is not made a string. */
const HEADER_OCTETS_USUAL = 4096;

export type ContentFault =
  | 'bare-cr'
  | 'bare-lf'
  | 'nul'
  | 'line-length'
  | 'size'
  | 'header'
  | 'header-size'
  | 'loop';

/** Each with what the client should know; the doors put their codes in front. */
export const FAULT_TEXT: Readonly<Record<ContentFault, string>> = {
  'bare-cr': 'bare CR in the message: lines end in CRLF (RFC 5321 section 2.3.8)',
  'bare-lf': 'bare LF in the message: lines end in CRLF (RFC 5321 section 2.3.8)',
  nul: 'NUL octet in the message',
  'line-length': `line longer than ${LINE_OCTETS_MAX} octets in the message (RFC 5321 section 4.5.3.1.6)`,
  size: 'message exceeds the size limit',
  header: 'a line of the header is neither a field nor a continuation (RFC 5322 section 2.2)',
  'header-size': `header larger than ${HEADER_OCTETS_MAX} octets`,
  loop: `more than ${RECEIVED_MAX} Received fields: mail loop`,
};

export interface Inspection {
  readonly fault: null;
  /** What the content is, whatever the client declared: the next hop must be told the truth. */
  readonly body: Body;
  /** The header holds octets above 127. */
  readonly headerAscii: boolean;
  /** false: the content starts with its body, and needs an empty line in front. */
  readonly hasHeader: boolean;
  readonly hasDate: boolean;
  readonly hasMessageId: boolean;
}

/**
 * Checks the lines of a whole message, for doors without dot-stuffing.
 * @returns the first fault, or null
 */
export function checkLines(content: Buffer): 'bare-cr' | 'bare-lf' | 'line-length' | null {
  const text = content.toString('latin1');
  let start = 0;
  while (start < text.length) {
    const lf = text.indexOf('\n', start);
    const cr = text.indexOf('\r', start);
    if (lf === -1) {
      if (cr !== -1) return 'bare-cr';
      return text.length - start > LINE_OCTETS_MAX ? 'line-length' : null;
    }
    if (cr === -1 || cr > lf) return 'bare-lf';
    if (cr !== lf - 1) return 'bare-cr';
    if (cr - start > LINE_OCTETS_MAX) return 'line-length';
    start = lf + 1;
  }
  return null;
}

const TAB = 0x09;
const SPACE = 0x20;
const COLON = 0x3a;
const DEL = 0x7f;

/**
 * Looks at a whole message whose lines have passed.
 * @param content ends with CRLF; borrowed
 */
export function inspect(
  content: Buffer,
): Inspection | { readonly fault: 'nul' | 'header' | 'header-size' | 'loop' } {
  if (content.includes(0)) return { fault: 'nul' };
  const header = headerOf(content);
  if (header === null) return { fault: 'header-size' };
  let received = 0;
  let hasDate = false;
  let hasMessageId = false;
  let at = 0;
  while (at < header.length) {
    const nameEnd = endOfName(header, at);
    // A message may be all body; but a header that breaks off has no telling end.
    if (nameEnd === at && at > 0) return { fault: 'header' };
    if (nameEnd === at) break;
    const isNamed = (name: string): boolean =>
      nameEnd - at === name.length && header.slice(at, nameEnd).toLowerCase() === name;
    if (isNamed('received')) {
      received += 1;
      if (received > RECEIVED_MAX) return { fault: 'loop' };
    } else if (isNamed('date')) hasDate = true;
    else if (isNamed('message-id')) hasMessageId = true;
    at = endOfField(header, nameEnd);
  }
  const ascii = isAscii(content);
  return {
    fault: null,
    body: ascii ? '7bit' : '8bitmime',
    headerAscii: ascii || isAscii(content.subarray(0, header.length)),
    hasHeader: at > 0 || header.length === 0,
    hasDate,
    hasMessageId,
  };
}

/** @returns index past the name of the field at `at` (RFC 5322 §2.2), or `at` where there is no field */
function endOfName(header: string, at: number): number {
  let end = at;
  for (;;) {
    const code = header.charCodeAt(end);
    if (code <= SPACE || code >= DEL || code === COLON) break;
    end += 1;
  }
  // White space before the colon is obsolete (§4.5), and still written.
  let colon = end;
  while (isBlank(header.charCodeAt(colon))) colon += 1;
  return header.charCodeAt(colon) === COLON ? end : at;
}

/** @returns index past the field that goes on at `at`, its continuations included */
function endOfField(header: string, at: number): number {
  let end = at;
  do {
    const lineEnd = header.indexOf('\r\n', end);
    if (lineEnd === -1) return header.length;
    end = lineEnd + 2;
  } while (end < header.length && isBlank(header.charCodeAt(end)));
  return end;
}

const isBlank = (code: number): boolean => code === SPACE || code === TAB;

/** @returns the header without the empty line after it, as latin1, or null when it is too large */
function headerOf(content: Buffer): string | null {
  if (content[0] === 0x0d) return '';
  const usual = content.toString('latin1', 0, Math.min(content.length, HEADER_OCTETS_USUAL));
  let end = usual.indexOf('\r\n\r\n');
  if (end !== -1) return usual.slice(0, end + 2);
  const all = content.toString('latin1', 0, Math.min(content.length, HEADER_OCTETS_MAX));
  end = all.indexOf('\r\n\r\n');
  if (end !== -1) return all.slice(0, end + 2);
  return content.length > HEADER_OCTETS_MAX ? null : all;
}
