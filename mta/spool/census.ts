/**
 * How much waits for each domain, and since when.
 *
 * Invariant: a page looks at rowsMax entries of one index at most, and at no message: 10,000 entries
 * are 1 ms. A domain with more than that is counted as far as that, and said to be.
 */
import type Database from 'better-sqlite3';
import type { MessageId } from '../envelope.ts';
import type { CensusPage, CensusRequest, DomainLoad } from './spool.ts';

interface Counted {
  recipients: number;
  oldest: MessageId | null;
}

export class Census {
  readonly #nextDomain: Database.Statement<[string], string>;
  readonly #count: Database.Statement<[string, number], Counted>;

  constructor(db: Database.Database) {
    this.#nextDomain = db
      .prepare<[string], string>(
        'SELECT domain FROM recipients WHERE domain > ? ORDER BY domain LIMIT 1',
      )
      .pluck();
    this.#count = db.prepare(
      `SELECT count(*) AS recipients, min(message) AS oldest
       FROM (SELECT message FROM recipients WHERE domain = ? LIMIT ?)`,
    );
  }

  /** Domains in order of name, as many as rowsMax entries allow, one at least. */
  page({ after, rowsMax }: CensusRequest): CensusPage {
    const domains: DomainLoad[] = [];
    let looked = 0;
    let domain = this.#nextDomain.get(after ?? '');
    while (domain !== undefined && looked < rowsMax) {
      const { recipients, oldest } = this.#count.get(domain, rowsMax)!;
      looked += recipients;
      domains.push({ domain, recipients, oldest: oldest!, isMore: recipients === rowsMax });
      domain = this.#nextDomain.get(domain);
    }
    return { domains, resume: domain === undefined ? null : domains.at(-1)!.domain };
  }
}
