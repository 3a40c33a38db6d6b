/** Message content as octets on the wire: dot-stuffing for DATA (RFC 5321 §4.5.2), slices for both. */

/**
 * Octets handed to the socket at once: large enough that a usual message is one piece, small enough
 * that a slow peer shows progress and that a copy for dot-stuffing stays bounded.
 */
export const SLICE_OCTETS_MAX = 65_536;

const DOT = 0x2e;
const CR = 0x0d;
const LF = 0x0a;
/** Searched natively: no loop in JavaScript looks at single octets. */
const LINE_WITH_DOT = Buffer.from('\r\n.');

/** What follows stuffed content; the CRLF that ends content is part of the terminator. */
export const TERMINATOR = '.\r\n';
export const TERMINATOR_AFTER_TORN_LINE = '\r\n.\r\n';

/** Content is promised to end with CRLF; where it does not, the dot must not join the last line. */
export const terminatorFor = (content: Uint8Array): string =>
  content.length === 0 || (content.at(-1) === LF && content.at(-2) === CR)
    ? TERMINATOR
    : TERMINATOR_AFTER_TORN_LINE;

/**
 * One slice as DATA wants it: a dot that begins a line is doubled. Nothing is copied when there is
 * nothing to double.
 *
 * @param start octet index, 0 or the end of the slice before
 * @returns a view of `content`, or a new buffer
 */
export function stuffedSlice(content: Buffer, start: number): Buffer {
  const end = Math.min(start + SLICE_OCTETS_MAX, content.length);
  const dots = dotsWithin(content, start, end);
  if (dots === null) return content.subarray(start, end);
  const stuffed = Buffer.allocUnsafe(end - start + dots.length);
  let from = start;
  let to = 0;
  for (const dot of dots) {
    to += content.copy(stuffed, to, from, dot);
    stuffed[to] = DOT;
    to += 1;
    from = dot;
  }
  content.copy(stuffed, to, from, end);
  return stuffed;
}

/** @returns indices of dots that begin a line, start <= index < end; null when there is none */
function dotsWithin(content: Buffer, start: number, end: number): number[] | null {
  // The CRLF before the first dot may belong to the slice before.
  const origin = Math.max(start - 2, 0);
  const window = content.subarray(origin, end);
  let found = window.indexOf(LINE_WITH_DOT);
  const leading = start === 0 && content[0] === DOT;
  if (found === -1 && !leading) return null;
  const dots = leading ? [0] : [];
  for (; found !== -1; found = window.indexOf(LINE_WITH_DOT, found + 3)) {
    dots.push(origin + found + 2);
  }
  return dots;
}
