/**
 * Owns how hard intake leans on its bounds: it slows clients down from four fifths on, and turns them
 * away before the bound itself, naming it.
 *
 * Invariants
 * - pauseMs() is 0 below SLOW_SHARE, rises to PAUSE_MS_MAX, and comes once for each message.
 * - A bound counts as reached a little early, so that what is under way still fits.
 */
import type { ByteBound } from './collector.ts';

/** Of a bound; from here on each message waits. */
const SLOW_SHARE = 0.8;
/** At the bound. A client with one connection then sends two messages a second. */
const PAUSE_MS_MAX = 500;

export class Pressure {
  readonly #held: ByteBound;
  /** Recipients that may wait in the spool. */
  queueMax: number;
  #queued = 0;
  /** Of other bounds, by name: how much of each is taken, 0 to 1 and beyond. */
  readonly #others = new Map<string, number>();

  constructor(held: ByteBound, queueMax: number) {
    this.#held = held;
    this.queueMax = queueMax;
  }

  /** Recipients in the spool, as counted a moment ago. */
  noteQueued(recipients: number): void {
    this.#queued = recipients;
  }

  /** So many have just joined them. */
  joined(recipients: number): void {
    this.#queued += recipients;
  }

  /** How much of some other bound is taken, as seen a moment ago. */
  note(bound: string, share: number): void {
    this.#others.set(bound, share);
  }

  /** @returns the name of a bound that is reached, or null */
  reached(): string | null {
    if (this.#queued >= this.queueMax) return 'queue_recipients';
    for (const [bound, share] of this.#others) if (share >= 1) return bound;
    return null;
  }

  /** How long to let a client wait before its message is taken. */
  pauseMs(): number {
    let share = Math.max(this.#queued / this.queueMax, this.#held.held / this.#held.max);
    for (const other of this.#others.values()) share = Math.max(share, other);
    if (share <= SLOW_SHARE) return 0;
    return Math.min(1, (share - SLOW_SHARE) / (1 - SLOW_SHARE)) * PAUSE_MS_MAX;
  }
}
