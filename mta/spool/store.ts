/**
 * The open spool: the log, the index that follows it, and reads.
 *
 * Invariants
 * - What write() returned for is in the log, and synced save for messages that need not be, which catchUp()
 *   syncs. The index hears of it before the next read, and never of what is not synced.
 * - `state` is written in every transaction that changes what it counts, so counting costs nothing; it
 *   also says how far into the log the index has come.
 * - Memory (leases, totals) changes after the commit, never before.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import type { Totals } from './append.ts';
import { Applier } from './apply.ts';
import { Census } from './census.ts';
import { Compactor } from './compact.ts';
import { Expirer } from './expire.ts';
import { type Damage, Handout } from './handout.ts';
import { Journal, type Op, type Out, plan } from './journal.ts';
import { Lanes, Tenants } from './lanes.ts';
import { Lessor } from './lease.ts';
import type { Leases } from './leases.ts';
import { Listing } from './list.ts';
import { LogWriter, type Records, type Written } from './log-writer.ts';
import { OnceKeys } from './once.ts';
import type { Incident, Operations, Request } from './protocol.ts';
import { deleteRemains, exportRemains, type Remains, readRemains } from './quarantine.ts';
import { replay } from './replay.ts';
import { PAGE_OCTETS } from './schema.ts';
import { type Place, Segments, type SegmentsOptions } from './segments.ts';
import type { SpoolCounts } from './spool.ts';
import { StoreFault, troubleOf } from './trouble.ts';

export type SettleRequest = Operations['settle']['asks'];
export type ReadRequest = Extract<
  Request,
  {
    op:
      | 'lease'
      | 'leaseExpired'
      | 'leaseMessage'
      | 'domains'
      | 'inspect'
      | 'list'
      | 'counts'
      | 'census';
  }
>;

/** To these a recipient that is done is one that is leased: it need not be gone. */
const LEASING: ReadonlySet<ReadRequest['op']> = new Set(['lease', 'leaseExpired', 'leaseMessage']);
/** Unused pages are given back to the disk beyond this, and beyond a quarter of the file. */
const FREE_OCTETS_KEPT = 64 * 1_048_576;
const FREE_SHARE_KEPT = 0.25;
/** Pages moved at a time to that end: 4 MiB. */
const VACUUM_PAGES = 512;
/** Operations that the index may be behind before it is brought up to date without being asked. */
const OPS_MAX = 512;
/** Messages handed over and not settled; beyond this the oldest get rows. It bounds memory and a replay. */
const HANDED_MAX = 16_384;
/** The log is kept for messages handed over in the current segment, and so many before it. */
const HANDED_SEGMENTS_MAX = 1;
/** The log may grow by so much until a checkpoint makes the index durable, so that less need be read again. */
const CHECKPOINT_LOG_OCTETS = 32 * 1_048_576;

export interface Surroundings {
  readonly folder: string;
  readonly segments: SegmentsOptions;
  /** Outlive the database when it is opened again. */
  readonly leases: Leases;
  readonly out: Out;
  report(incident: Incident): void;
}

interface StateRow extends Totals {
  readonly lastId: MessageId;
  readonly lowSegment: number;
  readonly lowAt: number;
  readonly appliedSegment: number;
  readonly appliedAt: number;
}

type State = readonly [number, number, number, number, number, number, number, number];

export class Store {
  readonly #db: Database.Database;
  readonly #surroundings: Surroundings;
  readonly #begin: Database.Statement<[]>;
  readonly #commit: Database.Statement<[]>;
  readonly #rollback: Database.Statement<[]>;
  readonly #saveState: Database.Statement<[...State]>;
  readonly #freePages: Database.Statement<[], number>;
  readonly #pages: Database.Statement<[], number>;
  readonly #segments: Segments;
  readonly #journal: Journal;
  readonly #writer: LogWriter;
  readonly #compactor: Compactor;
  readonly #applier: Applier;
  readonly #handout: Handout;
  readonly #lessor: Lessor;
  readonly #expirer: Expirer;
  readonly #listing: Listing;
  readonly #census: Census;
  #totals: Totals;
  #lastId: MessageId;
  #nowMs: number;
  /** As in the index. */
  #applied: Place;
  /** As a crash of the whole machine would leave it. */
  #durableLow: Place;
  #checkpointAtOctets = 0;

  /** Reads the log again where it has to. @throws what stopped it */
  constructor(db: Database.Database, surroundings: Surroundings, nowMs: number) {
    this.#db = db;
    this.#surroundings = surroundings;
    this.#nowMs = nowMs;
    const { folder, leases, out } = surroundings;
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
    this.#saveState = db.prepare(
      `UPDATE state SET last_id = ?, messages = ?, recipients = ?, quarantined = ?,
         low_segment = ?, low_at = ?, applied_segment = ?, applied_at = ?`,
    );
    this.#freePages = db.prepare<[], number>('PRAGMA freelist_count').pluck();
    this.#pages = db.prepare<[], number>('PRAGMA page_count').pluck();
    const segments = new Segments(db, folder, surroundings.segments);
    const journal = new Journal(segments, out);
    const lanes = new Lanes(db);
    const tenants = new Tenants(db);
    this.#segments = segments;
    this.#journal = journal;
    this.#writer = new LogWriter({ segments, journal, onceKeys: new OnceKeys(db) });
    this.#compactor = new Compactor(db, segments);
    this.#applier = new Applier(db, { segments, journal, leases, lanes, tenants });
    this.#handout = new Handout(db, { leases, segments }, (message, damage) =>
      this.#quarantine(message, damage),
    );
    const handout = this.#handout;
    this.#lessor = new Lessor(db, { leases, handout, lanes, tenants });
    this.#expirer = new Expirer(db, leases, handout);
    this.#listing = new Listing(db, leases, lanes);
    this.#census = new Census(db);
    const state = readState(db);
    requireSound(db, state.messages);
    this.#totals = state;
    this.#lastId = state.lastId;
    this.#applied = { segment: state.appliedSegment, at: state.appliedAt };
    this.#durableLow = { segment: state.lowSegment, at: state.lowAt };
    segments.beginBehind(this.#applied);
    this.#replay();
  }

  /** Durable when it returns, save messages that need not be. @throws what stopped it; then nothing of it is kept */
  write(
    appends: Records | null,
    settles: readonly SettleRequest[],
    nowMs: number,
  ): Pick<Written, 'ids' | 'notices'> {
    this.#nowMs = nowMs;
    const { leases } = this.#surroundings;
    const holds = (message: MessageId, index: number): boolean => leases.holds(message, index);
    const asked = settles.map((settle) => ({
      plan: plan(settle, this.#journal, holds),
      notices: settle.notices,
    }));
    const logged = asked.filter(
      ({ plan: { outcome }, notices }) =>
        outcome.done.length + outcome.deferred.length + outcome.kept.length + notices.length > 0,
    );
    let ids: Written['ids'] = [];
    let notices: MessageId[][] = [];
    if (appends !== null || logged.length > 0) {
      const written = this.#writer.write(appends, logged, { lastId: this.#lastId, nowMs });
      ({ ids, notices, lastId: this.#lastId } = written);
    }
    let strangers = 0;
    for (const {
      plan: { untouched },
    } of asked) {
      for (const { message, index } of untouched) {
        const held = leases.end(message, index);
        if (held === undefined) strangers += 1;
        else leases.appeared(held, { dueMs: held.dueMs, message, index });
      }
    }
    this.#reportStrangers(strangers);
    return { ids, notices: asked.map((one) => notices[logged.indexOf(one)] ?? []) };
  }

  /** To be called when there is time: keeps the index from falling far behind the log. @throws what stopped it */
  catchUp(): void {
    this.#segments.sync();
    const excess = this.#journal.handedMessages - HANDED_MAX;
    if (excess > 0) this.#journal.keepOldest(excess + HANDED_MAX / 2);
    if (excess > 0 || this.#journal.ops.length >= OPS_MAX) this.#apply();
    if (this.#segments.appended - this.#checkpointAtOctets >= CHECKPOINT_LOG_OCTETS) {
      this.#checkpoint();
    }
    this.#segments.prepare();
  }

  /** The index hears of what is in the log, as far as the reads can tell. @throws what stopped it */
  prepareFor(reads: readonly ReadRequest[]): void {
    const isLeasing = reads.every(({ op }) => LEASING.has(op));
    if (isLeasing ? this.#journal.hasNews : this.#journal.ops.length > 0) this.#apply();
  }

  read({ op, asks }: ReadRequest, nowMs: number): unknown {
    this.#nowMs = nowMs;
    switch (op) {
      case 'lease':
        return this.#lease(() => this.#lessor.lease(asks));
      case 'leaseExpired':
        return this.#lease(() => this.#expirer.leaseExpired(asks));
      case 'leaseMessage':
        return this.#lease(() => this.#lessor.leaseMessage(asks));
      case 'domains':
        return this.#listing.domains(asks.after, asks.limit);
      case 'inspect':
        if (this.#journal.find(asks) !== undefined) this.#keepAll();
        return this.#listing.inspect(asks);
      case 'list':
        this.#keepAll();
        return this.#listing.list(asks);
      case 'counts':
        return this.#counts();
      case 'census':
        // Taken every few seconds: what was handed over is under way, and gets no rows for that.
        return this.#census.page(asks);
    }
  }

  #lease<T>(work: () => T): T {
    this.#handout.begin();
    return this.#surroundings.leases.attempt(work);
  }

  /** Lets the files shrink after a burst, a little with each call. */
  giveBack(): void {
    if (this.#journal.ops.length > 0) this.#apply();
    const living = this.#compactor.step(this.#durableLow.segment, this.#nowMs);
    if (living.length > 0) this.#writer.move(living, this.#nowMs);
    if (this.#segments.hasUnwanted) this.#checkpoint();
    const free = this.#freePages.get()!;
    if (free * PAGE_OCTETS <= FREE_OCTETS_KEPT) return;
    if (free <= this.#pages.get()! * FREE_SHARE_KEPT) return;
    this.#db.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
  }

  /** Room is needed: what of the log is not wanted goes, the current segment too. */
  makeRoom(): void {
    this.#segments.dropSpare();
    this.#segments.sealUnwanted();
    if (this.#segments.hasUnwanted) this.#checkpoint();
  }

  /** Makes one durable write to the log, and one to the index. @throws when there is still something in the way */
  probe(nowMs: number): void {
    this.#writer.probe(nowMs);
    // Skips an id: SQLite does not write a page for a row that stays the same.
    this.#lastId += 1;
    this.#apply();
  }

  close(): void {
    try {
      this.#journal.keepOldest(this.#journal.handedMessages);
      this.#segments.seal();
      this.#apply();
      this.#checkpoint();
    } catch {
      // The log has it all; the next start reads it from there.
    }
    this.#segments.close();
    this.#db.close();
  }

  #replay(): void {
    const { folder, report } = this.#surroundings;
    const lastId = replay({
      folder,
      segments: this.#segments,
      journal: this.#journal,
      low: this.#durableLow,
      applied: this.#applied,
      // A log that is read from its beginning brings more than is to gather in memory.
      onRead: (next) => {
        if (this.#journal.ops.length > 0) this.#apply(next);
      },
      report,
    });
    this.#lastId = Math.max(this.#lastId, lastId);
    this.#journal.keepAbandoned();
    if (this.#journal.ops.length > 0) this.#apply();
  }

  /** In one transaction; one operation that is wrong in itself costs only itself. */
  #apply(end = this.#segments.end): void {
    this.#segments.sync();
    const { ops } = this.#journal;
    try {
      this.#applySome(ops, end);
    } catch (error) {
      if (troubleOf(error) !== null) throw error;
      for (const op of ops) this.#applyOne(op);
      this.#applySome([], end);
    }
  }

  #applyOne(op: Op): void {
    try {
      this.#applySome([op], this.#applied);
    } catch (error) {
      if (troubleOf(error) !== null) throw error;
      this.#journal.applied([op]);
      this.#surroundings.report({
        level: 'error',
        fields: { kind: op.kind, cause: String(error) },
        message: 'the index of the spool cannot take something that the log has; left out',
      });
    }
  }

  #applySome(ops: readonly Op[], end: Place): void {
    this.#transact((totals) => this.#applier.apply(ops, totals, this.#nowMs), end);
    this.#applier.remember(ops);
  }

  #transact(work: (totals: Totals) => void, end = this.#applied): void {
    const totals = { ...this.#totals };
    const low = this.#journal.lowPlace(end);
    this.#begin.run();
    try {
      work(totals);
      this.#segments.save();
      this.#saveState.run(
        this.#lastId,
        totals.messages,
        totals.recipients,
        totals.quarantined,
        low.segment,
        low.at,
        end.segment,
        end.at,
      );
      this.#commit.run();
    } catch (error) {
      this.#segments.unsaved();
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (this.#db.inTransaction) this.#rollback.run();
      throw error;
    }
    this.#totals = totals;
    this.#applied = end;
    this.#segments.saved();
  }

  /** Makes the index durable, so that the log before it can go. */
  #checkpoint(): void {
    this.#journal.keepBefore(this.#segments.end.segment - HANDED_SEGMENTS_MAX);
    this.#apply();
    this.#db.pragma('wal_checkpoint(PASSIVE)');
    this.#durableLow = this.#journal.lowPlace(this.#applied);
    this.#checkpointAtOctets = this.#segments.appended;
    this.#segments.sweep(this.#durableLow.segment);
  }

  /** Whoever looks at the queue sees messages that were handed over as well. */
  #keepAll(): void {
    if (this.#journal.handedMessages === 0) return;
    this.#journal.keepOldest(this.#journal.handedMessages);
    this.#apply();
  }

  #reportStrangers(count: number): void {
    if (count === 0) return;
    this.#surroundings.report({
      level: 'warn',
      fields: { recipients: count },
      message: 'settled what was not leased; ignored',
    });
  }

  #counts(): SpoolCounts {
    const { messages, recipients, quarantined } = this.#totals;
    const { handedMessages, handedRecipients } = this.#journal;
    const leased = this.#surroundings.leases.count;
    return {
      messages: messages + handedMessages,
      queued: recipients - leased,
      leased: leased + handedRecipients,
      quarantined,
    };
  }

  /** Costs only this message, whatever happens: what cannot be moved now is held until the next start. */
  #quarantine(message: MessageId, damage: Damage): void {
    const { folder, leases, report } = this.#surroundings;
    leases.ahead.clear();
    const remains = readRemains(this.#db, this.#segments, { message, damage });
    try {
      const path = exportRemains(folder, remains, this.#nowMs);
      this.#transact((totals) => deleteRemains(this.#db, this.#segments, remains, totals));
      report({
        level: 'error',
        fields: { message, damage, recipients: remains.recipients.length, path },
        message: 'a queued message is damaged; moved it to quarantine',
      });
    } catch (error) {
      this.#putAside(remains);
      report({
        level: 'error',
        fields: { message, damage, cause: String(error) },
        message:
          'a queued message is damaged and could not be moved to quarantine; held until restart',
      });
    }
  }

  #putAside({ message, recipients }: Remains): void {
    const { leases } = this.#surroundings;
    for (const { n, domain, due_ms, lane } of recipients) {
      if (!leases.holds(message, n))
        leases.take(message, { index: n, domain, dueMs: due_ms, lane });
    }
  }
}

/**
 * Files go when the index wants nothing of them: so its two counts of messages, which are kept apart, must
 * agree before any does. Contents that an older version left in the index are looked for only where they
 * do not.
 * @throws StoreFault when the index is damaged
 */
function requireSound(db: Database.Database, messages: number): void {
  const count = (query: string): number => db.prepare<[], number>(query).pluck().get()!;
  const inSegments = count('SELECT coalesce(sum(messages), 0) FROM segments');
  if (inSegments === messages) return;
  const inIndex = count('SELECT count(*) FROM messages WHERE segment IS NULL');
  if (inSegments + inIndex === messages) return;
  throw new StoreFault('corrupt', `of ${messages} messages ${inSegments} are in segments`);
}

const readState = (db: Database.Database): StateRow =>
  db
    .prepare<[], StateRow>(
      `SELECT last_id AS lastId, messages, recipients, quarantined, low_segment AS lowSegment,
         low_at AS lowAt, applied_segment AS appliedSegment, applied_at AS appliedAt FROM state`,
    )
    .get()!;
