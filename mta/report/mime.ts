/**
 * The little MIME that our own notices need: dates, folded fields, parts in the plainest encoding that
 * carries them.
 *
 * Invariants
 * - fieldText() returns no control character, so that nothing it yields can start a field of its own.
 * - Every line made here has at most LINE_OCTETS_MAX octets, and ends with CRLF.
 */
import { isUtf8 } from 'node:buffer';

/** RFC 5322 §2.1.1: what a line should keep to, and what it must; without CRLF. */
const LINE_OCTETS_PREFERRED = 76;
const LINE_OCTETS_MAX = 998;
/** Characters of a word that are left in one piece; at three octets each they fit a line. */
const WORD_MAX = 300;

const CRLF = Buffer.from('\r\n');
const ASCII = /^[\x20-\x7e\r\n\t]*$/;

export const isAscii = (text: string): boolean => ASCII.test(text);

/** RFC 5322 §3.3, in UTC: "Tue, 24 Nov 2026 07:40:00 +0000". */
export const mailDate = (wallMs: number): string =>
  new Date(wallMs).toUTCString().replace('GMT', '+0000');

/** One line of printable text, whatever went in; at most `charactersMax` of it. */
export const fieldText = (text: string, charactersMax: number): string =>
  text
    .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, ' ')
    .trim()
    .slice(0, charactersMax)
    .toWellFormed();

/** As {@link fieldText}, with "?" for what is not ASCII. */
export const asciiText = (text: string, charactersMax: number): string =>
  fieldText(text, charactersMax).replaceAll(/[^\x20-\x7e]+/g, '?');

/**
 * Lines of about LINE_OCTETS_PREFERRED octets, broken at spaces. A longer word stands alone, and is cut
 * only when no line could hold it.
 *
 * @param text one line
 * @param indent begins every line but the first
 */
export function wrap(text: string, indent: string): string {
  let lines = '';
  let line = '';
  let lineOctets = 0;
  for (const word of text.split(' ').flatMap(pieces)) {
    const wordOctets = Buffer.byteLength(word);
    if (lineOctets > 0 && lineOctets + 1 + wordOctets > LINE_OCTETS_PREFERRED) {
      lines += `${line}\r\n`;
      line = indent + word;
      lineOctets = indent.length + wordOctets;
    } else {
      line = lineOctets === 0 ? word : `${line} ${word}`;
      lineOctets += wordOctets + 1;
    }
  }
  return `${lines}${line}\r\n`;
}

function pieces(word: string): string[] {
  if (word.length <= WORD_MAX) return [word];
  const cut: string[] = [];
  for (let at = 0; at < word.length; at += WORD_MAX) cut.push(word.slice(at, at + WORD_MAX));
  return cut;
}

/** A folded header field with its CRLF (RFC 5322 §2.2.3). Name and text are already safe. */
export const field = (name: string, text: string): string => wrap(`${name}: ${text}`, ' ');

export interface Part {
  readonly type: string;
  readonly description: string;
  readonly content: Uint8Array;
  /** Whether octets above 127 may go as they are. */
  readonly eightBit: boolean;
  /** Not text: base64 whatever it holds. */
  readonly binary?: boolean;
  /** Content-Disposition; default none. */
  readonly disposition?: string;
}

/** One body part: its header, and its content in the plainest encoding that is allowed. */
export function part({ type, description, content, ...how }: Part): Buffer[] {
  const text = Buffer.from(content.buffer, content.byteOffset, content.length);
  const encoding = how.binary === true ? 'base64' : encodingOf(text, how.eightBit);
  const header = [
    field('Content-Description', description),
    field('Content-Type', type),
    ...(how.disposition === undefined ? [] : [field('Content-Disposition', how.disposition)]),
    field('Content-Transfer-Encoding', encoding),
    '\r\n',
  ].join('');
  return [Buffer.from(header), encoding === 'base64' ? base64Lines(text) : text];
}

function encodingOf(text: Buffer, eightBit: boolean): '7bit' | '8bit' | 'base64' {
  if (!hasShortLines(text)) return 'base64';
  if (isAscii(text.toString('latin1'))) return '7bit';
  return eightBit ? '8bit' : 'base64';
}

function hasShortLines(text: Buffer): boolean {
  for (let at = 0; at < text.length; ) {
    const end = text.indexOf(CRLF, at);
    const lineEnd = end === -1 ? text.length : end;
    if (lineEnd - at > LINE_OCTETS_MAX) return false;
    at = lineEnd + CRLF.length;
  }
  return true;
}

function base64Lines(content: Buffer): Buffer {
  const text = content.toString('base64');
  let lines = '';
  for (let at = 0; at < text.length; at += LINE_OCTETS_PREFERRED) {
    lines += `${text.slice(at, at + LINE_OCTETS_PREFERRED)}\r\n`;
  }
  return Buffer.from(lines);
}

/**
 * The header of a message without the empty line behind it: whole lines, at most `octetsMax`.
 *
 * @returns a view of `content`, and whether it needs message/global-headers (RFC 6532)
 */
export function headerOf(
  content: Uint8Array,
  octetsMax: number,
): { readonly header: Buffer; readonly international: boolean } {
  const octets = Math.min(content.length, octetsMax + 2);
  const start = Buffer.from(content.buffer, content.byteOffset, octets);
  const header = start.subarray(0, headerEnd(start, octetsMax));
  return { header, international: !isAscii(header.toString('latin1')) && isUtf8(header) };
}

function headerEnd(start: Buffer, octetsMax: number): number {
  if (start.subarray(0, CRLF.length).equals(CRLF)) return 0;
  const emptyLine = start.indexOf('\r\n\r\n');
  const lastEnd = emptyLine === -1 ? start.lastIndexOf(CRLF, octetsMax - CRLF.length) : emptyLine;
  return lastEnd === -1 ? 0 : lastEnd + CRLF.length;
}
