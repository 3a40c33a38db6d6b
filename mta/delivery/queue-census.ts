/**
 * Where mail waits: recipients in the spool by the site that they will go to.
 *
 * Invariants
 * - A census looks at ROWS_MAX entries at most, in pages between which others have their turn; beyond
 *   that it says so. One is under way at a time.
 * - A domain counts for the site that has it, else for the one that its route leads to or led to last.
 */
import { LRUCache } from 'lru-cache';
import { MESSAGE_EPOCH_MS, MESSAGES_PER_MS } from '../envelope.ts';
import type { QueueCensus, SiteLoad } from '../running.ts';
import type { Spool } from '../spool/spool.ts';

const ROWS_MAX = 100_000;
const PAGE_ROWS_MAX = 5_000;
/** Domains whose last site is remembered. */
const HOMES_MAX = 50_000;

export class Census {
  readonly #spool: Spool;
  readonly #siteOf: (domain: string) => string | null;
  readonly #homes = new LRUCache<string, string>({ max: HOMES_MAX });
  #underWay: Promise<QueueCensus> | null = null;

  /** @param siteOf alias of the site of a domain, where one is known now */
  constructor(spool: Spool, siteOf: (domain: string) => string | null) {
    this.#spool = spool;
    this.#siteOf = siteOf;
  }

  /** @throws SpoolUnavailable */
  take(): Promise<QueueCensus> {
    this.#underWay ??= this.#take().finally(() => {
      this.#underWay = null;
    });
    return this.#underWay;
  }

  async #take(): Promise<QueueCensus> {
    const loads = new Map<string | null, SiteLoad>();
    let after: string | null = null;
    let rows = 0;
    do {
      const page = await this.#spool.census({ after, rowsMax: PAGE_ROWS_MAX });
      for (const { domain, recipients, oldest, isMore } of page.domains) {
        const alias = this.#home(domain);
        const oldestMs = MESSAGE_EPOCH_MS + Math.floor(oldest / MESSAGES_PER_MS);
        loads.set(alias, joined(loads.get(alias), { alias, recipients, oldestMs, isMore }));
        rows += recipients;
      }
      after = page.resume;
    } while (after !== null && rows < ROWS_MAX);
    const sites = [...loads.values()].sort((one, other) => other.recipients - one.recipients);
    return { sites, isMore: after !== null };
  }

  #home(domain: string): string | null {
    const alias = this.#siteOf(domain);
    if (alias === null) return this.#homes.get(domain) ?? null;
    this.#homes.set(domain, alias);
    return alias;
  }
}

const joined = (before: SiteLoad | undefined, load: SiteLoad): SiteLoad =>
  before === undefined
    ? load
    : {
        alias: load.alias,
        recipients: before.recipients + load.recipients,
        oldestMs: Math.min(before.oldestMs, load.oldestMs),
        isMore: before.isMore || load.isMore,
      };
