/**
 * Which domains cost the most: the busiest ROWS_MAX of them, whatever the traffic, by the
 * Space-Saving algorithm (Metwally, Agrawal and El Abbadi 2005). Who is not in the ledger takes the
 * place of the least busy and starts from its count, so that a flood of random names turns over the
 * last rows and leaves the busy ones alone.
 *
 * Invariants: rows.length <= ROWS_MAX; rows are a binary heap by `lookups`, the least at 0, and
 * rows[i].at === i; a domain with more than total / ROWS_MAX lookups is always in it; its true
 * number is between lookups - lookupsOver and lookups.
 */
import { keyToName, nameToText } from './wire/names.ts';

const ROWS_MAX = 1_024;
const UNDERSCORE = 0x5f;
/** Reverse names are one row: an address says nothing of a domain. */
const ARPA = '\u0004arpa\0';

interface Row {
  domain: string;
  at: number;
  lookups: number;
  /** How many of `lookups` may be those of the domain that had this row before. */
  lookupsOver: number;
  packets: number;
  failures: number;
  stale: number;
  upstream: string | null;
  rttMs: number | null;
}

export interface LedgerLine {
  /** Presentation form, with the final dot. */
  readonly domain: string;
  /** Questions of clients; at most `lookupsOver` too many. */
  readonly lookups: number;
  readonly lookupsOver: number;
  /** Sent upstream. */
  readonly packets: number;
  /** SERVFAIL. */
  readonly failures: number;
  readonly stale: number;
  /** Who answered last, and how long that took; null before. */
  readonly upstream: string | null;
  readonly rttMs: number | null;
}

export type LedgerOrder = 'lookups' | 'packets' | 'failures' | 'stale';

export class Ledger {
  readonly #rows: Row[] = [];
  readonly #byDomain = new Map<string, Row>();

  /** A client asked. @param name as nameKey gives it, or a key of the cache, which begins with it */
  countLookup(name: string, outcome: 'answer' | 'stale' | 'failure', lookups = 1): void {
    const row = this.#rowOf(domainOf(name));
    row.lookups += lookups;
    if (outcome === 'failure') row.failures += 1;
    else if (outcome === 'stale') row.stale += 1;
    this.#sink(row);
  }

  /**
   * An exchange has ended.
   * @param wanted clients wait for it, whose lookups are counted next; of others only a domain that is in
   *   the ledger already is told
   */
  countExchange(
    name: string,
    packets: number,
    upstream: string | null,
    rttMs: number,
    wanted: boolean,
  ): void {
    const domain = domainOf(name);
    const row = wanted ? this.#rowOf(domain) : this.#byDomain.get(domain);
    if (row === undefined) return;
    row.packets += packets;
    if (upstream === null) return;
    row.upstream = upstream;
    row.rttMs = rttMs;
  }

  top(limit: number, order: LedgerOrder): readonly LedgerLine[] {
    return this.#rows
      .toSorted((a, b) => b[order] - a[order])
      .slice(0, limit)
      .map(({ at: _at, domain, ...row }) => ({ domain: textOf(domain), ...row }));
  }

  /** @param name as nameKey gives it. @returns null when the domain is not in the ledger */
  line(name: string): LedgerLine | null {
    const row = this.#byDomain.get(domainOf(name));
    if (row === undefined) return null;
    const { at: _at, domain, ...rest } = row;
    return { domain: textOf(domain), ...rest };
  }

  #rowOf(domain: string): Row {
    const known = this.#byDomain.get(domain);
    if (known !== undefined) return known;
    if (this.#rows.length < ROWS_MAX) {
      const row = { ...EMPTY, domain, at: this.#rows.length };
      this.#rows.push(row);
      this.#byDomain.set(domain, row);
      this.#rise(row);
      return row;
    }
    const least = this.#rows[0]!;
    this.#byDomain.delete(least.domain);
    this.#byDomain.set(domain, least);
    const { lookups } = least;
    return Object.assign(least, EMPTY, { domain, at: 0, lookups, lookupsOver: lookups });
  }

  #rise(row: Row): void {
    while (row.at > 0) {
      const parent = this.#rows[(row.at - 1) >> 1]!;
      if (parent.lookups <= row.lookups) return;
      this.#swap(row, parent);
    }
  }

  #sink(row: Row): void {
    for (;;) {
      const left = this.#rows[2 * row.at + 1];
      const right = this.#rows[2 * row.at + 2];
      if (left === undefined) return;
      const lesser = right !== undefined && right.lookups < left.lookups ? right : left;
      if (lesser.lookups >= row.lookups) return;
      this.#swap(row, lesser);
    }
  }

  #swap(one: Row, other: Row): void {
    const { at } = one;
    one.at = other.at;
    other.at = at;
    this.#rows[one.at] = one;
    this.#rows[other.at] = other;
  }
}

const EMPTY = {
  lookups: 0,
  lookupsOver: 0,
  packets: 0,
  failures: 0,
  stale: 0,
  upstream: null,
  rttMs: null,
};

/**
 * What people call the domain: `_mta-sts.example.` and `k1._domainkey.example.` are about `example.`.
 * @returns the name behind the last label that starts with an underscore
 */
export function domainOf(name: string): string {
  let start = 0;
  let at = 0;
  let arpaAt = -1;
  for (let length = name.charCodeAt(0); length > 0; length = name.charCodeAt(at)) {
    if (length === 4 && name.startsWith(ARPA, at)) arpaAt = at;
    const next = at + 1 + length;
    if (name.charCodeAt(at + 1) === UNDERSCORE) start = next;
    at = next;
  }
  return name.slice(arpaAt < 0 ? start : arpaAt, at + 1);
}

function textOf(domain: string): string {
  const text = nameToText(keyToName(domain), 0);
  return typeof text === 'number' ? '?' : text;
}
