/**
 * What became of every recipient while the mta was killed again and again: who was acknowledged, how often
 * each one's mail arrived, and whether each arrival but the first is excused.
 *
 * Invariants
 * - The mta's lives are numbered; every arrival belongs to one.
 * - A second arrival is excused only when the life of the one before had ended with the recipient still in
 *   the spool: its transaction was under way then, or its outcome not yet committed. Whatever else arrives
 *   again is unexplained.
 */

export interface CrashVerdict {
  /** Recipients that were acknowledged to the client. */
  readonly acknowledged: number;
  /** Of whatever arrived, acknowledged or not. */
  readonly deliveredOnce: number;
  readonly deliveredTwice: number;
  readonly deliveredMoreOften: number;
  /** Cut off before they were acknowledged, and taken all the same. */
  readonly deliveredUnacknowledged: number;
  /** Acknowledged, and never arrived: must be empty. */
  readonly lost: readonly string[];
  /** Arrived again without excuse: must be empty. */
  readonly unexplained: readonly string[];
  /** Arrivals but the first that were excused. */
  readonly excused: number;
  /** In hand at kills: arrived, and not yet settled. The most that may arrive again. */
  readonly unsettledAtKills: number;
}

export class CrashLedger {
  readonly #acknowledged = new Set<string>();
  readonly #arrivals = new Map<string, number>();
  #arrivedInThisLife: string[] = [];
  readonly #excusable = new Set<string>();
  readonly #unexplained: string[] = [];
  #excused = 0;
  #unsettled = 0;

  get acknowledgedCount(): number {
    return this.#acknowledged.size;
  }

  get arrivedCount(): number {
    return this.#arrivals.size;
  }

  acknowledged(recipient: string): void {
    this.#acknowledged.add(recipient);
  }

  arrived(recipient: string): void {
    const before = this.#arrivals.get(recipient) ?? 0;
    this.#arrivals.set(recipient, before + 1);
    this.#arrivedInThisLife.push(recipient);
    if (before === 0) return;
    if (this.#excusable.delete(recipient)) this.#excused += 1;
    else this.#unexplained.push(recipient);
  }

  /** A life is over, and all that it sent has been taken in. @param kept recipients that the spool still has */
  ended(kept: ReadonlySet<string>): void {
    for (const recipient of this.#arrivedInThisLife) {
      if (!kept.has(recipient)) continue;
      this.#excusable.add(recipient);
      this.#unsettled += 1;
    }
    this.#arrivedInThisLife = [];
  }

  has(recipient: string): boolean {
    return this.#arrivals.has(recipient);
  }

  /** Acknowledged, and not arrived so far. */
  missing(): string[] {
    return [...this.#acknowledged].filter((recipient) => !this.#arrivals.has(recipient));
  }

  verdict(): CrashVerdict {
    const times = [0, 0, 0];
    let deliveredUnacknowledged = 0;
    for (const [recipient, count] of this.#arrivals) {
      times[Math.min(count, times.length) - 1]! += 1;
      if (!this.#acknowledged.has(recipient)) deliveredUnacknowledged += 1;
    }
    return {
      acknowledged: this.#acknowledged.size,
      deliveredOnce: times[0]!,
      deliveredTwice: times[1]!,
      deliveredMoreOften: times[2]!,
      deliveredUnacknowledged,
      lost: this.missing(),
      unexplained: this.#unexplained,
      excused: this.#excused,
      unsettledAtKills: this.#unsettled,
    };
  }
}
