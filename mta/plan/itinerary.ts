/**
 * One walk over the addresses of a site, for one connection attempt.
 *
 * Invariants
 * - Ranks in order; within a rank, hosts in random order, so that equal hosts share the load
 *   (RFC 5321 §5.1). A rank is looked up when its turn comes, not before.
 * - From the rank in which an address is our own, it and all after it are dropped: their hosts would
 *   send the mail back to us (RFC 5321 §5.1).
 * - At most TARGETS_MAX addresses, of one host at most HOST_TARGETS_MAX.
 */
import type { Random } from '../../runtime/random.ts';
import type { DaneResult } from './dane.ts';
import type { HostResult } from './hosts.ts';
import type { DnsTrouble, Itinerary, NextTarget, Target, Undeliverable } from './route.ts';
import type { Site } from './site.ts';

/** Postfix tries five; two more families and ranks deserve a few beyond that. */
const TARGETS_MAX = 8;
const HOST_TARGETS_MAX = 3;

export interface ItineraryParts {
  readonly site: Site;
  readonly random: Random;
  /** Addresses of a host of the site: of a name from DNS, of a literal from itself. */
  readonly find: (host: string) => HostResult | Promise<HostResult>;
  /** TLSA records of a host of the site; asked only where the site says DANE. */
  readonly findTlsa: (host: string) => DaneResult | Promise<DaneResult>;
  readonly isOwn: (address: string, port: number) => boolean;
  /** Monotonic ms until which a verdict of "no address" may be reused. */
  readonly verdictUntilMs: number;
}

export class SiteItinerary implements Itinerary {
  readonly #parts: ItineraryParts;
  #rank = 0;
  #queue: Target[] = [];
  #handedOut = 0;
  #lastHost = '';
  #trouble: DnsTrouble | null = null;
  #loop = false;

  constructor(parts: ItineraryParts) {
    this.#parts = parts;
  }

  async next(): Promise<NextTarget> {
    const { ranks } = this.#parts.site;
    while (this.#handedOut < TARGETS_MAX) {
      const target = this.#queue.shift();
      if (target !== undefined) {
        this.#handedOut += 1;
        this.#lastHost = target.host;
        return { kind: 'target', target };
      }
      // With the resolver gone, further ranks would only cost as long again.
      const resolverGone = this.#trouble?.reachable === false;
      if (this.#loop || resolverGone || this.#rank >= ranks.length) break;
      await this.#enterRank(ranks[this.#rank]!);
      this.#rank += 1;
    }
    return this.#end();
  }

  skipHost(useless = this.#lastHost): void {
    this.#queue = this.#queue.filter(({ host }) => host !== useless);
  }

  async #enterRank(hosts: readonly string[]): Promise<void> {
    const { site, random, find, isOwn } = this.#parts;
    const results = await Promise.all(hosts.map(find));
    const demands = await Promise.all(hosts.map((host, at) => this.#demandOf(host, results[at]!)));
    const byHost: Target[][] = [];
    for (const [index, result] of results.entries()) {
      if (result.kind === 'trouble') this.#trouble = result;
      if (result.kind !== 'addresses') continue;
      const host = hosts[index]!;
      const demand = demands[index]!;
      if ('kind' in demand) {
        this.#trouble = demand;
        continue;
      }
      this.#loop ||= result.addresses.some((address) => isOwn(address, site.port));
      byHost.push(
        result.addresses
          .slice(0, HOST_TARGETS_MAX)
          .map((address) => ({ host, address, port: site.port, rank: this.#rank, ...demand })),
      );
    }
    this.#queue = this.#loop ? [] : shuffle(byHost, random).flat();
  }

  /** What DANE asks of a host beyond the site's policy; trouble bars it (RFC 7672 §2.1.2). */
  async #demandOf(
    host: string,
    result: HostResult,
  ): Promise<Pick<Target, 'tls' | 'tlsa'> | DnsTrouble> {
    const { site, findTlsa } = this.#parts;
    if (!site.dane || result.kind !== 'addresses' || !result.authenticated) return {};
    const found = await findTlsa(host);
    if (found.kind === 'trouble') return found;
    if (found.kind === 'none') return {};
    if (found.usable.length > 0) return { tls: 'dane', tlsa: found.usable };
    return { tls: site.tls === 'verify' ? 'verify' : 'require' };
  }

  #end(): NextTarget {
    if (this.#handedOut > 0) return { kind: 'exhausted' };
    if (this.#trouble !== null) return this.#trouble;
    return this.#loop ? this.#refusal('loop') : this.#refusal('no-address');
  }

  #refusal(code: 'loop' | 'no-address'): Undeliverable {
    const hosts = this.#parts.site.ranks.flat();
    const named = hosts.length === 1 ? hosts[0] : `${hosts[0]} and ${hosts.length - 1} more`;
    const freshUntilMs = this.#parts.verdictUntilMs;
    const enhanced = code === 'loop' ? '5.4.6' : '5.4.4';
    const text =
      code === 'loop'
        ? `mail loops back to this server: it is the best MX host itself (${named})`
        : `no MX host has an address (${named})`;
    return { kind: 'undeliverable', code, enhanced, text, freshUntilMs };
  }
}

/** Fisher and Yates, in place. */
export function shuffle<Item>(items: Item[], random: Random): Item[] {
  for (let last = items.length - 1; last > 0; last -= 1) {
    const other = random.integer(last + 1);
    const swapped = items[last]!;
    items[last] = items[other]!;
    items[other] = swapped;
  }
  return items;
}
