/**
 * A message in the index: its row, its recipients, its id.
 *
 * Invariant: ids rise, also when the clock goes back and across restarts, since the last one given is in
 * the log, or in the index, with the message that bears it.
 */
import type Database from 'better-sqlite3';
import { MESSAGE_EPOCH_MS, MESSAGES_PER_MS, type MessageId } from '../envelope.ts';
import type { Meta } from './draft.ts';
import type { Tenants } from './lanes.ts';
import { messageSum, recipientSum } from './row-sum.ts';
import type { Place, Segments } from './segments.ts';

/** What is counted of the index, as of the transaction under way. */
export interface Totals {
  messages: number;
  recipients: number;
  quarantined: number;
}

/** A message whose content is in a segment already. */
export interface Placed {
  readonly id: MessageId;
  readonly submission: Meta;
  /** Of the first octet of its content. */
  readonly place: Place;
  readonly contentOctets: number;
  readonly contentCrc: number;
}

/** Runs inside a transaction. @param indices of the recipients that get rows; null for all */
export type Append = (message: Placed, indices: readonly number[] | null, totals: Totals) => void;

export function prepareAppend(
  db: Database.Database,
  { tenants, segments }: { readonly tenants: Tenants; readonly segments: Segments },
): Append {
  // Columns that are alike in every migrated file; content is empty there and absent here.
  const insertMessage = db.prepare(
    `INSERT INTO messages (id, reverse_path, body, smtp_utf8, received_ms, origin, recipients,
       content_octets, content_crc32, tenant, campaign, extra, segment, at, sum, content)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, x'')`,
  );
  const insertRecipient = db.prepare(
    `INSERT INTO recipients (message, n, domain, address, due_ms, attempts, lane, extra, sum)
     VALUES (?, ?, ?, ?, ?, 0, ?, ?, ?)`,
  );
  return ({ id, submission, place, contentOctets, contentCrc }, indices, totals) => {
    const { envelope, receivedAtMs, tenant = '', priority = 'normal' } = submission;
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
      contentOctets,
      contentCrc,
      tenant,
      submission.campaign ?? '',
      submission.extra ?? null,
      place.segment,
      place.at,
      messageSum(id, envelope.reversePath),
    );
    for (const { index, domain, address, extra } of recipients) {
      if (indices !== null && !indices.includes(index)) continue;
      const sum = recipientSum(id, index, { domain, address });
      insertRecipient.run(id, index, domain, address, dueMs, lane, extra ?? null, sum);
      totals.recipients += 1;
    }
    segments.want(place.segment, 1, contentOctets);
    totals.messages += 1;
  };
}

export const dueOf = ({ receivedAtMs, notBeforeMs = receivedAtMs }: Meta): number =>
  Math.max(receivedAtMs, notBeforeMs);

export const nextId = (lastId: MessageId, nowMs: number): MessageId =>
  Math.max(lastId + 1, (nowMs - MESSAGE_EPOCH_MS) * MESSAGES_PER_MS);
