/**
 * Ending leases. The rows change inside the transaction, the leases only once it is committed, so that
 * a failed commit leaves every lease standing.
 *
 * Invariants
 * - Only what is leased is settled; other keys are left alone, so a settlement may be repeated.
 * - A message goes with its last recipient.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import type { Totals } from './append.ts';
import type { Lanes } from './lanes.ts';
import type { Leases } from './leases.ts';
import type { Settlement } from './spool.ts';

/** Runs inside a transaction. */
export type Settle = (settlements: readonly Settlement[], leases: Leases, totals: Totals) => void;

export function prepareSettle(db: Database.Database): Settle {
  const deleteRecipient = db.prepare('DELETE FROM recipients WHERE message = ? AND n = ?');
  const anyRecipient = db.prepare('SELECT 1 FROM recipients WHERE message = ? LIMIT 1').pluck();
  const deleteMessage = db.prepare('DELETE FROM messages WHERE id = ?');
  const defer = db.prepare(
    `UPDATE recipients SET due_ms = ?, attempts = ?, reason_code = ?, reason_text = ?,
       reason_since_ms = ? WHERE message = ? AND n = ?`,
  );
  const setExtra = db.prepare('UPDATE recipients SET extra = ? WHERE message = ? AND n = ?');
  const setDomain = db.prepare('UPDATE recipients SET domain = ? WHERE message = ? AND n = ?');
  return (settlements, leases, totals) => {
    const touched = new Set<MessageId>();
    for (const settlement of settlements) {
      const { message, index } = settlement.key;
      if (settlement.kind === 'released' || !leases.holds(message, index)) continue;
      if (settlement.kind === 'deferred') {
        const { dueMs, attempts, reason } = settlement;
        defer.run(dueMs, attempts, reason.code, reason.text, reason.sinceMs, message, index);
        if (settlement.extra !== undefined) setExtra.run(settlement.extra, message, index);
        if (settlement.domain !== undefined) setDomain.run(settlement.domain, message, index);
      } else {
        totals.recipients -= deleteRecipient.run(message, index).changes;
        touched.add(message);
      }
    }
    for (const message of touched) {
      if (anyRecipient.get(message) === undefined) {
        totals.messages -= deleteMessage.run(message).changes;
      }
    }
  };
}

/** To be called once the settlements are committed. @returns how many keys were not leased */
export function endLeases(
  settlements: readonly Settlement[],
  { leases, lanes }: { readonly leases: Leases; readonly lanes: Lanes },
): number {
  let strangers = 0;
  for (const settlement of settlements) {
    const { message, index } = settlement.key;
    const held = leases.end(message, index);
    if (held === undefined) {
      strangers += 1;
    } else if (settlement.kind !== 'done') {
      const { dueMs, domain = held.domain } = settlement.kind === 'deferred' ? settlement : held;
      if (domain !== held.domain) lanes.appeared(domain, held.lane);
      leases.appeared({ domain, lane: held.lane }, { dueMs, message, index });
    }
  }
  return strangers;
}
