/**
 * A bounded good that sites compete for: connections, octets in memory. Whoever finds none left is
 * called back in order of arrival.
 *
 * Invariant: taken <= max, save for one taker at a time that takes more than is left of an unused good.
 */
export class Allotment {
  readonly #max: number;
  #taken = 0;
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
    if (this.#waiters.size === 0) return;
    while (this.#taken < this.#max) {
      const [next] = this.#waiters;
      if (next === undefined) return;
      this.#waiters.delete(next);
      const before = this.#taken;
      next();
      // A waiter that no longer wants any must not stop the line.
      if (this.#taken > before) return;
    }
  }

  leave(retry: () => void): void {
    this.#waiters.delete(retry);
  }
}
