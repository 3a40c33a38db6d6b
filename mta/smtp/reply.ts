/**
 * Replies as RFC 5321 §4.2 defines them, with enhanced status codes (RFC 3463), and the parser
 * that turns untrusted octets into them.
 *
 * Invariants of the parser
 * - What it yields does not depend on how the octets were cut into chunks.
 * - It owns at most LINE_OCTETS_MAX octets of an unfinished line and LINES_MAX lines of an
 *   unfinished reply; a chunk is borrowed until next() has returned null.
 * - Once it has thrown it throws again: after a malformed reply nothing can be attributed any more.
 */
import { isUtf8 } from 'node:buffer';

export interface Reply {
  /** 200 to 599. */
  readonly code: number;
  /** "5.1.1", or null when the server sent none. */
  readonly enhanced: string | null;
  /** Text of each line, without code and enhanced code; printable, bounded. */
  readonly lines: readonly string[];
}

export const isPositive = ({ code }: Reply): boolean => code < 300;
export const isNegative = ({ code }: Reply): boolean => code >= 400;
export const isPermanent = ({ code }: Reply): boolean => code >= 500;

/** RFC 5321 §4.5.3.1.5 allows 512 octets a line; real servers exceed it with URLs and long names. */
export const LINE_OCTETS_MAX = 2048;
/** Gmail's longest refusal has 7 lines, a long EHLO reply 25. */
export const LINES_MAX = 128;
/** Characters kept of one line; what is beyond is dropped, not an error. */
export const LINE_TEXT_MAX = 512;
/** Octets of one reply, all its lines with their ends. */
export const REPLY_OCTETS_MAX = 32_768;
/** Replies of one line that a parser knows again: those to RSET, MAIL and RCPT read the same each time. */
const KNOWN_MAX = 16;
const KNOWN_OCTETS_MAX = 80;

/** The octets are not an RFC 5321 §4.2 reply. */
export class MalformedReply extends Error {
  override readonly name = 'MalformedReply';
  readonly code = 'MTA_MALFORMED_REPLY';
  /** The line, or as much of it as was read. Owned here. */
  readonly octets: Uint8Array;
  constructor(complaint: string, octets: Uint8Array) {
    const view = Buffer.from(octets.buffer, octets.byteOffset, octets.length);
    super(`malformed reply, ${complaint}: ${printable(view, 0, view.length).slice(0, 80)}`);
    // A Buffer's own slice would be a view of memory that is not ours.
    this.octets = new Uint8Array(octets.subarray(0, LINE_OCTETS_MAX));
  }
}

const CR = 0x0d;
const LF = 0x0a;
const SPACE = 0x20;
const HYPHEN = 0x2d;
const DIGIT_0 = 0x30;
/** RFC 3463 §2: class, subject, detail. Sticky: its lastIndex says where the code ends. */
const ENHANCED = /[245]\.\d{1,3}\.\d{1,3}(?= |$)/y;

/**
 * Feed a chunk, then call next() until it returns null. A line ends with LF; the CR before it may
 * be missing, as some servers do (RFC 5321 §2.3.8 forbids it, but a reply carries nothing that
 * could be smuggled: an LF can only end what the server itself wrote).
 */
export class ReplyParser {
  #chunk: Buffer = EMPTY;
  #at = 0;
  /** Start of a line whose end is in a later chunk; allocated when first needed. */
  #partial: Buffer | null = null;
  #partialOctets = 0;
  /** Lines of a multi-line reply that has not ended; their code. */
  #lines: string[] = [];
  #code = 0;
  #enhanced: string | null = null;
  #octets = 0;
  #fault: MalformedReply | null = null;
  /** By the whole line, octets as latin1 characters. */
  readonly #known = new Map<string, Reply>();

  /** The last chunk must have been used up. */
  feed(chunk: Buffer): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** Octets fed but not yet part of a yielded reply. */
  get pendingOctets(): number {
    return this.#chunk.length - this.#at + this.#octets + this.#partialOctets;
  }

  /**
   * @returns the next whole reply, or null when more octets are needed
   * @throws MalformedReply
   */
  next(): Reply | null {
    if (this.#fault !== null) throw this.#fault;
    while (this.#at < this.#chunk.length) {
      const lineFeed = this.#chunk.indexOf(LF, this.#at);
      if (lineFeed === -1) {
        this.#keepPartial();
        return null;
      }
      const reply = this.#finishLine(lineFeed);
      if (reply !== null) return reply;
    }
    this.#chunk = EMPTY;
    this.#at = 0;
    return null;
  }

  #finishLine(lineFeed: number): Reply | null {
    const start = this.#at;
    this.#at = lineFeed + 1;
    if (this.#partialOctets === 0) return this.#whole(this.#chunk, start, lineFeed);
    this.#append(start, lineFeed);
    const octets = this.#partialOctets;
    this.#partialOctets = 0;
    return this.#whole(this.#partial!, 0, octets);
  }

  /** @param end index of the line feed */
  #whole(octets: Buffer, start: number, end: number): Reply | null {
    if (this.#lines.length > 0 || end - start > KNOWN_OCTETS_MAX) {
      return this.#line(octets, start, end);
    }
    const line = octets.toString('latin1', start, end);
    const known = this.#known.get(line);
    if (known !== undefined) return known;
    const reply = this.#line(octets, start, end);
    if (reply !== null && this.#known.size < KNOWN_MAX) this.#known.set(line, reply);
    return reply;
  }

  #keepPartial(): void {
    this.#append(this.#at, this.#chunk.length);
    this.#chunk = EMPTY;
    this.#at = 0;
  }

  #append(start: number, end: number): void {
    const octets = this.#partialOctets + end - start;
    if (octets > LINE_OCTETS_MAX) {
      this.#fail('line too long', this.#chunk.subarray(start, end));
    }
    this.#partial ??= Buffer.allocUnsafe(LINE_OCTETS_MAX);
    this.#chunk.copy(this.#partial, this.#partialOctets, start, end);
    this.#partialOctets = octets;
  }

  /** @param end index of the line feed */
  #line(octets: Buffer, start: number, end: number): Reply | null {
    const textEnd = end > start && octets[end - 1] === CR ? end - 1 : end;
    const code = codeAt(octets, start, textEnd);
    const separator = textEnd > start + 3 ? octets[start + 3] : SPACE;
    this.#octets += end - start + 1;
    const complaint = this.#complaintOf(end - start, code, separator);
    if (complaint !== null) this.#fail(complaint, octets.subarray(start, end));
    this.#code = code;
    this.#keepText(printable(octets, Math.min(start + 4, textEnd), textEnd));
    if (separator === HYPHEN) return null;
    const reply: Reply = { code, enhanced: this.#enhanced, lines: this.#lines };
    this.#lines = [];
    this.#enhanced = null;
    this.#octets = 0;
    return reply;
  }

  /** @returns what makes the line no part of a reply, or null */
  #complaintOf(octets: number, code: number, separator: number | undefined): string | null {
    if (octets > LINE_OCTETS_MAX) return 'line too long';
    if (this.#octets > REPLY_OCTETS_MAX) return 'reply too long';
    if (code === -1) return 'no reply code';
    if (separator !== SPACE && separator !== HYPHEN) return 'no space or hyphen after the code';
    if (this.#lines.length === 0) return null;
    if (code !== this.#code) return 'another code in one reply';
    return this.#lines.length === LINES_MAX ? 'too many lines' : null;
  }

  /**
   * The enhanced code of the first line that has one counts. A refusal may contradict itself, 550 4.7.1
   * or 450 5.7.1, and must be seen to: disposition.ts defers it. Beside 2yz and 3yz another class is text.
   */
  #keepText(text: string): void {
    ENHANCED.lastIndex = 0;
    const hasEnhanced = ENHANCED.test(text) && isRefusal(text[0]!) === this.#code >= 400;
    const end = hasEnhanced ? ENHANCED.lastIndex : 0;
    if (hasEnhanced) this.#enhanced ??= text.slice(0, end);
    const from = hasEnhanced ? end + 1 : 0;
    this.#lines.push(text.slice(from, from + LINE_TEXT_MAX));
  }

  #fail(complaint: string, octets: Uint8Array): never {
    this.#fault = new MalformedReply(complaint, octets);
    throw this.#fault;
  }
}

const EMPTY = Buffer.alloc(0);

const isRefusal = (enhancedClass: string): boolean => enhancedClass !== '2';

/** @returns 200 to 599, or -1 when the line does not begin with such a code */
function codeAt(octets: Buffer, start: number, end: number): number {
  if (end - start < 3) return -1;
  const hundreds = octets[start]! - DIGIT_0;
  const tens = octets[start + 1]! - DIGIT_0;
  const ones = octets[start + 2]! - DIGIT_0;
  if (hundreds < 2 || hundreds > 5 || tens < 0 || tens > 9 || ones < 0 || ones > 9) return -1;
  return hundreds * 100 + tens * 10 + ones;
}

/**
 * Text that may go to logs, notices and terminals: controls, also the C1 and bidirectional ones,
 * become "?". Octets above 127 are kept where the whole line is UTF-8.
 */
function printable(octets: Buffer, start: number, end: number): string {
  const latin = octets.toString('latin1', start, end);
  if (PRINTABLE_ASCII.test(latin)) return latin;
  if (!isUtf8(octets.subarray(start, end))) return latin.replaceAll(/[^\x20-\x7e]/g, '?');
  const text = octets.toString('utf8', start, end);
  return text.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}]/gu, '?');
}

const PRINTABLE_ASCII = /^[\x20-\x7e]*$/;

/** One line for logs, notices and `why`: "550 5.1.1 no such user / see https://…". */
export function formatReply(reply: Reply): string {
  const enhanced = reply.enhanced === null ? '' : ` ${reply.enhanced}`;
  const text = reply.lines.filter((line) => line !== '').join(' / ');
  return `${reply.code}${enhanced}${text === '' ? '' : ` ${text}`}`;
}
