/**
 * One query in so many, written to the log: enough to see what is asked, little enough to leave on.
 * Who asked is not written.
 *
 * Invariant: at most LINES_PER_SECOND_MAX lines a second.
 */
import type { Log } from '../runtime/log.ts';
import type { Source } from './counters.ts';
import { HEADER_OCTETS, rcodeName, typeName } from './wire/constants.ts';
import { readUint16 } from './wire/message.ts';
import { nameToText, skipName } from './wire/names.ts';

const LINES_PER_SECOND_MAX = 100;
const SECOND_MS = 1_000;

export class QueryLog {
  /** 1 or more; 0 is never. */
  oneIn: number;
  readonly #log: Log;
  #seen = 0;
  #linesLeft = LINES_PER_SECOND_MAX;
  #secondEndsAtMs = 0;

  constructor(oneIn: number, log: Log) {
    this.oneIn = oneIn;
    this.#log = log;
  }

  /** @param answer a response that was just written, its question included */
  note(answer: Uint8Array, source: Source, elapsedMs: number, nowMs: number): void {
    if (this.oneIn === 0) return;
    this.#seen += 1;
    if (this.#seen < this.oneIn) return;
    this.#seen = 0;
    if (nowMs >= this.#secondEndsAtMs) {
      this.#secondEndsAtMs = nowMs + SECOND_MS;
      this.#linesLeft = LINES_PER_SECOND_MAX;
    }
    if (this.#linesLeft === 0) return;
    this.#linesLeft -= 1;
    const nameEnd = skipName(answer, HEADER_OCTETS);
    const name = nameToText(answer, HEADER_OCTETS);
    if (nameEnd < 0 || typeof name === 'number') return;
    const rcode = rcodeName(answer[3]! & 0x0f);
    const type = typeName(readUint16(answer, nameEnd));
    this.#log.info(
      { name: name.toLowerCase(), type, rcode, source, ms: Math.round(elapsedMs * 1000) / 1000 },
      'query',
    );
  }
}
