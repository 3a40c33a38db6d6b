/**
 * Idempotency keys: which message a client's key has become, for as long as it was promised.
 *
 * Invariants
 * - A key is committed together with its message, so that a repetition after a crash finds both or none.
 * - Each new key sweeps out up to SWEEP_ROWS of those whose time is over, so that there are never many
 *   more than were given within the longest promise.
 */
import type Database from 'better-sqlite3';
import type { MessageId, Once } from '../envelope.ts';
import type { Repeated } from './protocol.ts';

const SWEEP_ROWS = 8;

export class OnceKeys {
  readonly #find: Database.Statement<[string, number], Repeated>;
  readonly #add: Database.Statement<[string, string, MessageId, number], unknown>;
  readonly #sweep: Database.Statement<[number, number], unknown>;

  constructor(db: Database.Database) {
    this.#find = db.prepare('SELECT message, digest FROM once WHERE key = ? AND until_ms > ?');
    this.#add = db.prepare(
      'INSERT OR REPLACE INTO once (key, digest, message, until_ms) VALUES (?, ?, ?, ?)',
    );
    this.#sweep = db.prepare(
      'DELETE FROM once WHERE key IN (SELECT key FROM once WHERE until_ms <= ? ORDER BY until_ms LIMIT ?)',
    );
  }

  find({ key }: Once, nowMs: number): Repeated | null {
    return this.#find.get(key, nowMs) ?? null;
  }

  /** Inside the transaction that keeps the message. */
  add({ key, digest, untilMs }: Once, message: MessageId, nowMs: number): void {
    this.#sweep.run(nowMs, SWEEP_ROWS);
    this.#add.run(key, digest, message, untilMs);
  }
}
