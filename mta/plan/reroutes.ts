/** Where operators send the mail of domains and sites instead; each until it is taken back, also across a restart. */
import { KeptList } from '../kept-list.ts';
import { type NextHop, nextHopOf, parseNextHop } from '../next-hop.ts';
import type { Reroute, RerouteScope } from '../running.ts';
import type { Site } from './site.ts';

const keyOf = ({ scope, name }: Pick<Reroute, 'scope' | 'name'>): string => `${scope} ${name}`;

export class Reroutes {
  readonly #kept: KeptList<Reroute>;

  /** @param path null keeps them in memory. @throws the system's error, or SyntaxError for a damaged file */
  constructor(path: string | null) {
    this.#kept = new KeptList<Reroute>(path, keyOf);
  }

  list(): readonly Reroute[] {
    return this.#kept.list();
  }

  /** @param domain that recipients are routed by. @returns null when DNS decides */
  ofDomain(domain: string): NextHop | null {
    return nextHopOf(domain) ?? this.#find('domain', domain);
  }

  /** A site is named by its alias or its id. */
  ofSite({ alias, id }: Pick<Site, 'alias' | 'id'>): NextHop | null {
    return this.#find('site', alias) ?? this.#find('site', id);
  }

  /** @throws as KeptList.put() */
  put(reroute: Reroute): void {
    this.#kept.put(reroute);
  }

  /** Idempotent. @throws the system's error; then nothing changed */
  remove(scope: RerouteScope, name: string): void {
    this.#kept.remove(keyOf({ scope, name }));
  }

  #find(scope: RerouteScope, name: string): NextHop | null {
    if (this.#kept.size === 0) return null;
    const found = this.#kept.find(keyOf({ scope, name }));
    return found === null ? null : parseNextHop(found.to);
  }
}
