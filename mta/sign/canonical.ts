/**
 * The canonical forms that DKIM signs (RFC 6376 §3.4), made by scanning octets: no line becomes a string.
 *
 * Invariants
 * - What canonicalisation does not change is hashed where it lies.
 * - Line endings are CRLF and there is no bare CR; intake saw to that.
 */
import { createHash, hash } from 'node:crypto';
import type { Field } from './header.ts';

export type Form = 'simple' | 'relaxed';

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;

const CRLF = Buffer.from('\r\n');
const TWO_SPACES = Buffer.from('  ');
const SPACE_CR = Buffer.from(' \r');
/** Rewritten at a time, so that memory does not grow with the body. */
const CHUNK_OCTETS = 65_536;

/**
 * @param body what follows the empty line; borrowed
 * @returns SHA-256 of the canonical body, in base64: the value of bh=
 */
export function bodyHash(body: Buffer, form: Form): string {
  return form === 'simple' ? simpleBodyHash(body) : relaxedBodyHash(body);
}

/** RFC 6376 §3.4.3: exactly one CRLF at the end, also of an empty body. */
function simpleBodyHash(body: Buffer): string {
  let end = body.length;
  while (end >= 2 && body[end - 1] === LF && body[end - 2] === CR) end -= 2;
  return withCrlf(body, end);
}

/** RFC 6376 §3.4.4: runs of white space are one space, none ends a line; an empty body stays empty. */
function relaxedBodyHash(body: Buffer): string {
  let end = body.length;
  while (end > 0 && isWhiteSpaceOrBreak(body[end - 1]!)) end -= 1;
  if (end === 0) return hash('sha256', '', 'base64');
  const text = body.subarray(0, end);
  if (!text.includes(TAB) && !text.includes(TWO_SPACES) && !text.includes(SPACE_CR)) {
    return withCrlf(body, end);
  }
  if (text.length <= CHUNK_OCTETS) {
    const relaxed = Buffer.allocUnsafe(text.length + 2);
    let length = collapse(text, 0, text.length, relaxed, 0);
    relaxed[length++] = CR;
    relaxed[length++] = LF;
    return hash('sha256', relaxed.subarray(0, length), 'base64');
  }
  return relaxedInChunks(text);
}

function relaxedInChunks(text: Buffer): string {
  const digest = createHash('sha256');
  const relaxed = Buffer.allocUnsafe(CHUNK_OCTETS);
  for (let at = 0; at < text.length; ) {
    let end = Math.min(at + CHUNK_OCTETS, text.length);
    // A chunk ends before white space, so that no run of it is seen in two parts; the text ends with none.
    while (end < text.length && end > at && isWhiteSpace(text[end - 1]!)) end -= 1;
    if (end === at) {
      // More white space than a chunk holds: one space, or none at the end of a line.
      end = at + CHUNK_OCTETS;
      while (isWhiteSpace(text[end]!)) end += 1;
      if (text[end] !== CR) digest.update(' ');
    } else {
      digest.update(relaxed.subarray(0, collapse(text, at, end, relaxed, 0)));
    }
    at = end;
  }
  return digest.update(CRLF).digest('base64');
}

/** @returns the hash of what precedes `end`, and CRLF */
function withCrlf(body: Buffer, end: number): string {
  if (body[end] === CR && body[end + 1] === LF) {
    return hash('sha256', body.subarray(0, end + 2), 'base64');
  }
  return createHash('sha256').update(body.subarray(0, end)).update(CRLF).digest('base64');
}

/** Copies, with runs of white space made one space, and none before a CR or at the end. @returns the new length */
function collapse(from: Buffer, start: number, end: number, to: Buffer, length: number): number {
  let at = length;
  let pending = false;
  for (let index = start; index < end; index += 1) {
    const octet = from[index]!;
    if (octet === SPACE || octet === TAB) pending = true;
    else {
      if (pending && octet !== CR) to[at++] = SPACE;
      pending = false;
      to[at++] = octet;
    }
  }
  return at;
}

const isWhiteSpace = (octet: number): boolean => octet === SPACE || octet === TAB;
const isWhiteSpaceOrBreak = (octet: number): boolean =>
  isWhiteSpace(octet) || octet === CR || octet === LF;

/**
 * Writes the canonical form of a field (RFC 6376 §3.4.1, §3.4.2), its CRLF included.
 * @param to has room for the field as it is
 * @returns the index past what was written
 */
export function writeField(
  message: Buffer,
  field: Field,
  form: Form,
  to: Buffer,
  offset: number,
): number {
  if (form === 'simple') return offset + message.copy(to, offset, field.start, field.end);
  let at = offset + to.write(field.name, offset, 'latin1');
  to[at++] = COLON;
  // Unfolded: CRLF goes, and the white space behind it counts as such.
  let pending = false;
  const valueStart = at;
  for (let index = field.colon + 1; index < field.end; index += 1) {
    const octet = message[index]!;
    if (octet === CR || octet === LF) continue;
    if (octet === SPACE || octet === TAB) pending = true;
    else {
      if (pending && at > valueStart) to[at++] = SPACE;
      pending = false;
      to[at++] = octet;
    }
  }
  to[at++] = CR;
  to[at++] = LF;
  return at;
}
