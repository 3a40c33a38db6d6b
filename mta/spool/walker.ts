/**
 * A walk through the rows of one lane of a domain that are not leased, in the order they fall due:
 * (due_ms, message, n), which is the order of the index `recipients_due`.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import type { Lane } from './lanes.ts';
import { FIRST_PLACE, type Leases, type Place, type Queue } from './leases.ts';

/** Rows that a walker reads ahead, at most. */
export const READ_AHEAD_MAX = 64;

/** An entry of the index, which alone is read: most of what is read ahead is only looked at. */
export interface DueRow {
  readonly due_ms: number;
  readonly message: MessageId;
  readonly n: number;
}

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
  readonly #readAhead: number;
  #place: Place;
  #rows: DueRow[] = [];
  #at = 0;
  #ended = false;

  constructor({ domain, lane }: Queue, leases: Leases, due: DueStatement, readAhead: number) {
    this.domain = domain;
    this.lane = lane;
    this.#leases = leases;
    this.#due = due;
    this.#readAhead = readAhead;
    this.#place = leases.frontOf(this) ?? FIRST_PLACE;
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
    this.#leases.advance(this, this.#place);
    return row?.due_ms ?? null;
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
    this.#rows = this.#due.all(this.domain, this.lane, dueMs, message, index, this.#readAhead);
    this.#at = 0;
    this.#ended = this.#rows.length < this.#readAhead;
  }
}
