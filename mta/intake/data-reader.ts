/**
 * Owns the end of data: reads what follows DATA, checks lines, undoes dot-stuffing (RFC 5321 §4.5.2).
 *
 * Invariants
 * - Data ends at CRLF.CRLF and at nothing else (a first line of "." counts as preceded by CRLF).
 * - Every line before `#lineStart` ended in CRLF, was short enough, and has lost its extra dot.
 * - After a fault nothing is kept. If the fault is in the line endings, reading also ends at anything
 *   that some server might take for the end of data; then `ambiguous` says that sender and we may
 *   disagree about what is message and what is command, and the connection has to go.
 */
import type { Collector } from './collector.ts';
import { type ContentFault, LINE_OCTETS_MAX } from './content.ts';

const DOT = 0x2e;
const EXACT_END = '\r\n.\r\n';
/** A CR after the dot waits for its successor, so that the verdict does not hang on how octets arrive. */
const ANY_END = /(?:\r\n?|\n)\.(?:\r\n|\n|\r(?=[^\n]))/;
/** A proper beginning of either end. */
const TAIL_OCTETS = EXACT_END.length - 1;

export class DataReader {
  readonly #collector: Collector;
  readonly #octetsMax: number;
  /** Index into the collector's buffer of the first octet of the line that is not complete yet. */
  #lineStart: number;
  #fault: ContentFault | 'busy' | null = null;
  #ambiguous = false;
  /** Once faulty: the last few octets, where an end may have begun. */
  #tail = '';

  /** @param octetsMax largest message taken; the collector holds at most one chunk more */
  constructor(collector: Collector, octetsMax: number) {
    this.#collector = collector;
    this.#octetsMax = octetsMax;
    this.#lineStart = collector.end;
  }

  get fault(): ContentFault | 'busy' | null {
    return this.#fault;
  }

  get ambiguous(): boolean {
    return this.#ambiguous;
  }

  /**
   * Reads `chunk` from `from` on.
   * @returns index past the end of data, or -1 when it has not come yet
   */
  feed(chunk: Buffer, from: number): number {
    if (this.#fault !== null) return this.#seekEnd(chunk.toString('latin1', from), chunk.length);
    const base = this.#lineStart;
    const before = this.#collector.end - base;
    if (!this.#collector.append(chunk, from)) {
      const unread = this.#collector.buffer.toString('latin1', base, this.#collector.end);
      return this.#fail('busy', unread + chunk.toString('latin1', from), chunk.length);
    }
    const text = this.#collector.buffer.toString('latin1', base, this.#collector.end);
    const end = this.#readLines(text, chunk.length);
    if (this.#fault !== null || end === -1) return end;
    return from + end - before;
  }

  /** @returns index in `text` past the end of data, or -1; once faulty, the index in the chunk */
  #readLines(text: string, chunkLength: number): number {
    const { buffer } = this.#collector;
    const base = this.#lineStart;
    // Octets up to `moved` in text are in their final place, which ends at `kept` in the buffer.
    let kept = base;
    let moved = 0;
    let start = 0;
    let past = -1;
    for (;;) {
      const lf = text.indexOf('\n', start);
      const cr = text.indexOf('\r', start);
      if (lf === -1) {
        if (cr !== -1 && cr < text.length - 1)
          return this.#fail('bare-cr', text.slice(start), chunkLength);
        // The dot and the CR may still come off.
        if (text.length - start > LINE_OCTETS_MAX + 2)
          return this.#fail('line-length', text.slice(start), chunkLength);
        break;
      }
      if (cr !== lf - 1 || cr === -1) {
        return this.#fail(
          cr === -1 || cr > lf ? 'bare-lf' : 'bare-cr',
          text.slice(start),
          chunkLength,
        );
      }
      const dotted = text.charCodeAt(start) === DOT;
      if (dotted) {
        if (cr === start + 1) {
          past = lf + 1;
          break;
        }
        if (kept !== base + moved) buffer.copyWithin(kept, base + moved, base + start);
        kept += start - moved;
        moved = start + 1;
      }
      if (cr - start > (dotted ? LINE_OCTETS_MAX + 1 : LINE_OCTETS_MAX)) {
        return this.#fail('line-length', text.slice(start), chunkLength);
      }
      start = lf + 1;
    }
    const limit = past === -1 ? text.length : start;
    if (kept !== base + moved) buffer.copyWithin(kept, base + moved, base + limit);
    kept += limit - moved;
    this.#collector.truncate(kept);
    this.#lineStart = kept - (limit - start);
    if (this.#lineStart - this.#collector.start > this.#octetsMax) {
      return this.#fail('size', text.slice(start), chunkLength);
    }
    return past;
  }

  /** @param unread from the start of a line to the end of the chunk */
  #fail(fault: ContentFault | 'busy', unread: string, chunkLength: number): number {
    this.#fault = fault;
    this.#collector.release();
    // Whatever precedes a line, be it the DATA command, ended in CRLF.
    this.#tail = '\r\n';
    return this.#seekEnd(unread, chunkLength);
  }

  #seekEnd(unread: string, chunkLength: number): number {
    const text = this.#tail + unread;
    const lineEndings = this.#fault === 'bare-cr' || this.#fault === 'bare-lf';
    const match = lineEndings ? ANY_END.exec(text) : null;
    const at = lineEndings ? (match?.index ?? -1) : text.indexOf(EXACT_END);
    if (at === -1) {
      this.#tail = text.slice(-TAIL_OCTETS);
      return -1;
    }
    const end = match?.[0] ?? EXACT_END;
    this.#ambiguous = end !== EXACT_END;
    return chunkLength - (text.length - at - end.length);
  }
}
