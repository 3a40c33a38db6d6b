/**
 * Handing out what has waited too long. Ids rise with acceptance, so the oldest messages are the first
 * rows of the primary key: no index by age is needed.
 */
import type Database from 'better-sqlite3';
import { MESSAGE_EPOCH_MS, MESSAGES_PER_MS, type MessageId } from '../envelope.ts';
import type { Handout, RecipientRow } from './handout.ts';
import type { Leases } from './leases.ts';
import { type ExpiryRequest, HELD, type LeasedMessage, RELEASED } from './spool.ts';

/** Rows read at a time; a message with more unleased recipients is handed out in parts. */
const ROWS_MAX = 256;

export class Expirer {
  readonly #leases: Leases;
  readonly #handout: Handout;
  readonly #oldest: Database.Statement<
    [MessageId, number, MessageId, number, number],
    RecipientRow
  >;

  constructor(db: Database.Database, leases: Leases, handout: Handout) {
    this.#leases = leases;
    this.#handout = handout;
    this.#oldest = db.prepare(
      `SELECT * FROM recipients WHERE (message, n) > (?, ?) AND message < ?
         AND reason_code IS NOT '${HELD}'
         AND NOT (reason_code IS '${RELEASED}' AND reason_since_ms >= ?)
       ORDER BY message, n LIMIT ?`,
    );
  }

  leaseExpired(request: ExpiryRequest): LeasedMessage[] {
    const { acceptedBeforeMs, releasedSinceMs = 0, messagesMax, bytesMax } = request;
    const before = (acceptedBeforeMs - MESSAGE_EPOCH_MS) * MESSAGES_PER_MS;
    const messages: LeasedMessage[] = [];
    let octetsLeft = Number.POSITIVE_INFINITY;
    let [message, index] = [0, 0];
    for (;;) {
      const rows = this.#oldest.all(message, index, before, releasedSinceMs, ROWS_MAX);
      for (const group of byMessage(rows)) {
        ({ message, n: index } = group.at(-1)!);
        const unleased = group.filter(({ n }) => !this.#leases.holds(message, n));
        if (unleased.length === 0) continue;
        if (messages.length >= messagesMax) return messages;
        const found = this.#handout.read(message);
        if (found === null) continue;
        if (found.content.length > octetsLeft) return messages;
        messages.push(this.#handout.hold(message, found, unleased));
        octetsLeft = (messages.length === 1 ? bytesMax : octetsLeft) - found.content.length;
      }
      if (rows.length < ROWS_MAX) return messages;
    }
  }
}

/** Splits rows in order of message into one list for each. */
function byMessage(rows: readonly RecipientRow[]): RecipientRow[][] {
  const groups: RecipientRow[][] = [];
  for (const row of rows) {
    const last = groups.at(-1);
    if (last !== undefined && last[0]!.message === row.message) last.push(row);
    else groups.push([row]);
  }
  return groups;
}
