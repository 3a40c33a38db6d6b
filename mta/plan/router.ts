/**
 * From a domain to its route (RFC 5321 §5.1), asking DNS as seldom as its answers allow.
 *
 * Invariants
 * - Only DNS's definite word makes a domain undeliverable; trouble never does, and a domain whose MX
 *   lookup is in trouble is never sent to its own addresses instead.
 * - At most ROUTES_MAX verdicts are kept. One is fresh for ROUTE_MS_MIN to ROUTE_MS_MAX, a negative one
 *   for at most NEGATIVE_MS_MAX.
 * - While DNS has trouble, a route known before goes on serving for STALE_MS_MAX past its time, and DNS
 *   is asked about that domain once in TROUBLE_MS.
 * - One resolution per domain is under way at a time; all who ask share it.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { LRUCache } from 'lru-cache';
import type { MxRdata } from '../../resolver/wire/rdata.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { formatNextHop, mailDomainOf, type NextHop } from '../next-hop.ts';
import { isUnguarded, plainDomain } from '../unguarded.ts';
import { DaneHosts } from './dane.ts';
import type { Dns } from './dns.ts';
import { type Family, type HostResult, Hosts, isUsable, TROUBLE_MS, troubleOf } from './hosts.ts';
import { SiteItinerary } from './itinerary.ts';
import type { Reroutes } from './reroutes.ts';
import { Rollup } from './rollup.ts';
import type { Itinerary, Route, RouteResult, Undeliverable } from './route.ts';
import { requirementsOf, type SecurityParts, type TlsaFault } from './security.ts';
import { type Site, siteOf, type TlsPolicy } from './site.ts';
import type { StsPolicy } from './sts-policy.ts';

export interface RouterParts {
  readonly dns: Dns;
  readonly clock: Clock;
  readonly random: Random;
  /** TCP port of MX hosts. */
  readonly port: number;
  readonly tls: TlsPolicy;
  /** Instead of `tls`, where it differs by domain or host. */
  readonly tlsOf?: (domain: string, ranks: Site['ranks']) => TlsPolicy;
  /** Hold hosts to their TLSA records, where the resolver vouches for the whole chain (RFC 7672). */
  readonly dane?: boolean;
  /** The MTA-STS policy in force (RFC 8461); never rejects. Without it none is asked for. */
  readonly findPolicy?: (domain: string) => Promise<StsPolicy | null>;
  /** Told of each host that an MTA-STS policy does not name, whenever a route is made. */
  readonly onUnnamed?: (domain: string, host: string, policy: StsPolicy) => void;
  /** Told of each host whose TLSA records are of no use, whenever a route is made. */
  readonly onTlsaFault?: (domain: string, host: string, fault: TlsaFault) => void;
  /** Our own name, as in EHLO. */
  readonly hostname: string;
  /** Where we take mail ourselves, wildcards already replaced by the addresses they stand for. */
  readonly own: readonly Endpoint[];
  /** Families to look up and to connect to, preferred first. */
  readonly families: readonly Family[];
  /** Where operators send mail instead. To be followed by forget() when it changes. */
  readonly reroutes?: Reroutes;
}

const ROUTES_MAX = 200_000;
/** Below this an MX TTL buys nothing but queries. */
const ROUTE_MS_MIN = 60_000;
const ROUTE_MS_MAX = 86_400_000;
const NEGATIVE_MS_MAX = 3_600_000;
const STALE_MS_MAX = 86_400_000;
/** Where MTA-STS is honoured: how long a change of policy may go unseen. */
const POLICY_MS_MAX = 3_600_000;
/** MX hosts of a domain that are considered, best first. */
const EXCHANGES_MAX = 32;

interface Entry {
  readonly result: RouteResult;
  /** Monotonic ms. */
  readonly freshUntilMs: number;
  readonly staleUntilMs: number;
}

/** What the MX lookup, or the want of one, says; addresses not yet considered. */
type Exchanges =
  | {
      readonly kind: 'exchanges';
      readonly ranks: readonly (readonly string[])[];
      readonly origin: Route['origin'];
      readonly authenticated: boolean;
      readonly freshUntilMs: number;
      /** In place of that of MX hosts. */
      readonly port?: number;
    }
  | Exclude<RouteResult, { kind: 'route' }>;

export class Router {
  readonly #parts: RouterParts;
  readonly #hostname: string;
  readonly #own: ReadonlySet<string>;
  readonly #hosts: Hosts;
  readonly #rollup = new Rollup();
  readonly #security: SecurityParts;
  readonly #dane: DaneHosts;
  readonly #entries = new LRUCache<string, Entry>({ max: ROUTES_MAX });
  readonly #underWay = new Map<string, Promise<RouteResult>>();
  /** Raised by forget(): what was asked before counts no more. */
  #edition = 0;

  constructor(parts: RouterParts) {
    this.#parts = parts;
    this.#hostname = bareName(parts.hostname);
    this.#own = new Set(parts.own.map(({ address, port }) => ownKey(address, port)));
    this.#hosts = new Hosts(parts);
    this.#dane = new DaneHosts(parts.dns, parts.clock);
    this.#security = {
      findPolicy: parts.findPolicy ?? null,
      ...(parts.onUnnamed === undefined ? {} : { onUnnamed: parts.onUnnamed }),
      ...(parts.onTlsaFault === undefined ? {} : { onTlsaFault: parts.onTlsaFault }),
      findTlsa: parts.dane === true ? (host) => this.#dane.find(host, parts.port) : null,
      findHost: (host) => this.#find(host),
    };
  }

  /** What is known and fresh, without asking; null when route() would have to ask. */
  peek(domain: string): RouteResult | null {
    const entry = this.#entries.get(domain);
    return entry !== undefined && this.#nowMs() < entry.freshUntilMs ? entry.result : null;
  }

  /**
   * Never rejects.
   *
   * @param domain A-labels in lower case without final dot, or an address literal; {@link unguarded} ones
   *   are routed as if there were neither DANE nor MTA-STS
   */
  route(domain: string): Promise<RouteResult> {
    const fresh = this.peek(domain);
    if (fresh !== null) return Promise.resolve(fresh);
    const shared = this.#underWay.get(domain);
    if (shared !== undefined) return shared;
    const resolution = this.#resolve(domain).finally(() => this.#underWay.delete(domain));
    this.#underWay.set(domain, resolution);
    return resolution;
  }

  /** What operators say of next hops has changed: what `concerns` is looked for anew. @returns its domains */
  forget(concerns: (domain: string, result: RouteResult) => boolean): string[] {
    this.#edition += 1;
    const domains: string[] = [];
    for (const [domain, { result }] of this.#entries) {
      if (concerns(domain, result)) domains.push(domain);
    }
    for (const domain of domains) this.#entries.delete(domain);
    return domains;
  }

  /** Trouble with the domain, which was trouble with the name `about`, is over: it is asked for anew. */
  forgetTrouble(domain: string, about: string | null): void {
    if (this.#entries.peek(domain)?.result.kind === 'trouble') this.#entries.delete(domain);
    if (about === null) return;
    this.#hosts.forgetTrouble(about);
    this.#dane.forgetTrouble(about);
  }

  /** A walk over the addresses of a site, for one connection attempt. */
  itinerary(site: Site): Itinerary {
    return new SiteItinerary({
      site,
      random: this.#parts.random,
      find: (host) => this.#find(host),
      findTlsa: (host) => this.#dane.find(host, site.port),
      isOwn: (address, port) => this.#own.has(ownKey(address, port)),
      verdictUntilMs: this.#nowMs() + ROUTE_MS_MIN,
    });
  }

  /** @param host of a site's ranks; never rejects */
  addressesOf(host: string): HostResult | Promise<HostResult> {
    return this.#find(host);
  }

  #nowMs(): number {
    return this.#parts.clock.monotonicMs();
  }

  #find(host: string): HostResult | Promise<HostResult> {
    const literal = parseLiteral(host);
    if (literal === null) return this.#hosts.find(host);
    return isUsable(literal)
      ? { kind: 'addresses', addresses: [literal], authenticated: false }
      : { kind: 'none' };
  }

  async #resolve(key: string): Promise<RouteResult> {
    const edition = this.#edition;
    const hop = this.#parts.reroutes?.ofDomain(plainDomain(key)) ?? null;
    const result = hop === null ? await this.#asDnsSays(key) : await this.#toHop(key, hop);
    // An operator has changed a next hop meanwhile.
    if (edition !== this.#edition) return this.#resolve(key);
    return this.#remember(key, result);
  }

  async #asDnsSays(key: string): Promise<RouteResult> {
    const domain = plainDomain(key);
    const exchanges = domain.startsWith('[')
      ? this.#literalExchanges(domain)
      : await this.#mxExchanges(domain);
    const result = await this.#verdict(key, exchanges);
    if (result.kind !== 'route') return result;
    const hop = this.#parts.reroutes?.ofSite(result.route.site) ?? null;
    return hop === null ? result : this.#toHop(key, hop);
  }

  /** Whatever is wrong with a next hop is the operator's mistake: mail waits for it, and never comes back. */
  async #toHop(key: string, { host, port }: NextHop): Promise<RouteResult> {
    const result = await this.#verdict(key, {
      kind: 'exchanges',
      ranks: [[host]],
      origin: 'operator',
      // The operator vouches for the name, as DNSSEC would for an MX.
      authenticated: true,
      freshUntilMs: this.#nowMs() + ROUTE_MS_MAX,
      port: port ?? this.#parts.port,
    });
    if (result.kind !== 'undeliverable') return result;
    const text = `the next hop ${formatNextHop({ host, port })} that an operator chose: ${result.text}`;
    return { kind: 'trouble', reachable: true, text };
  }

  /** Drops ourselves, and makes sure that the site has an address to begin with. */
  async #verdict(key: string, exchanges: Exchanges): Promise<RouteResult> {
    if (exchanges.kind !== 'exchanges') return exchanges;
    const domain = plainDomain(key);
    const { origin, authenticated } = exchanges;
    const freshUntilMs = this.#policedUntilMs(exchanges);
    const ownRank = exchanges.ranks.findIndex((rank) => rank.includes(this.#hostname));
    const ranks = ownRank === -1 ? exchanges.ranks : exchanges.ranks.slice(0, ownRank);
    if (ranks.length === 0) {
      const text = `mail loops back to this server: ${this.#hostname} is the best MX host of ${domain}`;
      return { kind: 'undeliverable', code: 'loop', enhanced: '5.4.6', text, freshUntilMs };
    }
    const port = exchanges.port ?? this.#parts.port;
    const configured = this.#parts.tlsOf?.(mailDomainOf(domain), ranks) ?? this.#parts.tls;
    const requirements = isUnguarded(key)
      ? { kind: 'requirements' as const, ranks, tls: configured, dane: false }
      : await requirementsOf(
          { domain, ranks, authenticated, tls: configured },
          // MTA-STS speaks of the domain's MX hosts (RFC 8461 §4).
          origin === 'operator' ? { ...this.#security, findPolicy: null } : this.#security,
        );
    if (requirements.kind === 'trouble') return requirements;
    const { tls, dane } = requirements;
    const own = siteOf({ ranks: requirements.ranks, port, tls, dane, source: '' });
    const first = await this.itinerary(own).next();
    if (first.kind === 'undeliverable' || first.kind === 'trouble') return first;
    // Only MX names are a provider's; a domain's own name stays its own.
    const asIs = tls === 'verify' || dane || origin !== 'mx';
    const site = asIs ? own : this.#rolledUp(own);
    const route = { domain, site, origin, authenticated };
    return { kind: 'route', route, freshUntilMs, stale: false };
  }

  #policedUntilMs({ freshUntilMs, origin }: Exchanges & { kind: 'exchanges' }): number {
    if (this.#parts.findPolicy === undefined || origin === 'literal') return freshUntilMs;
    return Math.min(freshUntilMs, this.#nowMs() + POLICY_MS_MAX);
  }

  /** Under the names that stand for its hosts; known by now, as the itinerary has looked them up. */
  #rolledUp(site: Site): Site {
    const ranks = this.#rollup.ranksOf(site.ranks, (host) => {
      const found = this.#find(host);
      return 'kind' in found && found.kind === 'addresses' ? found.addresses : null;
    });
    return ranks === site.ranks ? site : siteOf({ ...site, ranks });
  }

  #literalExchanges(domain: string): Exchanges {
    const freshUntilMs = this.#nowMs() + ROUTE_MS_MAX;
    const address = parseLiteral(domain);
    if (address === null) {
      const text = `${domain} is no address literal (RFC 5321 §4.1.3)`;
      return noSuchDomain('5.1.3', text, freshUntilMs);
    }
    // One spelling for one address, so that it is one site.
    const host = isIP(address) === 6 ? `[ipv6:${address}]` : `[${address}]`;
    return {
      kind: 'exchanges',
      ranks: [[host]],
      origin: 'literal',
      authenticated: false,
      freshUntilMs,
    };
  }

  async #mxExchanges(domain: string): Promise<Exchanges> {
    const lookup = await this.#parts.dns.mx(domain);
    switch (lookup.kind) {
      case 'answer': {
        const freshUntilMs = this.#freshUntilMs(lookup.ttlSeconds, ROUTE_MS_MAX);
        const ranks = ranksOf(lookup.records);
        if (ranks.length === 0) return nullMx(domain, freshUntilMs);
        const { authenticated } = lookup;
        return { kind: 'exchanges', ranks, origin: 'mx', authenticated, freshUntilMs };
      }
      case 'nodata': {
        const freshUntilMs = this.#freshUntilMs(lookup.ttlSeconds, NEGATIVE_MS_MAX);
        const ranks = [[domain]];
        const authenticated = false;
        return { kind: 'exchanges', ranks, origin: 'implicit', authenticated, freshUntilMs };
      }
      case 'nxdomain': {
        const freshUntilMs = this.#freshUntilMs(lookup.ttlSeconds, NEGATIVE_MS_MAX);
        return noSuchDomain('5.1.2', `the domain ${domain} does not exist`, freshUntilMs);
      }
      case 'trouble':
        return troubleOf(domain, lookup, `MX of ${domain}`);
    }
  }

  #freshUntilMs(ttlSeconds: number, freshMsMax: number): number {
    return this.#nowMs() + Math.min(Math.max(ttlSeconds * 1000, ROUTE_MS_MIN), freshMsMax);
  }

  /** @returns the verdict to go by: the new one, or while DNS has trouble the route known before */
  #remember(domain: string, result: RouteResult): RouteResult {
    const entry = this.#entryOf(domain, result);
    this.#entries.set(domain, entry);
    return entry.result;
  }

  #entryOf(domain: string, result: RouteResult): Entry {
    if (result.kind !== 'trouble') {
      const { freshUntilMs } = result;
      return { result, freshUntilMs, staleUntilMs: freshUntilMs + STALE_MS_MAX };
    }
    const nowMs = this.#nowMs();
    const freshUntilMs = nowMs + TROUBLE_MS;
    const known = this.#entries.peek(domain);
    if (known?.result.kind !== 'route' || nowMs >= known.staleUntilMs) {
      return { result, freshUntilMs, staleUntilMs: freshUntilMs };
    }
    const stale = { ...known.result, freshUntilMs, stale: true };
    return { result: stale, freshUntilMs, staleUntilMs: known.staleUntilMs };
  }
}

/**
 * MX hosts by rising preference, equal ones together; empty for a null MX (RFC 7505 §3), which is a
 * root alone. A root beside true hosts is a mistake that harms nobody, so it is passed over.
 */
function ranksOf(records: readonly MxRdata[]): string[][] {
  const hosts = records
    .map(({ preference, exchange }) => ({ preference, host: bareName(exchange) }))
    .filter(({ host }) => host !== '')
    .sort((a, b) => a.preference - b.preference || (a.host < b.host ? -1 : 1))
    .slice(0, EXCHANGES_MAX);
  const ranks = new Map<number, string[]>();
  for (const { preference, host } of hosts) {
    const rank = ranks.get(preference);
    if (rank === undefined) ranks.set(preference, [host]);
    else rank.push(host);
  }
  return [...ranks.values()];
}

/** Lower case, without final dot; '' is the root. */
const bareName = (name: string): string => name.toLowerCase().replace(/\.$/, '');

function nullMx(domain: string, freshUntilMs: number): Undeliverable {
  const text = `the domain ${domain} takes no mail (null MX)`;
  return { kind: 'undeliverable', code: 'null-mx', enhanced: '5.1.10', text, freshUntilMs };
}

const noSuchDomain = (enhanced: string, text: string, freshUntilMs: number): Undeliverable => ({
  kind: 'undeliverable',
  code: 'no-such-domain',
  enhanced,
  text,
  freshUntilMs,
});

/** @returns the address of "[192.0.2.1]" or "[IPv6:2001:db8::1]" (RFC 5321 §4.1.3) in its shortest form, or null */
function parseLiteral(text: string): string | null {
  const [, tag, address] = /^\[(ipv6:)?([0-9a-f.:]+)\]$/i.exec(text) ?? [];
  if (address === undefined || isIP(address) !== (tag === undefined ? 4 : 6)) return null;
  return ipaddr.parse(address).toString();
}

/** ::ffff:192.0.2.1 and 192.0.2.1 are one address. */
const ownKey = (address: string, port: number): string =>
  `${ipaddr.process(address).toString()} ${port}`;
