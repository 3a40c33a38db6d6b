/**
 * When connections run out: who lets go of one, so that no site waits for what another has no use for.
 *
 * Invariants
 * - Nobody lets go of anything while nobody waits.
 * - Idle connections go first, as many at once as are waited for; then calls to hosts that keep silent;
 *   then one busy connection of the site that has most, for a site that has none.
 */
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Allotment } from './allotment.ts';

/** Sites are looked through no more often. */
const LOOK_MS = 100;
/**
 * A call that has not come to mail by now is given up where others wait: hosts that make clients wait on
 * purpose mostly let them in by then, and those that never greet would keep theirs for command_timeout.
 */
const PATIENCE_MS = 30_000;

/** What a site can let go of. */
export interface Holder {
  readonly connections: number;
  /** @returns whether there was one */
  closeIdle(): boolean;
  giveUpCall(patienceMs: number): boolean;
  yieldLink(): boolean;
}

export interface CrowdingParts {
  readonly clock: Clock;
  /** Connections, and of them those to sites on trial. */
  readonly slots: Allotment;
  readonly trials: Allotment;
  sites(): Iterable<Holder>;
}

export class Crowding {
  readonly #parts: CrowdingParts;
  #lookedAtMs = Number.NEGATIVE_INFINITY;
  #timer: Timer | null = null;
  /** A site without a connection asked for one since. */
  #starved = false;

  constructor(parts: CrowdingParts) {
    this.#parts = parts;
  }

  /** A site has no connection, and gets none. */
  starves(): void {
    this.#starved = true;
    this.look();
  }

  /** Somebody may wait. */
  look(): void {
    const { clock, slots, trials } = this.#parts;
    if (this.#timer !== null || (slots.waiting === 0 && trials.waiting === 0)) return;
    const sinceMs = clock.monotonicMs() - this.#lookedAtMs;
    if (sinceMs >= LOOK_MS) this.#relieve();
    else this.#arm(LOOK_MS - sinceMs);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(delayMs: number): void {
    this.#timer = this.#parts.clock.after(delayMs, () => {
      this.#timer = null;
      this.#relieve();
    });
  }

  #relieve(): void {
    const { clock, slots, trials } = this.#parts;
    this.#lookedAtMs = clock.monotonicMs();
    const starved = this.#starved;
    this.#starved = false;
    const freed = this.#letGo(slots.waiting, (site) => site.closeIdle());
    const wanted = slots.waiting + trials.waiting - freed;
    const given = this.#letGo(wanted, (site) => site.giveUpCall(PATIENCE_MS));
    if (starved && freed + given === 0 && slots.waiting > 0) this.#largest()?.yieldLink();
    if (slots.waiting > 0 || trials.waiting > 0) this.#arm(LOOK_MS);
  }

  /** @returns how many did */
  #letGo(wanted: number, one: (site: Holder) => boolean): number {
    let count = 0;
    if (wanted <= 0) return count;
    for (const site of this.#parts.sites()) {
      if (one(site)) count += 1;
      if (count === wanted) break;
    }
    return count;
  }

  #largest(): Holder | null {
    let largest: Holder | null = null;
    for (const site of this.#parts.sites()) {
      if (largest === null || site.connections > largest.connections) largest = site;
    }
    return largest;
  }
}
