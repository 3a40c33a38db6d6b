/**
 * A walk through the rows of one lane of a domain that are not leased, in the order they fall due:
 * (due_ms, message, n), which is the order of the index `recipients_due`.
 */
import type Database from 'better-sqlite3';
import { type DueRow, FIRST_PLACE, type Place, type Queue } from './due-order.ts';
import type { Lane } from './lanes.ts';
import type { Leases } from './leases.ts';

/** Rows that a walker reads ahead at a time, at most. */
export const READ_AHEAD_MAX = 64;

/** Domain, lane, place (due, message, n), limit. */
export type DueStatement = Database.Statement<
  [string, Lane, number, number, number, number],
  DueRow
>;

export const prepareDue = (db: Database.Database): DueStatement =>
  db.prepare(
    `SELECT due_ms, message, n FROM recipients
     WHERE domain = ? AND lane = ? AND (due_ms, message, n) >= (?, ?, ?)
     ORDER BY due_ms, message, n LIMIT ?`,
  );

export class Walker {
  readonly domain: string;
  readonly lane: Lane;
  readonly #leases: Leases;
  readonly #due: DueStatement;
  /** Rows to read at a time: more with every walk that finds some of what the one before it has read. */
  #size: number;
  #place: Place;
  #rows: readonly DueRow[];
  #at: number;
  #ended: boolean;

  /** @param readAhead rows to begin with */
  constructor({ domain, lane }: Queue, leases: Leases, due: DueStatement, readAhead: number) {
    this.domain = domain;
    this.lane = lane;
    this.#leases = leases;
    this.#due = due;
    const ahead = leases.ahead.take(this);
    this.#rows = ahead?.rows ?? [];
    this.#at = ahead?.at ?? 0;
    this.#ended = ahead?.ended ?? false;
    this.#place = ahead?.place ?? leases.frontOf(this) ?? FIRST_PLACE;
    this.#size = Math.min(Math.max(readAhead, 2 * (ahead?.size ?? 0)), READ_AHEAD_MAX);
  }

  /** @returns the first row that is not leased, or null when there is none */
  peek(): DueRow | null {
    for (;;) {
      if (this.#at === this.#rows.length) {
        if (this.#ended) return null;
        this.#refill();
        continue;
      }
      const row = this.#rows[this.#at]!;
      if (!this.#leases.holds(row.message, row.n)) return row;
      this.#at += 1;
      this.#place = { dueMs: row.due_ms, message: row.message, index: row.n + 1 };
    }
  }

  /** Leaves the front where the walk ended. @returns when the next row is due, null when none is left */
  finish(): number | null {
    const row = this.peek();
    const [place, rows, at, ended, size] = [
      this.#place,
      this.#rows,
      this.#at,
      this.#ended,
      this.#size,
    ];
    this.#leases.advance(this, place);
    if (row === null) return null;
    this.#leases.ahead.keep(this, { place, rows, at, ended, size });
    return row.due_ms;
  }

  /** Having finished with null: the lane has no row at all. */
  get empty(): boolean {
    return this.#leases.frontOf(this) === null;
  }

  /** Forgets what was read ahead, because rows have been deleted. */
  reread(): void {
    this.#rows = [];
    this.#at = 0;
    this.#ended = false;
  }

  #refill(): void {
    const { dueMs, message, index } = this.#place;
    this.#rows = this.#due.all(this.domain, this.lane, dueMs, message, index, this.#size);
    this.#at = 0;
    this.#ended = this.#rows.length < this.#size;
  }
}
