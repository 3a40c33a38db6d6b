/**
 * Netstrings (D. J. Bernstein, 1997): "5:hello,". One parser per connection, fed as octets arrive.
 *
 * Invariants
 * - Nothing longer than `octetsMax` is kept; its length is refused before its octets come.
 * - After a fault the stream has no meaning any more: every later push() is a fault too.
 */

/** ASCII. */
const ZERO = 0x30;
const NINE = 0x39;
const COLON = 0x3a;
const COMMA = 0x2c;
/** Of the length: 9 digits are more than any bound of ours. */
const DIGITS_MAX = 9;

export class NetstringReader {
  readonly #octetsMax: number;
  /** Octets that belong to a netstring not yet complete; owned here. */
  #kept: Buffer = Buffer.alloc(0);
  #broken = false;

  /** @param octetsMax of one string, without its length and comma */
  constructor(octetsMax: number) {
    this.#octetsMax = octetsMax;
  }

  /**
   * @param chunk borrowed
   * @returns the strings that are complete with it, copied, in order; null when this is no netstring
   */
  push(chunk: Buffer): readonly Buffer[] | null {
    if (this.#broken) return null;
    const octets = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    const strings: Buffer[] = [];
    let at = 0;
    while (at < octets.length) {
      const end = this.#endOf(octets, at);
      if (end === 'fault') return this.#break();
      if (end === 'more') break;
      strings.push(Buffer.from(octets.subarray(end.from, end.to)));
      at = end.to + 1;
    }
    this.#kept = Buffer.from(octets.subarray(at));
    return strings;
  }

  #break(): null {
    this.#broken = true;
    this.#kept = Buffer.alloc(0);
    return null;
  }

  #endOf(
    octets: Buffer,
    start: number,
  ): { readonly from: number; readonly to: number } | 'more' | 'fault' {
    let at = start;
    let length = 0;
    while (at < octets.length && octets[at]! !== COLON) {
      const digit = octets[at]!;
      const isLeadingZero = at > start && length === 0;
      if (digit < ZERO || digit > NINE || at - start >= DIGITS_MAX || isLeadingZero) return 'fault';
      length = length * 10 + (digit - ZERO);
      at += 1;
    }
    if (length > this.#octetsMax) return 'fault';
    if (at === octets.length) return 'more';
    if (at === start) return 'fault';
    const from = at + 1;
    const to = from + length;
    if (to >= octets.length) return 'more';
    return octets[to] === COMMA ? { from, to } : 'fault';
  }
}

export const netstring = (text: string): string => `${Buffer.byteLength(text)}:${text},`;
