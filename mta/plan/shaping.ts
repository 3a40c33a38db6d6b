/**
 * What each message may cost a site: the limits that hold for it, and who set them.
 *
 *   defaults ([mta.delivery], [mta] retry) < provider < site < domain
 *
 * Invariants
 * - Each limit comes from the most specific level that sets it, for the domain of the message at hand,
 *   never for whichever domain made the site known.
 * - Messages with equal limits share one {@link Limits} object: identity is equality.
 * - A limit is shared by its scope: a provider's by all of its sites, a site's and the defaults by one
 *   site, a domain's by that domain's mail.
 */
import { readFileSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { parse } from 'smol-toml';
import { z } from 'zod';
import type { MtaConfig } from '../config.ts';
import {
  type LimitsConfig,
  type ProviderConfig,
  providerSchema,
  type ShapingConfig,
} from './shaping-schema.ts';
import type { Site, TlsPolicy } from './site.ts';

/** A limit that is counted, and among whom. */
export interface Shared {
  readonly max: number;
  /** "site …", "provider google" or "domain example.org". */
  readonly scope: string;
}

export interface Limits {
  readonly connections: Shared;
  /** null: as fast as it goes. */
  readonly messagesPerSecond: Shared | null;
  readonly messagesPerConnection: number;
  readonly recipientsPerMessage: number;
  readonly retryMs: readonly number[];
}

export type ShapingSettings = Pick<MtaConfig, 'retry'> & {
  readonly delivery: Pick<
    MtaConfig['delivery'],
    'connections' | 'messages_per_connection' | 'recipients_per_message' | 'tls'
  >;
  readonly shaping: ShapingConfig;
};

interface Provider {
  readonly name: string;
  readonly limits: LimitsConfig;
}

interface Level {
  readonly scope: string;
  readonly limits: LimitsConfig;
}

/** Sites whose limits are remembered. */
const SITES_MAX = 50_000;

export class Shaping {
  readonly #settings: ShapingSettings;
  /** By host name, and by suffix with a leading dot. */
  readonly #providers = new Map<string, Provider>();
  readonly #sites: ReadonlyMap<string, LimitsConfig>;
  readonly #domains: ReadonlyMap<string, LimitsConfig>;
  /** Site id → limits of its domains without a table of their own. */
  readonly #general = new LRUCache<string, Limits>({ max: SITES_MAX });
  /** "site id domain" → limits of a domain that has a table. */
  readonly #special = new LRUCache<string, Limits>({ max: SITES_MAX });

  /** @param community limits that come with the program; see {@link communityProviders} */
  constructor(settings: ShapingSettings, community: Readonly<Record<string, ProviderConfig>> = {}) {
    this.#settings = settings;
    const { shaping } = settings;
    this.#sites = byName(shaping.site);
    this.#domains = byName(shaping.domain);
    const names = new Set([...Object.keys(community), ...Object.keys(shaping.provider)]);
    for (const name of names) this.#addProvider(name, community[name], shaping.provider[name]);
  }

  /** The limits for mail to `domain` at `site`; of the site as a whole when domain is null. */
  limitsOf(site: Site, domain: string | null): Limits {
    const special = domain === null ? undefined : this.#domains.get(domain);
    if (special === undefined) {
      const known = this.#general.get(site.id);
      if (known !== undefined) return known;
      const limits = this.#merge(site, []);
      this.#general.set(site.id, limits);
      return limits;
    }
    const key = `${site.id} ${domain}`;
    const known = this.#special.get(key);
    if (known !== undefined) return known;
    const limits = this.#merge(site, [{ scope: `domain ${domain}`, limits: special }]);
    this.#special.set(key, limits);
    return limits;
  }

  /** Part of what a site is, so it is asked before there is one. */
  tlsOf(domain: string, ranks: Site['ranks']): TlsPolicy {
    const ofDomain = this.#domains.get(domain)?.tls;
    if (ofDomain !== undefined) return ofDomain;
    for (const { limits } of this.#levels(ranks, '')) {
      if (limits.tls !== undefined) return limits.tls;
    }
    return this.#settings.delivery.tls;
  }

  /** @returns the provider of these MX hosts, null when none is known */
  providerOf(ranks: Site['ranks']): string | null {
    return this.#findProvider(ranks)?.name ?? null;
  }

  #addProvider(
    name: string,
    community: ProviderConfig | undefined,
    configured: ProviderConfig | undefined,
  ): void {
    const { mx: communityMx = [], ...communityLimits } = community ?? {};
    const { mx: configuredMx = [], ...configuredLimits } = configured ?? {};
    const provider = { name, limits: { ...communityLimits, ...configuredLimits } };
    for (const pattern of configuredMx.length > 0 ? configuredMx : communityMx) {
      this.#providers.set(pattern.toLowerCase().replace(/^\*(?=\.)/, ''), provider);
    }
  }

  #merge(site: Site, special: readonly Level[]): Limits {
    const { delivery, retry } = this.#settings;
    const levels = [...special, ...this.#levels(site.ranks, site.id)];
    const scopeOfSite = `site ${site.id}`;
    const first = <Key extends keyof LimitsConfig>(key: Key) =>
      levels.find(({ limits }) => limits[key] !== undefined);
    const connections = first('connections');
    const rate = first('messages_per_second');
    const perSecond = rate?.limits.messages_per_second ?? 0;
    return {
      connections: {
        max: connections?.limits.connections ?? delivery.connections,
        scope: connections?.scope ?? scopeOfSite,
      },
      messagesPerSecond:
        perSecond === 0 ? null : { max: perSecond, scope: rate?.scope ?? scopeOfSite },
      messagesPerConnection:
        first('messages_per_connection')?.limits.messages_per_connection ??
        delivery.messages_per_connection,
      recipientsPerMessage:
        first('recipients_per_message')?.limits.recipients_per_message ??
        delivery.recipients_per_message,
      retryMs: first('retry')?.limits.retry ?? retry,
    };
  }

  /** Most specific first. */
  *#levels(ranks: Site['ranks'], siteId: string): Generator<Level> {
    for (const host of ranks.flat()) {
      const limits = this.#sites.get(host);
      if (limits !== undefined) yield { scope: `site ${siteId}`, limits };
    }
    const provider = this.#findProvider(ranks);
    if (provider !== null) yield { scope: `provider ${provider.name}`, limits: provider.limits };
  }

  /** By the hosts of the best rank: backup MX hosts are often somebody else's. */
  #findProvider(ranks: Site['ranks']): Provider | null {
    for (const host of ranks[0] ?? []) {
      const exact = this.#providers.get(host);
      if (exact !== undefined) return exact;
      for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
        const provider = this.#providers.get(host.slice(dot));
        if (provider !== undefined) return provider;
      }
    }
    return null;
  }
}

const byName = (table: Readonly<Record<string, LimitsConfig>>): Map<string, LimitsConfig> =>
  new Map(Object.entries(table).map(([name, limits]) => [name.toLowerCase(), limits]));

/** The file that comes with the program. @throws when it is missing or wrong: an error of the package */
export function communityProviders(): Readonly<Record<string, ProviderConfig>> {
  const text = readFileSync(new URL('./community.toml', import.meta.url), 'utf8');
  return z.strictObject({ provider: z.record(z.string(), providerSchema) }).parse(parse(text))
    .provider;
}
