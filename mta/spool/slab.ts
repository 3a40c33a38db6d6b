/**
 * Memory for contents that are handed out together: a few pieces for all of them, since each that moves to
 * another thread costs 2 µs.
 *
 * Invariants
 * - A piece is for SHARERS_MAX contents at most, and for SLAB_OCTETS unless it is for one alone: so little is
 *   kept by one that is still wanted when the others are not.
 * - They double, so that a few contents do not get much more memory than they need.
 * - After begin() nothing is put into memory that may have moved.
 */

const SLAB_OCTETS = 65_536;
const SHARERS_MAX = 8;

export class Slab {
  #memory = Buffer.alloc(0);
  #at = 0;
  #sharers = 1;

  /** What was handed out before goes its way. */
  begin(): void {
    this.#memory = Buffer.alloc(0);
    this.#at = 0;
    this.#sharers = 1;
  }

  readonly roomFor = (octets: number): Buffer => {
    if (octets > this.#memory.length - this.#at) this.#renew(octets);
    const from = this.#at;
    this.#at += octets;
    return this.#memory.subarray(from, this.#at);
  };

  #renew(octets: number): void {
    this.#memory = Buffer.allocUnsafeSlow(
      Math.max(octets, Math.min(octets * this.#sharers, SLAB_OCTETS)),
    );
    this.#at = 0;
    this.#sharers = Math.min(2 * this.#sharers, SHARERS_MAX);
  }
}
