/**
 * Which MX hosts are one and the same. Some providers give every customer an MX name of its own
 * (example-com.mail.protection.outlook.com): a site for each would have a queue, limits and connections
 * for each, against the same servers. Names below one parent with the same addresses are learnt to be
 * one host, under the name that was met first.
 *
 * Invariants
 * - Two names are taken for one only while DNS gives them the very same set of addresses.
 * - Where the certificate must match the MX name, nothing is rolled up: the name matters there.
 */
import { LRUCache } from 'lru-cache';
import type { Site } from './site.ts';

/** Groups of addresses remembered; beyond that the one that was not asked for longest is forgotten. */
const GROUPS_MAX = 20_000;
/** A name directly below a top-level domain has no siblings of its own. */
const PARENT_LABELS_MIN = 2;

export class Rollup {
  /** "parent addresses" → the name that stands for all. */
  readonly #names = new LRUCache<string, string>({ max: GROUPS_MAX });

  /**
   * @param addressesOf what DNS says of a host of the first rank; null when that is not known
   * @returns the ranks with each host of the first replaced by the one that stands for it
   */
  ranksOf(
    ranks: Site['ranks'],
    addressesOf: (host: string) => readonly string[] | null,
  ): Site['ranks'] {
    const [first = [], ...rest] = ranks;
    let changed = false;
    const stand = first.map((host) => {
      const name = this.#standIn(host, addressesOf(host));
      changed ||= name !== host;
      return name;
    });
    return changed ? [stand, ...rest] : ranks;
  }

  #standIn(host: string, addresses: readonly string[] | null): string {
    const parent = host.slice(host.indexOf('.') + 1);
    if (addresses === null || addresses.length === 0 || host.startsWith('[')) return host;
    if (parent.split('.').length < PARENT_LABELS_MIN) return host;
    const key = `${parent} ${addresses.toSorted().join(' ')}`;
    const known = this.#names.get(key);
    if (known !== undefined) return known;
    this.#names.set(key, host);
    return host;
  }
}
