/**
 * A bounded good that sites compete for: connections, octets in memory. Whoever finds none left is
 * called back in order of arrival.
 *
 * Invariant: taken <= max, save for one taker at a time that takes more than is left of an unused good.
 */
export class Allotment {
  readonly #max: number;
  #taken = 0;
  /** The line is being called back. */
  #calling = false;
  /** Insertion order is the order of arrival; a waiter stands in it once. */
  readonly #waiters = new Set<() => void>();

  constructor(max: number) {
    this.#max = max;
  }

  get taken(): number {
    return this.#taken;
  }

  get left(): number {
    return Math.max(0, this.#max - this.#taken);
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  /** @returns false when none is left; then `retry` will be called, once, when some is */
  take(amount: number, retry: () => void): boolean {
    if (this.#taken >= this.#max) {
      this.#waiters.add(retry);
      return false;
    }
    this.#taken += amount;
    return true;
  }

  /** Takes what is already in hand, bound or not. */
  claim(amount: number): void {
    this.#taken += amount;
  }

  giveBack(amount: number): void {
    this.#taken -= amount;
    // Who is called back may give back what it cannot use: then the line goes on here, not deeper down.
    if (this.#calling || this.#waiters.size === 0) return;
    this.#calling = true;
    for (const next of this.#waiters) {
      if (this.#taken >= this.#max) break;
      this.#waiters.delete(next);
      next();
    }
    this.#calling = false;
  }

  leave(retry: () => void): void {
    this.#waiters.delete(retry);
  }
}
