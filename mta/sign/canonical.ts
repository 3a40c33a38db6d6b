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
/** Rewritten at a time, so that memory does not grow with the body. */
const CHUNK_OCTETS = 65_536;
/** What is shorter is copied faster octet by octet than by a call. */
const SPAN_OCTETS_MIN = 32;
const chunk = Buffer.allocUnsafeSlow(CHUNK_OCTETS);

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
  const change = nextChange(text, 0, end);
  if (change === end) return withCrlf(body, end);
  const digest = createHash('sha256').update(text.subarray(0, change));
  for (let at = change; at < end; ) {
    const chunkEnd = endOfChunk(text, at);
    digest.update(chunk.subarray(0, collapse(text, at, chunkEnd)));
    at = chunkEnd;
  }
  return digest.update(CRLF).digest('base64');
}

/** Where a run of white space begins that is not one space within a line; `end` when there is none before it. */
function nextChange(text: Buffer, start: number, end: number): number {
  for (let at = start; at < end; at += 1) {
    const octet = text[at]!;
    if (octet > SPACE) continue;
    if (octet === TAB) return at;
    if (octet !== SPACE) continue;
    const next = text[at + 1];
    if (next === SPACE || next === TAB || next === CR) return at;
  }
  return end;
}

/** A chunk ends before white space or with the whole of it, so that no run of it is seen in two parts. */
function endOfChunk(text: Buffer, start: number): number {
  if (text.length - start <= CHUNK_OCTETS) return text.length;
  let end = start + CHUNK_OCTETS;
  while (end > start && isWhiteSpace(text[end - 1]!)) end -= 1;
  // The text ends with none, so this ends too.
  if (end === start) while (isWhiteSpace(text[end]!)) end += 1;
  return end;
}

/** @returns the hash of what precedes `end`, and CRLF */
function withCrlf(body: Buffer, end: number): string {
  if (body[end] === CR && body[end + 1] === LF) {
    return hash('sha256', body.subarray(0, end + 2), 'base64');
  }
  return createHash('sha256').update(body.subarray(0, end)).update(CRLF).digest('base64');
}

/** Copies into the chunk, with runs of white space made one space, and none before a CR. @returns octets written */
function collapse(text: Buffer, start: number, end: number): number {
  let to = 0;
  for (let at = start; at < end; ) {
    const change = nextChange(text, at, end);
    to = copySpan(text, at, change, to);
    at = change;
    while (at < end && isWhiteSpace(text[at]!)) at += 1;
    // The octet behind the run may be that of the next chunk.
    if (at > change && text[at] !== CR) chunk[to++] = SPACE;
  }
  return to;
}

/** @returns where the chunk goes on */
function copySpan(text: Buffer, from: number, end: number, to: number): number {
  if (end - from >= SPAN_OCTETS_MIN) return to + text.copy(chunk, to, from, end);
  let next = to;
  for (let at = from; at < end; at += 1) chunk[next++] = text[at]!;
  return next;
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
