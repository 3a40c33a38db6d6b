/**
 * The transactions that a session has under way, in order of MAIL; at most WINDOW_MAX.
 *
 * Invariant: contents leave in that order.
 */
import type { Transaction } from './transaction.ts';
import { NOT_SENT, type Work } from './work.ts';

export class UnderWay<T extends Transaction> {
  readonly #works: Work<T>[] = [];
  #octets = 0;
  #ahead = 0;

  get works(): readonly Work<T>[] {
    return this.#works;
  }

  get count(): number {
    return this.#works.length;
  }

  get last(): Work<T> | undefined {
    return this.#works.at(-1);
  }

  /** Octets of content, of all together. */
  get octets(): number {
    return this.#octets;
  }

  /** The content of one was sent ahead. */
  get someAhead(): boolean {
    return this.#ahead > 0;
  }

  add(work: Work<T>): void {
    this.#works.push(work);
    this.#octets += work.transaction.content.length;
    if (work.ahead) this.#ahead += 1;
  }

  /** Nothing happens where it is not among them. */
  remove(work: Work<T>): void {
    const at = this.#works.indexOf(work);
    if (at === -1) return;
    if (at === 0) this.#works.shift();
    else this.#works.splice(at, 1);
    this.#octets -= work.transaction.content.length;
    if (work.ahead) this.#ahead -= 1;
  }

  /** Of those behind it, so many have had their content handed out. */
  sentBehind(work: Work<T>): number {
    let sent = 0;
    for (let at = this.#works.length - 1; this.#works[at] !== work; at -= 1) {
      if (this.#works[at]!.sentAfter !== NOT_SENT) sent += 1;
    }
    return sent;
  }

  clear(): void {
    this.#works.length = 0;
    this.#octets = 0;
    this.#ahead = 0;
  }
}
