/**
 * "0x20": the letters of every question over UDP are sent in random case, which the answer must
 * repeat; a forger has to guess that too, a bit a letter.
 *
 * Some servers answer in a case of their own. Such an answer is a near miss, so it is asked for again
 * over TCP. When the case is wrong there too it was no forgery: the server is remembered, for a time,
 * as one that mangles. Where there is no TCP, a few doubts in succession do.
 */
import type { Random } from '../../runtime/random.ts';
import { HEADER_OCTETS, QUESTION_FIXED_OCTETS } from '../wire/constants.ts';

/** How long a mangler is asked in the client's case; then it may have been repaired. */
const MANGLES_MS = 60 * 60_000;
/** Answers in the wrong case, in succession, that TCP could not decide about. */
const DOUBTS_MAX = 3;
const CASE_BIT = 0x20;

export class CaseMemory {
  #manglesUntilMs = 0;
  #doubts = 0;

  mangles(nowMs: number): boolean {
    return nowMs < this.#manglesUntilMs;
  }

  /** Its answer over TCP had the wrong case too. */
  noteMangled(nowMs: number): void {
    this.#manglesUntilMs = nowMs + MANGLES_MS;
    this.#doubts = 0;
  }

  /** An answer came in the wrong case, and TCP cannot tell whether it was the server's. */
  noteDoubt(nowMs: number): void {
    this.#doubts += 1;
    if (this.#doubts >= DOUBTS_MAX) this.noteMangled(nowMs);
  }

  /** An answer repeated the case. */
  noteKept(): void {
    this.#doubts = 0;
  }
}

/**
 * Draws the case of each letter of the QNAME anew, in place.
 * @param query its question starts behind the header and ends at `questionEnd`, uncompressed
 */
export function mixCase(query: Uint8Array, questionEnd: number, random: Random): void {
  let bits = 0;
  let bitsLeft = 0;
  // Length octets are below 64, so letters are all that is looked at.
  for (let at = HEADER_OCTETS; at < questionEnd - QUESTION_FIXED_OCTETS; at += 1) {
    const folded = query[at]! | CASE_BIT;
    if (query[at]! < 0x41 || folded < 0x61 || folded > 0x7a) continue;
    if (bitsLeft === 0) {
      bits = random.integer(0x1_0000_0000);
      bitsLeft = 32;
    }
    query[at] = (bits & 1) === 1 ? folded : folded & ~CASE_BIT;
    bits >>>= 1;
    bitsLeft -= 1;
  }
}
