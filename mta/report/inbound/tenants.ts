/** The names of tenants behind the tags in reverse-paths; kept in the ledger, for tags outlive the process. */
import type { Ledger } from '../ledger.ts';
import { NO_TENANT, tenantTag } from './verp.ts';

export const TENANTS_MAX = 100_000;

export const TENANT_SCHEMA = [
  'CREATE TABLE IF NOT EXISTS tenant_tag (tag TEXT PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID',
] as const;

export class TenantNames {
  readonly #ledger: Pick<Ledger, 'run'>;
  readonly #names = new Map<string, string>();

  constructor(ledger: Pick<Ledger, 'run' | 'all'>) {
    this.#ledger = ledger;
    const rows = ledger.all<{ tag: string; name: string }>(
      'SELECT * FROM tenant_tag LIMIT ?',
      TENANTS_MAX,
    );
    for (const { tag, name } of rows) this.#names.set(tag, name);
  }

  /** Mail of the tenant goes out under its tag. */
  note(tenant: string): void {
    const tag = tenantTag(tenant);
    if (tag === NO_TENANT || this.#names.has(tag) || this.#names.size >= TENANTS_MAX) return;
    this.#names.set(tag, tenant);
    const sql = 'INSERT INTO tenant_tag VALUES (?, ?) ON CONFLICT DO NOTHING';
    // Lost, it is written again when the tenant sends again after a restart.
    this.#ledger.run(sql, tag, tenant).catch(() => this.#names.delete(tag));
  }

  /** @returns '' for nobody in particular, and for a tag that nobody has */
  nameOf(tag: string): string {
    return this.#names.get(tag) ?? '';
  }
}
