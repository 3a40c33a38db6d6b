/**
 * Counts TLS sessions by policy domain and UTC day, as RFC 8460 wants them told, and keeps the counts in
 * the ledger.
 *
 * Invariants
 * - What is counted reaches the ledger within FLUSH_MS; a crash costs no more than that.
 * - Domains of a day <= DOMAINS_MAX; what is beyond is not counted, and that is logged.
 * - Details of a domain's failures <= DETAILS_MAX a day; beyond them failures are told by type alone.
 */
import type { Clock, Timer } from '../../../runtime/clock.ts';
import type { Log } from '../../../runtime/log.ts';
import type { Ledger, SqlValue, Statement } from '../ledger.ts';
import type { AppliedPolicy, TlsFailure, TlsOutcome } from './outcome.ts';

export const DAY_MS = 86_400_000;
const FLUSH_MS = 10_000;
export const DOMAINS_MAX = 100_000;
export const DETAILS_MAX = 100;
/** Rows of one report: more than a domain can have, save when its day began anew after restarts. */
const ROWS_MAX = 5_000;

/** failure is '' for sessions that succeeded, else TlsFailure in JSON. */
export const TALLY_SCHEMA = [
  `CREATE TABLE IF NOT EXISTS tls_tally (
     day INTEGER NOT NULL, domain TEXT NOT NULL, policy TEXT NOT NULL, failure TEXT NOT NULL,
     sessions INTEGER NOT NULL, PRIMARY KEY (day, domain, policy, failure)) WITHOUT ROWID`,
] as const;

const ADD = `INSERT INTO tls_tally VALUES (?, ?, ?, ?, ?)
  ON CONFLICT DO UPDATE SET sessions = sessions + excluded.sessions`;

/** What a report is made of. */
export interface PolicyTally {
  readonly policy: AppliedPolicy;
  readonly successes: number;
  readonly failures: readonly { readonly failure: TlsFailure; readonly sessions: number }[];
}

export interface TallyDeps {
  readonly ledger: Pick<Ledger, 'run' | 'all'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** The UTC day of an instant, in days since the epoch. */
export const dayOf = (wallMs: number): number => Math.floor(wallMs / DAY_MS);

export class TlsTally {
  readonly #deps: TallyDeps;
  #day: number;
  /** Domains of the day so far, each with the details of its failures. */
  readonly #domains = new Map<string, Set<string>>();
  /** Not in the ledger yet, by day, domain, policy and failure. */
  #pending = new Map<string, { readonly row: readonly SqlValue[]; sessions: number }>();
  #timer: Timer | null = null;
  #flushing: Promise<void> = Promise.resolve();
  #overflow = false;

  constructor(deps: TallyDeps) {
    this.#deps = deps;
    this.#day = dayOf(deps.clock.wallMs());
    this.#recall();
  }

  note({ domain, policy, failure }: TlsOutcome): void {
    this.#turnDay();
    const details = this.#detailsOf(domain);
    if (details === null) return;
    const row = [
      this.#day,
      domain,
      JSON.stringify(policy),
      failure === null ? '' : this.#detail(details, failure),
    ];
    const key = row.join('\n');
    const pending = this.#pending.get(key);
    if (pending === undefined) this.#pending.set(key, { row, sessions: 1 });
    else pending.sessions += 1;
    this.#arm();
  }

  /** Writes what is counted. Never rejects: what cannot be written now is tried again. */
  flush(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
    this.#flushing = this.#flushing.then(() => this.#write());
    return this.#flushing;
  }

  async close(): Promise<void> {
    await this.flush();
    this.#timer?.cancel();
  }

  /** Days before `day` that have something to tell, the oldest first. */
  daysBefore(day: number): number[] {
    return this.#deps.ledger
      .all<{ day: number }>('SELECT DISTINCT day FROM tls_tally WHERE day < ? ORDER BY day', day)
      .map((row) => row.day);
  }

  /** In order of name, after `after`. */
  domains(day: number, after: string, limit: number): string[] {
    return this.#deps.ledger
      .all<{ domain: string }>(
        'SELECT DISTINCT domain FROM tls_tally WHERE day = ? AND domain > ? ORDER BY domain LIMIT ?',
        day,
        after,
        limit,
      )
      .map(({ domain }) => domain);
  }

  of(day: number, domain: string): PolicyTally[] {
    const rows = this.#deps.ledger.all<{ policy: string; failure: string; sessions: number }>(
      `SELECT policy, failure, sessions FROM tls_tally WHERE day = ? AND domain = ?
         ORDER BY policy, failure LIMIT ?`,
      day,
      domain,
      ROWS_MAX,
    );
    return [...Map.groupBy(rows, ({ policy }) => policy)].map(([policy, group]) => ({
      policy: JSON.parse(policy) as AppliedPolicy,
      successes: group.find(({ failure }) => failure === '')?.sessions ?? 0,
      failures: group
        .filter(({ failure }) => failure !== '')
        .map(({ failure, sessions }) => ({
          failure: JSON.parse(failure) as TlsFailure,
          sessions,
        })),
    }));
  }

  /** A report was made of it, or nobody wants one. @throws LedgerUnavailable */
  async forget(day: number, domain: string): Promise<void> {
    await this.#deps.ledger.run('DELETE FROM tls_tally WHERE day = ? AND domain = ?', day, domain);
  }

  /** @throws LedgerUnavailable */
  async forgetDay(day: number): Promise<void> {
    await this.#deps.ledger.run('DELETE FROM tls_tally WHERE day = ?', day);
  }

  /** Of the day before a restart, so that its bounds hold across it. */
  #recall(): void {
    const rows = this.#deps.ledger.all<{ domain: string; failure: string }>(
      'SELECT DISTINCT domain, failure FROM tls_tally WHERE day = ?',
      this.#day,
    );
    for (const { domain, failure } of rows) {
      const details = this.#domains.get(domain) ?? new Set();
      if (failure !== '') details.add(failure);
      this.#domains.set(domain, details);
    }
  }

  #turnDay(): void {
    const day = dayOf(this.#deps.clock.wallMs());
    if (day === this.#day) return;
    this.#day = day;
    this.#domains.clear();
    this.#overflow = false;
  }

  #detailsOf(domain: string): Set<string> | null {
    const known = this.#domains.get(domain);
    if (known !== undefined) return known;
    if (this.#domains.size >= DOMAINS_MAX) {
      if (!this.#overflow) {
        this.#deps.log.warn({ domains: DOMAINS_MAX }, 'more domains than TLS reports are kept for');
      }
      this.#overflow = true;
      return null;
    }
    const details = new Set<string>();
    this.#domains.set(domain, details);
    return details;
  }

  #detail(details: Set<string>, failure: TlsFailure): string {
    const detail = JSON.stringify(failure);
    if (details.has(detail)) return detail;
    if (details.size >= DETAILS_MAX) {
      return JSON.stringify({ ...failure, host: '', address: '', localAddress: '', reason: '' });
    }
    details.add(detail);
    return detail;
  }

  #arm(): void {
    this.#timer ??= this.#deps.clock.after(FLUSH_MS, () => void this.flush());
  }

  async #write(): Promise<void> {
    const pending = this.#pending;
    this.#pending = new Map();
    const writes = [...pending].map(async ([key, { row, sessions }]) => {
      try {
        await this.#deps.ledger.run(...([ADD, ...row, sessions] satisfies Statement));
      } catch {
        const since = this.#pending.get(key);
        if (since === undefined) this.#pending.set(key, { row, sessions });
        else since.sessions += sessions;
      }
    });
    await Promise.all(writes);
    if (this.#pending.size > 0) this.#arm();
  }
}
