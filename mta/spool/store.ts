/**
 * The open database: transactions, the totals that are kept with them, and reads.
 *
 * Invariants
 * - `state` is written in every transaction that changes what it counts, so counting costs nothing.
 * - Memory (leases, totals) changes after the commit, never before.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import { type Append, noteAppended, prepareAppend, type Totals } from './append.ts';
import { Census } from './census.ts';
import { Expirer } from './expire.ts';
import { type Damage, Handout } from './handout.ts';
import { Lanes, Tenants } from './lanes.ts';
import { Lessor } from './lease.ts';
import type { Leases } from './leases.ts';
import { Listing } from './list.ts';
import type { Incident, Repeated, Request } from './protocol.ts';
import { deleteRemains, exportRemains, type Remains, readRemains } from './quarantine.ts';
import { PAGE_OCTETS } from './schema.ts';
import { endLeases, prepareSettle, type Settle } from './settle.ts';
import type { SpoolCounts } from './spool.ts';

export type WriteRequest = Extract<Request, { op: 'append' | 'settle' }>;
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

/** Unused pages are given back to the disk beyond this, and beyond a quarter of the file. */
const FREE_OCTETS_KEPT = 64 * 1_048_576;
const FREE_SHARE_KEPT = 0.25;
/** Pages moved at a time to that end: 4 MiB. */
const VACUUM_PAGES = 512;

interface Surroundings {
  readonly folder: string;
  /** Outlive the database when it is opened again. */
  readonly leases: Leases;
  report(incident: Incident): void;
}

export class Store {
  readonly #db: Database.Database;
  readonly #surroundings: Surroundings;
  readonly #begin: Database.Statement<[]>;
  readonly #commit: Database.Statement<[]>;
  readonly #rollback: Database.Statement<[]>;
  readonly #saveTotals: Database.Statement<[number, number, number, number]>;
  readonly #freePages: Database.Statement<[], number>;
  readonly #pages: Database.Statement<[], number>;
  readonly #append: Append;
  readonly #settle: Settle;
  readonly #lessor: Lessor;
  readonly #expirer: Expirer;
  readonly #listing: Listing;
  readonly #census: Census;
  readonly #lanes: Lanes;
  readonly #tenants: Tenants;
  #totals: Totals;
  #nowMs = 0;

  constructor(db: Database.Database, surroundings: Surroundings) {
    this.#db = db;
    this.#surroundings = surroundings;
    const { leases } = surroundings;
    this.#begin = db.prepare('BEGIN IMMEDIATE');
    this.#commit = db.prepare('COMMIT');
    this.#rollback = db.prepare('ROLLBACK');
    this.#saveTotals = db.prepare(
      'UPDATE state SET last_id = ?, messages = ?, recipients = ?, quarantined = ?',
    );
    this.#freePages = db.prepare<[], number>('PRAGMA freelist_count').pluck();
    this.#pages = db.prepare<[], number>('PRAGMA page_count').pluck();
    this.#lanes = new Lanes(db);
    this.#tenants = new Tenants(db);
    this.#append = prepareAppend(db, this.#tenants);
    this.#settle = prepareSettle(db);
    const handout = new Handout(db, leases, (message, damage) => this.#quarantine(message, damage));
    this.#lessor = new Lessor(db, {
      leases,
      handout,
      lanes: this.#lanes,
      tenants: this.#tenants,
    });
    this.#expirer = new Expirer(db, leases, handout);
    this.#listing = new Listing(db, leases, this.#lanes);
    this.#census = new Census(db);
    this.#totals = db
      .prepare<[], Totals>('SELECT last_id AS lastId, messages, recipients, quarantined FROM state')
      .get()!;
  }

  /**
   * Runs the requests in one transaction.
   * @returns a value for each, once they are durable
   * @throws what stopped it; then nothing of them is kept
   */
  write(requests: readonly WriteRequest[], nowMs: number): unknown[] {
    const values = requests.some(needsCommit)
      ? this.#commitAll(requests, nowMs)
      : requests.map(() => []);
    this.#remember(requests, values);
    return values;
  }

  #commitAll(requests: readonly WriteRequest[], nowMs: number): unknown[] {
    return this.#transact((totals) => {
      return requests.map((request) => this.#perform(request, totals, nowMs));
    });
  }

  /** What is committed, in memory too. */
  #remember(requests: readonly WriteRequest[], values: readonly unknown[]): void {
    const { leases, report } = this.#surroundings;
    const memory = { leases, lanes: this.#lanes, tenants: this.#tenants };
    let strangers = 0;
    for (const [at, { op, asks }] of requests.entries()) {
      if (op === 'append') {
        const id = values[at] as MessageId | Repeated;
        if (typeof id === 'number') noteAppended(memory, id, asks);
      } else {
        strangers += endLeases(asks.settlements, memory);
        const ids = values[at] as MessageId[];
        for (const [n, notice] of asks.notices.entries()) noteAppended(memory, ids[n]!, notice);
      }
    }
    if (strangers === 0) return;
    report({
      level: 'warn',
      fields: { recipients: strangers },
      message: 'settled what was not leased; ignored',
    });
  }

  read({ op, asks }: ReadRequest, nowMs: number): unknown {
    this.#nowMs = nowMs;
    switch (op) {
      case 'lease':
        return this.#lessor.lease(asks);
      case 'leaseExpired':
        return this.#expirer.leaseExpired(asks);
      case 'leaseMessage':
        return this.#lessor.leaseMessage(asks);
      case 'domains':
        return this.#listing.domains(asks.after, asks.limit);
      case 'inspect':
        return this.#listing.inspect(asks);
      case 'list':
        return this.#listing.list(asks);
      case 'counts':
        return this.#counts();
      case 'census':
        return this.#census.page(asks);
    }
  }

  /** Octets inside the file that new messages can take. */
  freeOctets(): number {
    return this.#freePages.get()! * PAGE_OCTETS;
  }

  /** Lets the file shrink after a burst, a little with each call. */
  giveBack(): void {
    const free = this.#freePages.get()!;
    if (free * PAGE_OCTETS <= FREE_OCTETS_KEPT) return;
    if (free <= this.#pages.get()! * FREE_SHARE_KEPT) return;
    this.#db.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
  }

  /** Makes one durable write. @throws when there is still something in the way */
  probe(): void {
    // Skips an id: SQLite does not write a page for a row that stays the same.
    this.#transact((totals) => {
      totals.lastId += 1;
    });
  }

  close(): void {
    this.#db.close();
  }

  #perform(
    request: WriteRequest,
    totals: Totals,
    nowMs: number,
  ): MessageId | Repeated | MessageId[] {
    if (request.op === 'append') return this.#append(request.asks, totals, nowMs);
    const { settlements, notices } = request.asks;
    this.#settle(settlements, this.#surroundings.leases, totals);
    // Notices bear no key, so each becomes a message.
    return notices.map((notice) => this.#append(notice, totals, nowMs) as MessageId);
  }

  #transact<T>(work: (totals: Totals) => T): T {
    const totals = { ...this.#totals };
    this.#begin.run();
    try {
      const result = work(totals);
      this.#saveTotals.run(totals.lastId, totals.messages, totals.recipients, totals.quarantined);
      this.#commit.run();
      this.#totals = totals;
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some errors, a full disk among them.
      if (this.#db.inTransaction) this.#rollback.run();
      throw error;
    }
  }

  #counts(): SpoolCounts {
    const { messages, recipients, quarantined } = this.#totals;
    const leased = this.#surroundings.leases.count;
    return { messages, queued: recipients - leased, leased, quarantined };
  }

  /** Costs only this message, whatever happens: what cannot be moved now is held until the next start. */
  #quarantine(message: MessageId, damage: Damage): void {
    const { folder, report } = this.#surroundings;
    const remains = readRemains(this.#db, message, damage);
    try {
      const path = exportRemains(folder, remains, this.#nowMs);
      this.#transact((totals) => deleteRemains(this.#db, remains, totals));
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

/** Releasing changes no row. */
const needsCommit = ({ op, asks }: WriteRequest): boolean =>
  op === 'append' ||
  asks.notices.length > 0 ||
  asks.settlements.some(({ kind }) => kind !== 'released');
