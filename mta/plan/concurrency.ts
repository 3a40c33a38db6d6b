/**
 * How many connections a site deserves.
 *
 * Two pulls and a brake. Reuse pulls down: a connection should carry MESSAGES_AIM messages, since
 * setting one up costs what sending ten messages does. Time pulls up: where a peer takes long over
 * each message, the backlog should still be gone in DRAIN_MS_AIM. The brake is what the peer stands:
 * the allowance grows by 1/N for each message taken (as in Postfix's queue manager, so by one for
 * every N messages), falls below what was refused, and then rests.
 *
 * Invariant: 1 <= allowance <= ceiling.
 */

/** Messages that a connection should carry. */
const MESSAGES_AIM = 100;
/** A backlog should be gone within this at the pace that the peer shows. */
const DRAIN_MS_AIM = 10_000;
/** Connections to a site that we know nothing of; Postfix starts with as many. */
const ALLOWANCE_INITIAL = 5;
/** After a refusal the allowance does not grow for so long. */
const REST_MS = 60_000;
/** Weight of the newest message in the average pace. */
const PACE_WEIGHT = 0.1;

/** What refusals have left of the allowance that a site begins with. */
export interface Restraint {
  /** 1 <= allowance < ALLOWANCE_INITIAL, with fractions. */
  readonly allowance: number;
  /** Monotonic ms. */
  readonly restUntilMs: number;
}

/** @returns the restraint after so long without a refusal, which gives one connection back a minute; null when all are */
export function eased(restraint: Restraint, quietMs: number): Restraint | null {
  const allowance = restraint.allowance + Math.floor(quietMs / REST_MS);
  return allowance < ALLOWANCE_INITIAL ? { ...restraint, allowance } : null;
}

export class SiteConcurrency {
  readonly #ceiling: number;
  #allowance: number;
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** Milliseconds that one connection spends on one message, smoothed; null before the first. */
  #paceMs: number | null = null;

  /**
   * @param ceiling connections at once, from the configuration; 1 or more
   * @param restraint as an earlier one of the same site left it
   */
  constructor(ceiling: number, restraint: Restraint | null = null) {
    this.#ceiling = ceiling;
    this.#allowance = Math.min(restraint?.allowance ?? ALLOWANCE_INITIAL, ceiling);
    if (restraint !== null) this.#restUntilMs = restraint.restUntilMs;
  }

  /** For who serves the site after us; null when refusals have left nothing. */
  get restraint(): Restraint | null {
    const [allowance, restUntilMs] = [this.#allowance, this.#restUntilMs];
    return allowance < Math.min(ALLOWANCE_INITIAL, this.#ceiling)
      ? { allowance, restUntilMs }
      : null;
  }

  /** Connections that the peer is thought to stand, with fractions. */
  get allowance(): number {
    return this.#allowance;
  }

  /**
   * @param backlog messages due at this site, those in hand included
   * @returns connections that should be open; 0 when there is nothing to do
   */
  desired(backlog: number): number {
    if (backlog <= 0) return 0;
    const forReuse = backlog / MESSAGES_AIM;
    const forTime = this.#paceMs === null ? 0 : (backlog * this.#paceMs) / DRAIN_MS_AIM;
    const wanted = Math.ceil(Math.max(forReuse, forTime));
    return Math.max(1, Math.min(wanted, Math.floor(this.#allowance), backlog));
  }

  /**
   * A transaction ended with a reply from the peer, whatever it was.
   *
   * @param tookMs time that it had the connection to itself
   */
  served(nowMs: number, tookMs: number): void {
    this.#paceMs =
      this.#paceMs === null ? tookMs : this.#paceMs + PACE_WEIGHT * (tookMs - this.#paceMs);
    if (nowMs < this.#restUntilMs) return;
    this.#allowance = Math.min(this.#ceiling, this.#allowance + 1 / this.#allowance);
  }

  /**
   * The peer would not have one more connection, or dropped one (421, refused, timed out).
   *
   * @param others connections to the site that are open all the same
   */
  refused(nowMs: number, others: number): void {
    this.#allowance = Math.max(1, Math.min(this.#allowance - 1 / this.#allowance, others));
    this.#restUntilMs = nowMs + REST_MS;
  }
}
