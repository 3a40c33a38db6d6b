/**
 * Handing out due work. One walker goes through the rows of each requested domain in the order they
 * fall due, beginning behind what is leased already; the walkers take turns, one message each.
 *
 * Cost of a lease: a seek for each requested domain, and then what is handed out.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import type { Handout, RecipientRow } from './handout.ts';
import type { Leases } from './leases.ts';
import type { Lease, LeasedMessage, LeaseRequest } from './spool.ts';
import { type DueRow, type DueStatement, prepareDue, READ_AHEAD_MAX, Walker } from './walker.ts';

/**
 * Rows of one message that are looked through for companions. A message with more recipients than this
 * may leave some of a site's for the next transaction.
 */
const COMPANION_ROWS_MAX = 256;
/** Requests whose turn is remembered. Forgetting one costs fairness for one lease. */
const TURNS_MAX = 65_536;

export class Lessor {
  readonly #leases: Leases;
  readonly #handout: Handout;
  readonly #due: DueStatement;
  readonly #row: Database.Statement<[MessageId, number], RecipientRow>;
  readonly #rowsOfMessage: Database.Statement<[MessageId, number, number], RecipientRow>;
  /** First domain of a request → which of its domains has the next turn. */
  readonly #turns = new Map<string, number>();

  constructor(db: Database.Database, leases: Leases, handout: Handout) {
    this.#leases = leases;
    this.#handout = handout;
    this.#due = prepareDue(db);
    this.#row = db.prepare('SELECT * FROM recipients WHERE message = ? AND n = ?');
    this.#rowsOfMessage = db.prepare(
      'SELECT * FROM recipients WHERE message = ? AND n >= ? ORDER BY n LIMIT ?',
    );
  }

  lease(request: LeaseRequest): Lease {
    const domains = new Set(request.domains);
    const share = Math.ceil(request.messagesMax / Math.max(domains.size, 1));
    // One more than its share, so that the walk ends knowing what is due next.
    const readAhead = Math.min(share + 1, READ_AHEAD_MAX);
    const walkers = [...domains].map(
      (domain) => new Walker(domain, this.#leases, this.#due, readAhead),
    );
    const messages = this.#serveInTurn(walkers, request, domains);
    const nextDueMs = new Map<string, number | null>();
    for (const walker of walkers) nextDueMs.set(walker.domain, walker.finish());
    return { messages, nextDueMs };
  }

  #serveInTurn(
    walkers: readonly Walker[],
    request: LeaseRequest,
    domains: ReadonlySet<string>,
  ): LeasedMessage[] {
    const first = walkers[0]?.domain ?? '';
    const turn = (this.#turns.get(first) ?? 0) % Math.max(walkers.length, 1);
    // Who was served queues up again; who has nothing due does not.
    const queue = [...walkers.slice(turn), ...walkers.slice(0, turn)];
    const messages: LeasedMessage[] = [];
    let octetsLeft = Number.POSITIVE_INFINITY;
    let at = 0;
    while (at < queue.length && messages.length < request.messagesMax) {
      const walker = queue[at]!;
      const row = walker.peek();
      if (row === null || row.due_ms > request.nowMs) {
        at += 1;
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
      queue.push(walker);
      at += 1;
    }
    this.#keepTurn(first, at < queue.length ? walkers.indexOf(queue[at]!) : 0);
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
