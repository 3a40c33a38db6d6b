/**
 * Rows that a walk has read of what is due, and has not handed out: kept for the next walk through the same
 * lane, which so asks the index only for what nobody has seen.
 *
 * Invariants
 * - Before `place` no row of the lane is unleased. The rows from `at` on are those of the lane from there to
 *   the last of them; where they `ended` there are no others.
 * - What comes or goes among them, or comes before them, ends that: they are forgotten.
 * - Never more than ROWS_MAX.
 */
import { type DueRow, isBefore, type Place, placeOf, type Queue } from './due-order.ts';
import type { Lane } from './lanes.ts';

/** Of all lanes together, some 10 MiB. Forgetting them costs a query for each lane. */
const ROWS_MAX = 65_536;

export interface Ahead {
  readonly place: Place;
  /** Not empty. */
  readonly rows: readonly DueRow[];
  readonly at: number;
  ended: boolean;
  /** Rows that were asked for at a time. */
  readonly size: number;
}

export class ReadAhead {
  readonly #lanes = new Map<Lane, Map<string, Ahead>>();
  #rows = 0;

  /** They are the caller's from here on. */
  take(queue: Queue): Ahead | null {
    const ahead = this.#find(queue);
    if (ahead === undefined) return null;
    this.#forget(queue, ahead);
    return ahead;
  }

  keep({ domain, lane }: Queue, ahead: Ahead): void {
    if (this.#rows + ahead.rows.length > ROWS_MAX) this.clear();
    this.#rows += ahead.rows.length;
    const ofLane = this.#lanes.get(lane);
    if (ofLane === undefined) this.#lanes.set(lane, new Map([[domain, ahead]]));
    else ofLane.set(domain, ahead);
  }

  /** A row stands there, unleased. */
  appeared(queue: Queue, place: Place): void {
    const ahead = this.#find(queue);
    if (ahead === undefined) return;
    if (isBefore(lastOf(ahead), place)) ahead.ended = false;
    else this.#forget(queue, ahead);
  }

  /** A row that was leased is not, or stands there no longer. */
  went(queue: Queue, place: Place): void {
    const ahead = this.#find(queue);
    if (ahead === undefined || isBefore(place, ahead.place)) return;
    if (!isBefore(lastOf(ahead), place)) this.#forget(queue, ahead);
  }

  /** Rows have gone that nobody had leased, or the index is another one. */
  clear(): void {
    this.#lanes.clear();
    this.#rows = 0;
  }

  #find({ domain, lane }: Queue): Ahead | undefined {
    return this.#lanes.get(lane)?.get(domain);
  }

  #forget({ domain, lane }: Queue, { rows }: Ahead): void {
    const ofLane = this.#lanes.get(lane)!;
    if (ofLane.size === 1) this.#lanes.delete(lane);
    else ofLane.delete(domain);
    this.#rows -= rows.length;
  }
}

const lastOf = ({ rows }: Ahead): Place => placeOf(rows.at(-1)!);
