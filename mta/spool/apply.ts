/**
 * Bringing operations of the log into the index: rows inside the transaction, leases and lanes once it is
 * committed.
 *
 * Invariant: an operation on what is not there changes nothing, so that one that was asked for twice does
 * no harm.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import { type Append, dueOf, prepareAppend, type Totals } from './append.ts';
import type { Deferral, Journal, Op } from './journal.ts';
import type { Lanes, Tenants } from './lanes.ts';
import type { Leases } from './leases.ts';
import { OnceKeys } from './once.ts';
import { recipientSum } from './row-sum.ts';
import type { SegmentId } from './segment-file.ts';
import type { Segments } from './segments.ts';

export interface ApplierParts {
  readonly segments: Segments;
  readonly journal: Journal;
  readonly leases: Leases;
  readonly lanes: Lanes;
  readonly tenants: Tenants;
}

interface StoredPlace {
  readonly segment: SegmentId | null;
  readonly content_octets: number;
}

export class Applier {
  readonly #parts: ApplierParts;
  readonly #append: Append;
  readonly #onceKeys: OnceKeys;
  readonly #deleteRecipient: Database.Statement<[MessageId, number]>;
  readonly #anyRecipient: Database.Statement<[MessageId]>;
  readonly #deleteMessage: Database.Statement<[MessageId], StoredPlace>;
  readonly #defer: Database.Statement<[number, number, string, string, number, MessageId, number]>;
  readonly #setExtra: Database.Statement<[string, MessageId, number]>;
  readonly #address: Database.Statement<[MessageId, number], string>;
  readonly #setDomain: Database.Statement<[string, number, MessageId, number]>;
  readonly #placeOf: Database.Statement<[MessageId], StoredPlace>;
  readonly #move: Database.Statement<[SegmentId, number, MessageId]>;

  constructor(db: Database.Database, parts: ApplierParts) {
    this.#parts = parts;
    this.#append = prepareAppend(db, parts);
    this.#onceKeys = new OnceKeys(db);
    this.#deleteRecipient = db.prepare('DELETE FROM recipients WHERE message = ? AND n = ?');
    this.#anyRecipient = db.prepare('SELECT 1 FROM recipients WHERE message = ? LIMIT 1').pluck();
    this.#deleteMessage = db.prepare(
      'DELETE FROM messages WHERE id = ? RETURNING segment, content_octets',
    );
    this.#defer = db.prepare(
      `UPDATE recipients SET due_ms = ?, attempts = ?, reason_code = ?, reason_text = ?,
         reason_since_ms = ? WHERE message = ? AND n = ?`,
    );
    this.#setExtra = db.prepare('UPDATE recipients SET extra = ? WHERE message = ? AND n = ?');
    this.#address = db
      .prepare<[MessageId, number], string>(
        'SELECT address FROM recipients WHERE message = ? AND n = ?',
      )
      .pluck();
    this.#setDomain = db.prepare(
      'UPDATE recipients SET domain = ?, sum = ? WHERE message = ? AND n = ?',
    );
    this.#placeOf = db.prepare('SELECT segment, content_octets FROM messages WHERE id = ?');
    this.#move = db.prepare('UPDATE messages SET segment = ?, at = ? WHERE id = ?');
  }

  /** Inside a transaction. @param nowMs wall time, for keys whose time is over */
  apply(ops: readonly Op[], totals: Totals, nowMs: number): void {
    const touched = new Set<MessageId>();
    for (const op of ops) {
      switch (op.kind) {
        case 'rows':
          this.#rows(op, totals, nowMs);
          break;
        case 'done':
          totals.recipients -= this.#deleteRecipient.run(op.message, op.index).changes;
          touched.add(op.message);
          break;
        case 'deferred':
          this.#deferred(op.deferral);
          break;
        case 'moved':
          this.#moved(op, totals);
          break;
      }
    }
    for (const message of touched) this.#endMessage(message, totals);
  }

  /** Once it is committed. */
  remember(ops: readonly Op[]): void {
    const { leases, journal } = this.#parts;
    for (const op of ops) {
      if (op.kind === 'rows') this.#appeared(op);
      else if (op.kind === 'moved' && op.lost !== null)
        this.#appeared({ kind: 'rows', message: op.lost, indices: null });
      else if (op.kind === 'done') leases.end(op.message, op.index);
      else if (op.kind === 'deferred') {
        this.#waits(op.deferral);
      }
    }
    journal.applied(ops);
  }

  #rows({ message, indices }: Op & { kind: 'rows' }, totals: Totals, nowMs: number): void {
    this.#append(message, indices, totals);
    const { once } = message.submission;
    if (once !== undefined) this.#onceKeys.add(once, message.id, nowMs);
  }

  #deferred(deferral: Deferral): void {
    const [message, index, dueMs, attempts, code, text, sinceMs, extra, domain] = deferral;
    this.#defer.run(dueMs, attempts, code, text, sinceMs, message, index);
    if (extra !== null) this.#setExtra.run(extra, message, index);
    const address = domain === null ? undefined : this.#address.get(message, index);
    if (domain === null || address === undefined) return;
    this.#setDomain.run(domain, recipientSum(message, index, { domain, address }), message, index);
  }

  /** Nobody has it any more. */
  #waits([message, index, dueMs, , , , , , newDomain]: Deferral): void {
    const { leases, lanes } = this.#parts;
    const held = leases.end(message, index);
    if (held === undefined) return;
    const domain = newDomain ?? held.domain;
    if (domain !== held.domain) lanes.appeared(domain, held.lane);
    leases.appeared({ domain, lane: held.lane }, { dueMs, message, index });
  }

  #moved({ message, place, lost }: Op & { kind: 'moved' }, totals: Totals): void {
    const { segment, at } = place;
    const before = this.#placeOf.get(message);
    if (before === undefined) {
      if (lost !== null) this.#append(lost, null, totals);
      return;
    }
    const { segments } = this.#parts;
    const octets = before.content_octets;
    if (before.segment !== null) segments.want(before.segment, -1, -octets);
    segments.want(segment, 1, octets);
    this.#move.run(segment, at, message);
  }

  #endMessage(message: MessageId, totals: Totals): void {
    if (this.#anyRecipient.get(message) !== undefined) return;
    const gone = this.#deleteMessage.get(message);
    if (gone === undefined) return;
    totals.messages -= 1;
    if (gone.segment !== null) this.#parts.segments.want(gone.segment, -1, -gone.content_octets);
  }

  /** Its rows may come before what a lease last saw; and those that somebody has are leased from here on. */
  #appeared({ message: { id, submission }, indices }: Op & { kind: 'rows' }): void {
    const { leases, lanes, tenants, journal } = this.#parts;
    const lane = tenants.laneFor(submission.tenant ?? '', submission.priority ?? 'normal');
    const dueMs = dueOf(submission);
    const out = journal.takeOut(id);
    for (const { index, domain } of submission.envelope.recipients) {
      if (indices !== null && !indices.includes(index)) continue;
      lanes.appeared(domain, lane);
      if (out.includes(index)) leases.take(id, { index, domain, dueMs, lane });
      else leases.appeared({ domain, lane }, { dueMs, message: id, index });
    }
  }
}
