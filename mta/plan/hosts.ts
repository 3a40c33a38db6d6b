/**
 * Addresses of MX hosts: each name is looked up once for all the domains whose mail it takes.
 *
 * Invariants
 * - At most HOSTS_MAX names are kept. A name's addresses are fresh for HOST_MS_MIN to HOST_MS_MAX.
 * - While DNS has trouble, addresses known before go on serving for STALE_MS_MAX past their time, and
 *   DNS is asked about that name once in TROUBLE_MS.
 * - A name has no addresses only when DNS said so for every family that we use.
 */
import ipaddr from 'ipaddr.js';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';
import type { Dns } from './dns.ts';
import type { Lookup, Trouble } from './dns-answer.ts';
import type { DnsTrouble } from './route.ts';

export type Family = 4 | 6;

export type HostResult =
  /** One or more, usable for a connection; in order of the families, as DNS gave them within each. */
  | {
      readonly kind: 'addresses';
      readonly addresses: readonly string[];
      /** The resolver vouches for every one of them (AD). */
      readonly authenticated: boolean;
    }
  /** DNS says that there are none. */
  | { readonly kind: 'none' }
  | DnsTrouble;

const HOSTS_MAX = 50_000;
/** Below this a TTL is somebody's load balancing; asking more often buys nothing but queries. */
const HOST_MS_MIN = 60_000;
const HOST_MS_MAX = 86_400_000;
/** As long as a day of DNS outage; mail servers seldom move meanwhile. */
const STALE_MS_MAX = 86_400_000;
/** The resolver itself remembers failures for 5 s (RFC 9520). */
export const TROUBLE_MS = 5_000;
/** Addresses of one host and family that are kept. */
const ADDRESSES_MAX = 32;

interface Entry {
  readonly result: HostResult;
  /** Monotonic ms. */
  readonly freshUntilMs: number;
  readonly staleUntilMs: number;
}

export interface HostsParts {
  readonly dns: Dns;
  readonly clock: Clock;
  /** Address families to look up, preferred first; not empty. */
  readonly families: readonly Family[];
}

export class Hosts {
  readonly #dns: Dns;
  readonly #clock: Clock;
  readonly #families: readonly Family[];
  readonly #entries = new LRUCache<string, Entry>({ max: HOSTS_MAX });
  readonly #underWay = new Map<string, Promise<HostResult>>();

  constructor({ dns, clock, families }: HostsParts) {
    this.#dns = dns;
    this.#clock = clock;
    this.#families = families;
  }

  /** @param name in lower case without final dot */
  find(name: string): HostResult | Promise<HostResult> {
    const entry = this.#entries.get(name);
    if (entry !== undefined && this.#clock.monotonicMs() < entry.freshUntilMs) return entry.result;
    const shared = this.#underWay.get(name);
    if (shared !== undefined) return shared;
    const lookup = this.#ask(name).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, lookup);
    return lookup;
  }

  /** Trouble with the name is over: it is asked for anew. */
  forgetTrouble(name: string): void {
    if (this.#entries.peek(name)?.result.kind === 'trouble') this.#entries.delete(name);
  }

  async #ask(name: string): Promise<HostResult> {
    const lookups = await Promise.all(
      this.#families.map((family) => this.#dns.addresses(name, family)),
    );
    const entry = this.#entryOf(name, lookups);
    this.#entries.set(name, entry);
    return entry.result;
  }

  #entryOf(name: string, lookups: readonly Lookup<string>[]): Entry {
    const nowMs = this.#clock.monotonicMs();
    const known = this.#entries.peek(name);
    const trouble = lookups.find((lookup) => lookup.kind === 'trouble');
    const addresses = lookups.flatMap(usableAddresses);
    if (addresses.length === 0 && trouble !== undefined) {
      const freshUntilMs = nowMs + TROUBLE_MS;
      // What is known stays; its staleUntilMs keeps counting from when it was learnt.
      if (known?.result.kind === 'addresses' && nowMs < known.staleUntilMs) {
        return { ...known, freshUntilMs };
      }
      return { result: troubleOf(name, trouble), freshUntilMs, staleUntilMs: freshUntilMs };
    }
    // Addresses of one family will do, but the other is asked for again soon.
    const freshMs = trouble === undefined ? freshnessMs(lookups) : HOST_MS_MIN;
    const freshUntilMs = nowMs + freshMs;
    const result: HostResult =
      addresses.length > 0
        ? { kind: 'addresses', addresses, authenticated: lookups.every(isVouchedFor) }
        : { kind: 'none' };
    return { result, freshUntilMs, staleUntilMs: freshUntilMs + STALE_MS_MAX };
  }
}

function freshnessMs(lookups: readonly Lookup<string>[]): number {
  let ttlSeconds = Number.POSITIVE_INFINITY;
  for (const lookup of lookups) {
    // A missing AAAA with a short negative TTL shall not make us ask for the A as often.
    if (lookup.kind === 'answer') ttlSeconds = Math.min(ttlSeconds, lookup.ttlSeconds);
  }
  if (ttlSeconds === Number.POSITIVE_INFINITY) {
    for (const lookup of lookups) {
      if (lookup.kind !== 'trouble') ttlSeconds = Math.min(ttlSeconds, lookup.ttlSeconds);
    }
  }
  return Math.min(Math.max(ttlSeconds * 1000, HOST_MS_MIN), HOST_MS_MAX);
}

const isVouchedFor = (lookup: Lookup<string>): boolean =>
  lookup.kind !== 'answer' || lookup.authenticated;

function usableAddresses(lookup: Lookup<string>): readonly string[] {
  if (lookup.kind !== 'answer') return [];
  return [...new Set(lookup.records.slice(0, ADDRESSES_MAX).filter(isUsable))];
}

/** 0.0.0.0 and :: would reach ourselves, multicast and broadcast nobody. */
export function isUsable(address: string): boolean {
  const range = ipaddr.process(address).range();
  return range !== 'unspecified' && range !== 'multicast' && range !== 'broadcast';
}

/** @param what was looked up, in words */
export function troubleOf(name: string, trouble: Trouble, what = name): DnsTrouble {
  return {
    kind: 'trouble',
    reachable: trouble.cause !== 'unreachable',
    text: `looking up ${what}: ${trouble.text}`,
    about: name,
  };
}
