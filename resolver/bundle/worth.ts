/**
 * Whether fetching one kind of record ahead pays: the share of what was fetched that a client then
 * asked for. A kind that does not pay is fetched only now and then, to see whether that has changed.
 *
 * Invariants, each kind: 0 <= used <= settled <= SETTLED_MAX; fetched without outcome <= TRIALS_MAX
 * while nothing is known.
 */

/** Fetched on trust before the share counts. */
const TRIALS_MAX = 32;
/** Older outcomes fade: beyond this, both counts are halved. */
const SETTLED_MAX = 512;
/** A packet that saves a wait of somebody is worth one that does not. */
const SHARE_MIN = 0.5;
/** One in so many is fetched although it does not pay. */
const EXPLORE_ONE_IN = 32;

export class Worth {
  /** Counters since the start. */
  fetchedTotal = 0;
  hitsTotal = 0;
  /** Not fetched, because it would not pay. */
  sparedTotal = 0;
  #used = 0;
  #settled = 0;
  #outstanding = 0;
  #passedOver = 0;

  /** @returns whether to fetch one now; a no counts */
  pays(): boolean {
    const known = this.#settled >= TRIALS_MAX;
    const pays = known
      ? this.#used >= SHARE_MIN * this.#settled
      : this.#settled + this.#outstanding < TRIALS_MAX;
    if (pays) return true;
    this.#passedOver += 1;
    if (this.#passedOver % EXPLORE_ONE_IN === 0) return true;
    this.sparedTotal += 1;
    return false;
  }

  noteFetched(): void {
    this.fetchedTotal += 1;
    this.#outstanding += 1;
  }

  noteOutcome(used: boolean): void {
    this.#outstanding -= 1;
    this.#settled += 1;
    if (used) {
      this.#used += 1;
      this.hitsTotal += 1;
    }
    if (this.#settled <= SETTLED_MAX) return;
    this.#settled /= 2;
    this.#used /= 2;
  }
}
