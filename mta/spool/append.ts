/**
 * Keeping a message: its row, its recipients, its id.
 *
 * Invariant: ids rise, also when the clock goes back and across restarts, since the last one given is
 * committed together with the message that bears it.
 */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { MESSAGE_EPOCH_MS, MESSAGES_PER_MS, type MessageId, type Submission } from '../envelope.ts';
import type { Leases } from './leases.ts';

/** The one row of `state`, as of the transaction under way. */
export interface Totals {
  lastId: MessageId;
  messages: number;
  recipients: number;
  quarantined: number;
}

/** Runs inside a transaction. @returns the id of the message */
export type Append = (submission: Submission, totals: Totals, nowMs: number) => MessageId;

export function prepareAppend(db: Database.Database): Append {
  const insertMessage = db.prepare('INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)');
  const insertRecipient = db.prepare(
    'INSERT INTO recipients (message, n, domain, address, due_ms, attempts) VALUES (?, ?, ?, ?, ?, 0)',
  );
  return ({ envelope, content, receivedAtMs, origin }, totals, nowMs) => {
    const id = nextId(totals.lastId, nowMs);
    const { recipients } = envelope;
    insertMessage.run(
      id,
      envelope.reversePath,
      envelope.body,
      envelope.smtpUtf8 ? 1 : 0,
      receivedAtMs,
      origin,
      recipients.length,
      content.length,
      crc32(content),
      content,
    );
    for (const { index, domain, address } of recipients) {
      insertRecipient.run(id, index, domain, address, receivedAtMs);
    }
    totals.lastId = id;
    totals.messages += 1;
    totals.recipients += recipients.length;
    return id;
  };
}

/** To be called once the append is committed: its rows may come before what a lease last saw. */
export function noteAppended(leases: Leases, id: MessageId, submission: Submission): void {
  for (const { index, domain } of submission.envelope.recipients) {
    leases.appeared(domain, submission.receivedAtMs, id, index);
  }
}

const nextId = (lastId: MessageId, nowMs: number): MessageId =>
  Math.max(lastId + 1, (nowMs - MESSAGE_EPOCH_MS) * MESSAGES_PER_MS);
