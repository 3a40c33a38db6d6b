/**
 * Addresses that get no mail: for all tenants or for one, because they bounced, complained, or were named
 * by hand. Kept in the ledger, so that a list of millions costs no memory.
 *
 * Invariants
 * - An address is there in lower case, once for each tenant and once for all ('').
 * - Entries <= entriesMax: beyond that nothing is added, by hand or otherwise, until some are removed.
 * - find() costs one look into an index.
 */
import type { Clock } from '../../../runtime/clock.ts';
import type { Ledger } from '../ledger.ts';

export const SUPPRESSION_CAUSES = ['bounce', 'bounce-report', 'complaint', 'hand'] as const;
export type SuppressionCause = (typeof SUPPRESSION_CAUSES)[number];

export interface Suppressed {
  /** In lower case. */
  readonly address: string;
  /** '' is all of them. */
  readonly tenant: string;
  readonly cause: SuppressionCause;
  /** One line: what the host said, or the operator. */
  readonly note: string;
  /** Wall ms. */
  readonly sinceMs: number;
}

export const SUPPRESSION_SCHEMA = [
  `CREATE TABLE IF NOT EXISTS suppression (
     address TEXT NOT NULL, tenant TEXT NOT NULL, cause TEXT NOT NULL, note TEXT NOT NULL,
     sinceMs INTEGER NOT NULL, PRIMARY KEY (address, tenant)) WITHOUT ROWID`,
  'CREATE TABLE IF NOT EXISTS suppression_count (n INTEGER NOT NULL)',
  'INSERT INTO suppression_count SELECT 0 WHERE NOT EXISTS (SELECT * FROM suppression_count)',
  `CREATE TRIGGER IF NOT EXISTS suppression_added AFTER INSERT ON suppression
     BEGIN UPDATE suppression_count SET n = n + 1; END`,
  `CREATE TRIGGER IF NOT EXISTS suppression_removed AFTER DELETE ON suppression
     BEGIN UPDATE suppression_count SET n = n - 1; END`,
] as const;

/** What an entry was first for stays, save that a hand overrules; of the rest the newest holds. */
const PUT = `INSERT INTO suppression SELECT ?, ?, ?, ?, ?
  WHERE (SELECT n FROM suppression_count) < ?
     OR EXISTS (SELECT * FROM suppression WHERE address = ? AND tenant = ?)
  ON CONFLICT DO UPDATE SET cause = excluded.cause, note = excluded.note
    WHERE excluded.cause = 'hand' OR cause <> 'hand'`;

const NOTE_MAX = 500;

export class SuppressionList {
  readonly #ledger: Pick<Ledger, 'run' | 'get' | 'all'>;
  readonly #clock: Clock;
  readonly entriesMax: number;

  constructor(ledger: Pick<Ledger, 'run' | 'get' | 'all'>, clock: Clock, entriesMax: number) {
    this.#ledger = ledger;
    this.#clock = clock;
    this.entriesMax = entriesMax;
  }

  get size(): number {
    return this.#ledger.get<{ n: number }>('SELECT n FROM suppression_count')?.n ?? 0;
  }

  /** @returns what keeps mail of this tenant from the address: its own entry, or that of all; or null */
  find(address: string, tenant: string): Suppressed | null {
    const found = this.#ledger.get<Suppressed>(
      `SELECT * FROM suppression WHERE address = ? AND tenant IN ('', ?)
         ORDER BY tenant DESC LIMIT 1`,
      address.toLowerCase(),
      tenant,
    );
    return found ?? null;
  }

  /** Every entry of the address, that of all tenants first. */
  of(address: string): Suppressed[] {
    return this.#ledger.all<Suppressed>(
      'SELECT * FROM suppression WHERE address = ? ORDER BY tenant',
      address.toLowerCase(),
    );
  }

  /**
   * In order of address and tenant, after `after`.
   * @param tenant null lists every tenant's
   */
  page(
    after: Pick<Suppressed, 'address' | 'tenant'> | null,
    limit: number,
    tenant: string | null,
  ): Suppressed[] {
    const { address = '', tenant: last = '' } = after ?? {};
    return this.#ledger.all<Suppressed>(
      `SELECT * FROM suppression WHERE (address, tenant) > (?, ?) AND (? IS NULL OR tenant = ?)
         ORDER BY address, tenant LIMIT ?`,
      address,
      last,
      tenant,
      tenant,
      limit,
    );
  }

  /**
   * Resolves when it is kept. @returns false when there is no room for it
   * @throws LedgerUnavailable
   */
  async put({ address, tenant, cause, note }: Omit<Suppressed, 'sinceMs'>): Promise<boolean> {
    const key = address.toLowerCase();
    await this.#ledger.run(
      PUT,
      key,
      tenant,
      cause,
      note.slice(0, NOTE_MAX),
      this.#clock.wallMs(),
      this.entriesMax,
      key,
      tenant,
    );
    return this.of(key).some((entry) => entry.tenant === tenant);
  }

  /** @returns whether there was one. @throws LedgerUnavailable */
  async remove(address: string, tenant: string): Promise<boolean> {
    const sql = 'DELETE FROM suppression WHERE address = ? AND tenant = ?';
    return (await this.#ledger.run(sql, address.toLowerCase(), tenant)) > 0;
  }
}
