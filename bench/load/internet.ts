/**
 * A small internet: 1,000 mail domains on 20 providers, and who writes to whom. Everything follows
 * from a seed, so two runs see the same domains and the same recipients.
 *
 * Invariants
 * - Every domain is on one provider, every provider is one set of MX hosts behind one address: two
 *   domains of one provider have equal routes.
 * - gmail.com takes 67 % of the mail, hotmail.com 9 %, yahoo.com 6 % (KumoMTA's generator), the rest a
 *   Zipf tail. Three of five tail domains are hosted by those three providers.
 */
import type { AuthorityRecord } from './authority.ts';

export interface Provider {
  readonly name: string;
  /** Preference → host name, as its customers' MX RRsets say. */
  readonly hosts: readonly { readonly preference: number; readonly name: string }[];
  /** Where all its hosts are; a loopback address of its own. */
  readonly address: string;
  readonly domains: readonly string[];
}

export interface Internet {
  readonly providers: readonly Provider[];
  /** By weight, heaviest first. */
  readonly domains: readonly string[];
  readonly providerOf: ReadonlyMap<string, Provider>;
  /** For the authority: what each zone holds. */
  readonly zones: ReadonlyMap<string, readonly AuthorityRecord[]>;
  /** @param fraction 0 to 1, uniform; @returns a domain, drawn by weight */
  pick(fraction: number): string;
}

export interface InternetOptions {
  readonly domains: number;
  readonly providers: number;
  /** Second octet of the providers' addresses: 127.x.n.1. */
  readonly network: number;
  /** Name of the domain with the least weight. */
  readonly last?: string;
}

const HEAD = [
  { domain: 'gmail.com', share: 0.67, hosts: googleHosts() },
  {
    domain: 'hotmail.com',
    share: 0.09,
    hosts: [{ preference: 2, name: 'hotmail-com.olc.protection.outlook.com' }],
  },
  { domain: 'yahoo.com', share: 0.06, hosts: yahooHosts() },
] as const;

/** Of ten tail domains, so many are with each head provider; the others are spread over the rest. */
const TAIL_ON_HEAD = [3, 2, 1];
const TAIL_CYCLE = 10;
const MX_TTL_SECONDS = 3600;
const ADDRESS_TTL_SECONDS = 300;

function googleHosts() {
  const name = 'gmail-smtp-in.l.google.com';
  return [5, 10, 20, 30, 40].map((preference, index) => ({
    preference,
    name: index === 0 ? name : `alt${index}.${name}`,
  }));
}

function yahooHosts() {
  return [5, 6, 7].map((number) => ({ preference: 1, name: `mta${number}.am0.yahoodns.net` }));
}

/** "mx1.hosting-a.example": two hosts a provider, as small ones have. */
function hostingHosts(index: number) {
  const letter = String.fromCharCode('a'.charCodeAt(0) + index);
  return [10, 20].map((preference, host) => ({
    preference,
    name: `mx${host + 1}.hosting-${letter}.example`,
  }));
}

export function createInternet(options: InternetOptions): Internet {
  const domains: string[] = HEAD.map(({ domain }) => domain);
  const homes: number[] = HEAD.map((_, index) => index);
  const others = options.providers - HEAD.length;
  const cycle = TAIL_ON_HEAD.flatMap((count, provider) => Array<number>(count).fill(provider));
  for (let rank = 0; domains.length < options.domains; rank += 1) {
    domains.push(`tail-${String(rank + 1).padStart(4, '0')}.example`);
    const turn = rank % TAIL_CYCLE;
    const round = Math.floor(rank / TAIL_CYCLE) * (TAIL_CYCLE - cycle.length);
    homes.push(cycle[turn] ?? HEAD.length + ((round + turn - cycle.length) % others));
  }
  if (options.last !== undefined) domains[domains.length - 1] = options.last;
  const providers = Array.from(
    { length: options.providers },
    (_, index): Provider => ({
      name:
        HEAD[index]?.domain ??
        `hosting-${String.fromCharCode('a'.charCodeAt(0) + index - HEAD.length)}`,
      hosts: HEAD[index]?.hosts ?? hostingHosts(index - HEAD.length),
      address: `127.${options.network}.${index}.1`,
      domains: domains.filter((_domain, at) => homes[at] === index),
    }),
  );
  const providerOf = new Map(domains.map((domain, at) => [domain, providers[homes[at]!]!]));
  return { providers, domains, providerOf, zones: zonesOf(providers), pick: picker(domains) };
}

function zonesOf(providers: readonly Provider[]): Map<string, AuthorityRecord[]> {
  const zones = new Map<string, AuthorityRecord[]>();
  for (const { hosts, address, domains } of providers) {
    for (const { name } of hosts) {
      zones.set(name, [{ name, type: 'A', ttlSeconds: ADDRESS_TTL_SECONDS, address }]);
    }
    for (const domain of domains) {
      zones.set(
        domain,
        hosts.map(({ preference, name }) => ({
          name: domain,
          type: 'MX',
          ttlSeconds: MX_TTL_SECONDS,
          preference,
          exchange: name,
        })),
      );
    }
  }
  return zones;
}

/** Draws by cumulative weight: the head's shares, then 1/rank for the tail. */
function picker(domains: readonly string[]): (fraction: number) => string {
  const head = HEAD.map(({ share }) => share as number);
  const tail = domains.slice(HEAD.length).map((_, index) => 1 / (index + 1));
  const tailShare = 1 - head.reduce((sum, share) => sum + share, 0);
  const tailSum = tail.reduce((sum, weight) => sum + weight, 0);
  let sum = 0;
  const cumulative = [...head, ...tail.map((weight) => (weight / tailSum) * tailShare)].map(
    (share) => (sum += share),
  );
  return (fraction) => {
    let low = 0;
    let high = cumulative.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle]! < fraction) low = middle + 1;
      else high = middle;
    }
    return domains[low]!;
  };
}

const LCG_FACTOR = 1_664_525;
const LCG_STEP = 1_013_904_223;
const UINT32_SPAN = 0x1_0000_0000;

/** Repeatable pseudo-randomness for load: a linear congruential generator, 0 <= x < 1. */
export function seededFraction(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, LCG_FACTOR) + LCG_STEP) >>> 0;
    return state / UINT32_SPAN;
  };
}
