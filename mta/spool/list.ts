/** What operators and the planner look up: domains, recipients of a message, pages of the queue. */
import type Database from 'better-sqlite3';
import { type MessageId, PRIORITIES, type RecipientKey } from '../envelope.ts';
import { type Lane, type Lanes, rankOf } from './lanes.ts';
import type { Leases } from './leases.ts';
import type { ListPage } from './protocol.ts';
import { type ReasonColumns, reasonOf } from './reason.ts';
import type { DomainDue, ListRequest, QueuedRecipient } from './spool.ts';
import { type DueStatement, prepareDue, READ_AHEAD_MAX, Walker } from './walker.ts';

/** Recipients in one page, at most. */
export const LIST_ROWS_MAX = 10_000;
/** Index entries looked at for one page, at most: about 2 ms. A longer search goes on in the next. */
const SCAN_ROWS_MAX = 10_000;

interface ListedRow extends ReasonColumns {
  message: MessageId;
  n: number;
  domain: string;
  address: string;
  due_ms: number;
  attempts: number;
  /** NULL where the message's own row is damaged. */
  reverse_path: string | null;
  received_ms: number | null;
  content_octets: number | null;
  lane: Lane;
  extra: string | null;
  tenant: string | null;
  campaign: string | null;
}

const LISTED = `
  SELECT r.message, r.n, r.domain, r.address, r.due_ms, r.attempts, r.reason_code, r.reason_text,
    r.reason_since_ms, r.lane, r.extra, m.reverse_path, m.received_ms, m.content_octets, m.tenant, m.campaign
  FROM recipients r LEFT JOIN messages m ON m.id = r.message`;

type Key = Pick<ListedRow, 'message' | 'n'>;

export class Listing {
  readonly #leases: Leases;
  readonly #lanes: Lanes;
  readonly #due: DueStatement;
  readonly #nextDomain: Database.Statement<[string], string>;
  readonly #ofMessage: Database.Statement<[MessageId], ListedRow>;
  readonly #one: Database.Statement<[MessageId, number], ListedRow>;
  readonly #after: Database.Statement<[MessageId, number, number], ListedRow>;
  readonly #keysOfDomain: Database.Statement<[string, number], Key>;
  readonly #scanEnd: Database.Statement<[MessageId, number], Key>;
  readonly #scan: Database.Statement<
    [MessageId, number, MessageId, number, string, number],
    ListedRow
  >;

  constructor(db: Database.Database, leases: Leases, lanes: Lanes) {
    this.#leases = leases;
    this.#lanes = lanes;
    this.#due = prepareDue(db);
    this.#nextDomain = db
      .prepare<[string], string>(
        'SELECT domain FROM recipients WHERE domain > ? ORDER BY domain LIMIT 1',
      )
      .pluck();
    this.#ofMessage = db.prepare(`${LISTED} WHERE r.message = ? ORDER BY r.n`);
    this.#one = db.prepare(`${LISTED} WHERE r.message = ? AND r.n = ?`);
    this.#after = db.prepare(
      `${LISTED} WHERE (r.message, r.n) > (?, ?) ORDER BY r.message, r.n LIMIT ?`,
    );
    this.#keysOfDomain = db.prepare('SELECT message, n FROM recipients WHERE domain = ? LIMIT ?');
    this.#scanEnd = db.prepare(
      `SELECT message, n FROM recipients WHERE (message, n) > (?, ?)
       ORDER BY message, n LIMIT 1 OFFSET ${SCAN_ROWS_MAX - 1}`,
    );
    // The plus keeps SQLite to the primary key.
    this.#scan = db.prepare(
      `${LISTED} WHERE (r.message, r.n) > (?, ?) AND (r.message, r.n) <= (?, ?) AND +r.domain = ?
       ORDER BY r.message, r.n LIMIT ?`,
    );
  }

  domains(after: string | null, limit: number): DomainDue[] {
    const found: DomainDue[] = [];
    // No domain is empty, so the empty string stands before all.
    let domain = this.#nextDomain.get(after ?? '');
    while (domain !== undefined && found.length < limit) {
      let nextDueMs = Number.POSITIVE_INFINITY;
      for (const lane of this.#lanes.of(domain)) {
        const walker = new Walker({ domain, lane }, this.#leases, this.#due, READ_AHEAD_MAX);
        nextDueMs = Math.min(nextDueMs, walker.peek()?.due_ms ?? nextDueMs);
      }
      if (nextDueMs < Number.POSITIVE_INFINITY) found.push({ domain, nextDueMs });
      domain = this.#nextDomain.get(domain);
    }
    return found;
  }

  inspect(message: MessageId): QueuedRecipient[] {
    return this.#ofMessage.all(message).map((row) => this.#describe(row));
  }

  /** Rows in order of (message, index). A page may be short, or empty, and still have a `resume`. */
  list({ domain, after, limit }: ListRequest): ListPage {
    const from = after ?? { message: 0, index: -1 };
    const rowsMax = Math.min(limit, LIST_ROWS_MAX);
    if (domain === null)
      return this.#page(this.#after.all(from.message, from.index, rowsMax), rowsMax);
    const keys = this.#keysOfDomain.all(domain, SCAN_ROWS_MAX + 1);
    return keys.length <= SCAN_ROWS_MAX
      ? this.#listFew(keys, from, rowsMax)
      : this.#listMany(domain, from, rowsMax);
  }

  /** The index has a domain's rows in order of due time, so they are sorted here. */
  #listFew(keys: readonly Key[], from: RecipientKey, rowsMax: number): ListPage {
    const rows = keys
      .filter((key) => compare(key, { message: from.message, n: from.index }) > 0)
      .sort(compare)
      .slice(0, rowsMax)
      .map((key) => this.#one.get(key.message, key.n)!);
    return this.#page(rows, rowsMax);
  }

  /** A domain with many rows is met often when one goes through all. */
  #listMany(domain: string, from: RecipientKey, rowsMax: number): ListPage {
    const end = this.#scanEnd.get(from.message, from.index);
    const last = end ?? { message: Number.MAX_SAFE_INTEGER, n: 0 };
    const rows = this.#scan.all(from.message, from.index, last.message, last.n, domain, rowsMax);
    const page = this.#page(rows, rowsMax);
    if (page.resume !== null || end === undefined) return page;
    return { rows: page.rows, resume: { message: end.message, index: end.n } };
  }

  #page(rows: readonly ListedRow[], rowsMax: number): ListPage {
    const last = rows.at(-1);
    const isFull = last !== undefined && rows.length === rowsMax;
    return {
      rows: rows.map((row) => this.#describe(row)),
      resume: isFull ? { message: last.message, index: last.n } : null,
    };
  }

  #describe(row: ListedRow): QueuedRecipient {
    const receivedAtMs = row.received_ms ?? 0;
    return {
      message: row.message,
      index: row.n,
      address: row.address,
      domain: row.domain,
      reversePath: row.reverse_path ?? '',
      receivedAtMs,
      dueMs: row.due_ms,
      attempts: row.attempts,
      leased: this.#leases.holds(row.message, row.n),
      contentOctets: row.content_octets ?? 0,
      priority: PRIORITIES[rankOf(row.lane)]!,
      tenant: row.tenant ?? '',
      campaign: row.campaign ?? '',
      reason: reasonOf(row, receivedAtMs),
      ...(row.extra === null ? {} : { extra: row.extra }),
    };
  }
}

const compare = (a: Key, b: Key): number => a.message - b.message || a.n - b.n;
