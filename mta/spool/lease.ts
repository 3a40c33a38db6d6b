/**
 * Handing out due work. One walker goes through the rows of each lane of the requested domains in the
 * order they fall due, beginning behind what is leased already; they take turns, see rounds.ts.
 *
 * Cost of a lease: a seek for each lane of the requested domains of which nothing is known from an earlier
 * one, and then what is handed out.
 */
import type Database from 'better-sqlite3';
import { type MessageId, PRIORITIES } from '../envelope.ts';
import type { DueRow, Queue } from './due-order.ts';
import type { Handout, RecipientRow } from './handout.ts';
import { type Lanes, rankOf, type Tenants, tenantIdOf } from './lanes.ts';
import type { Leases } from './leases.ts';
import { Rounds } from './rounds.ts';
import {
  type Lease,
  type LeasedMessage,
  type LeaseRequest,
  MESSAGE_RECIPIENTS_MAX,
  type MessageRequest,
} from './spool.ts';
import { type DueStatement, prepareDue, Walker } from './walker.ts';

/**
 * Rows of one message that are looked through for companions. A message with more recipients than this
 * may leave some of a site's for the next transaction.
 */
const COMPANION_ROWS_MAX = 256;
/** Requests whose turn is remembered. Forgetting one costs fairness for one lease. */
const TURNS_MAX = 65_536;

const URGENT = PRIORITIES.indexOf('urgent');

export interface LessorParts {
  readonly leases: Leases;
  readonly handout: Handout;
  readonly lanes: Lanes;
  readonly tenants: Tenants;
}

export class Lessor {
  readonly #leases: Leases;
  readonly #handout: Handout;
  readonly #due: DueStatement;
  readonly #row: Database.Statement<[MessageId, number], RecipientRow>;
  readonly #rowsOfMessage: Database.Statement<[MessageId, number, number], RecipientRow>;
  readonly #lanes: Lanes;
  readonly #tenants: Tenants;
  /** First domain of a request → which of its walkers has the next turn. */
  readonly #turns = new Map<string, number>();

  constructor(db: Database.Database, { leases, handout, lanes, tenants }: LessorParts) {
    this.#leases = leases;
    this.#handout = handout;
    this.#lanes = lanes;
    this.#tenants = tenants;
    this.#due = prepareDue(db);
    this.#row = db.prepare('SELECT * FROM recipients WHERE message = ? AND n = ?');
    this.#rowsOfMessage = db.prepare(
      'SELECT * FROM recipients WHERE message = ? AND n >= ? ORDER BY n LIMIT ?',
    );
  }

  lease(request: LeaseRequest): Lease {
    const domains = new Set(request.domains);
    const queues = this.#queuesOf(domains, request);
    const share = Math.ceil(request.messagesMax / Math.max(queues.length, 1));
    // One more than its share, so that the walk ends knowing what is due next.
    const walkers = queues.map((queue) => new Walker(queue, this.#leases, this.#due, share + 1));
    const messages = this.#serveInTurn(walkers, request, domains);
    const nextDueMs = new Map<string, number | null>();
    for (const domain of domains) nextDueMs.set(domain, null);
    for (const walker of walkers) {
      const { domain } = walker;
      const dueMs = walker.finish();
      if (dueMs === null) {
        if (walker.empty) this.#lanes.emptied(domain, walker.lane);
        continue;
      }
      nextDueMs.set(domain, Math.min(dueMs, nextDueMs.get(domain) ?? dueMs));
    }
    return { messages, nextDueMs };
  }

  leaseMessage({ message, index }: MessageRequest): LeasedMessage | null {
    const rows = this.#rowsOfMessage
      .all(message, index ?? 0, index === null ? MESSAGE_RECIPIENTS_MAX : 1)
      .filter(({ n }) => (index === null || n === index) && !this.#leases.holds(message, n));
    const found = rows.length === 0 ? null : this.#handout.read(message);
    return found === null ? null : this.#handout.hold(message, found, rows);
  }

  #queuesOf(domains: ReadonlySet<string>, request: LeaseRequest): Queue[] {
    const { urgentOnly = false, heldTenants = [] } = request;
    const held = new Set(heldTenants.map((name) => this.#tenants.find(name)));
    const queues: Queue[] = [];
    for (const domain of domains) {
      for (const lane of this.#lanes.of(domain)) {
        if (urgentOnly && rankOf(lane) !== URGENT) continue;
        if (held.size === 0 || !held.has(tenantIdOf(lane))) queues.push({ domain, lane });
      }
    }
    return queues;
  }

  #serveInTurn(
    walkers: readonly Walker[],
    request: LeaseRequest,
    domains: ReadonlySet<string>,
  ): LeasedMessage[] {
    const first = walkers[0]?.domain ?? '';
    const turn = (this.#turns.get(first) ?? 0) % Math.max(walkers.length, 1);
    const rounds = new Rounds([...walkers.slice(turn), ...walkers.slice(0, turn)]);
    const messages: LeasedMessage[] = [];
    let octetsLeft = Number.POSITIVE_INFINITY;
    let walker = rounds.next();
    while (walker !== null && messages.length < request.messagesMax) {
      const row = walker.peek();
      if (row === null || row.due_ms > request.nowMs) {
        rounds.drop();
        walker = rounds.next();
        continue;
      }
      const found = this.#handout.read(row.message);
      if (found === null) {
        for (const one of walkers) one.reread();
        continue;
      }
      if (found.content.length > octetsLeft) break;
      const rows = this.#withCompanions(row, found.recipients, request, domains);
      messages.push(this.#handout.hold(row.message, found, rows));
      octetsLeft = (messages.length === 1 ? request.bytesMax : octetsLeft) - found.content.length;
      rounds.served();
      walker = rounds.next();
    }
    this.#keepTurn(first, walker === null ? 0 : walkers.indexOf(walker));
    return messages;
  }

  /** The row, and other due recipients of its message that the same transaction can serve. */
  #withCompanions(
    row: DueRow,
    accepted: number,
    { nowMs, recipientsMax }: LeaseRequest,
    domains: ReadonlySet<string>,
  ): RecipientRow[] {
    const { message, n } = row;
    if (accepted === 1) return [this.#row.get(message, n)!];
    // What stands before it has mostly been leased by now; where there is little to look at, look.
    const from = accepted <= COMPANION_ROWS_MAX ? 0 : n;
    const rows: RecipientRow[] = [];
    let room = recipientsMax - 1;
    for (const other of this.#rowsOfMessage.all(message, from, COMPANION_ROWS_MAX)) {
      if (other.n === n) {
        rows.push(other);
      } else if (
        room > 0 &&
        other.due_ms <= nowMs &&
        domains.has(other.domain) &&
        !this.#leases.holds(message, other.n)
      ) {
        rows.push(other);
        room -= 1;
      }
    }
    return rows;
  }

  #keepTurn(first: string, turn: number): void {
    if (this.#turns.size >= TURNS_MAX) this.#turns.clear();
    this.#turns.set(first, turn);
  }
}
