/**
 * Keeping a message: its row, its recipients, its id.
 *
 * Invariant: ids rise, also when the clock goes back and across restarts, since the last one given is
 * committed together with the message that bears it.
 */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { MESSAGE_EPOCH_MS, MESSAGES_PER_MS, type MessageId, type Submission } from '../envelope.ts';
import type { Lanes, Tenants } from './lanes.ts';
import type { Leases } from './leases.ts';
import { OnceKeys } from './once.ts';
import type { Repeated } from './protocol.ts';

/** The one row of `state`, as of the transaction under way. */
export interface Totals {
  lastId: MessageId;
  messages: number;
  recipients: number;
  quarantined: number;
}

/** Runs inside a transaction. @returns the id of the message, or that of an earlier one of the same key */
export type Append = (
  submission: Submission,
  totals: Totals,
  nowMs: number,
) => MessageId | Repeated;

export function prepareAppend(db: Database.Database, tenants: Tenants): Append {
  const insertMessage = db.prepare(
    `INSERT INTO messages (id, reverse_path, body, smtp_utf8, received_ms, origin, recipients,
       content_octets, content_crc32, tenant, campaign, extra, content)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const insertRecipient = db.prepare(
    `INSERT INTO recipients (message, n, domain, address, due_ms, attempts, lane, extra)
     VALUES (?, ?, ?, ?, ?, 0, ?, ?)`,
  );
  const onceKeys = new OnceKeys(db);
  return (submission, totals, nowMs) => {
    const { envelope, content, receivedAtMs, tenant = '', priority = 'normal', once } = submission;
    const before = once === undefined ? null : onceKeys.find(once, nowMs);
    if (before !== null) return before;
    const id = nextId(totals.lastId, nowMs);
    if (once !== undefined) onceKeys.add(once, id, nowMs);
    const { recipients } = envelope;
    const lane = tenants.laneFor(tenant, priority);
    const dueMs = dueOf(submission);
    insertMessage.run(
      id,
      envelope.reversePath,
      envelope.body,
      envelope.smtpUtf8 ? 1 : 0,
      receivedAtMs,
      submission.origin,
      recipients.length,
      content.length,
      crc32(content),
      tenant,
      submission.campaign ?? '',
      submission.extra ?? null,
      content,
    );
    for (const { index, domain, address, extra } of recipients) {
      insertRecipient.run(id, index, domain, address, dueMs, lane, extra ?? null);
    }
    totals.lastId = id;
    totals.messages += 1;
    totals.recipients += recipients.length;
    return id;
  };
}

/** To be called once the append is committed: its rows may come before what a lease last saw. */
export function noteAppended(
  { leases, lanes, tenants }: { leases: Leases; lanes: Lanes; tenants: Tenants },
  id: MessageId,
  submission: Submission,
): void {
  const lane = tenants.laneFor(submission.tenant ?? '', submission.priority ?? 'normal');
  const dueMs = dueOf(submission);
  for (const { index, domain } of submission.envelope.recipients) {
    lanes.appeared(domain, lane);
    leases.appeared({ domain, lane }, { dueMs, message: id, index });
  }
}

const dueOf = ({ receivedAtMs, notBeforeMs = receivedAtMs }: Submission): number =>
  Math.max(receivedAtMs, notBeforeMs);

const nextId = (lastId: MessageId, nowMs: number): MessageId =>
  Math.max(lastId + 1, (nowMs - MESSAGE_EPOCH_MS) * MESSAGES_PER_MS);
