/**
 * What each message may cost a site: the limits that hold for it, and who set them.
 *
 *   built-in defaults < community < [mta.delivery] and [mta] retry, where written < provider < site < domain
 *
 * Invariants
 * - Each limit comes from the most specific level that sets it, for the domain of the message at hand,
 *   never for whichever domain made the site known. What an operator wrote, at whatever level, outranks
 *   what comes with the program.
 * - Messages with equal limits share one {@link Limits} object: identity is equality.
 * - A limit is shared by its scope: a provider's by all of its sites, a site's and the defaults by one
 *   site, a domain's by that domain's mail.
 */
import { readFileSync } from 'node:fs';
import { LRUCache } from 'lru-cache';
import { parse } from 'smol-toml';
import { z } from 'zod';
import { formatDuration } from '../../runtime/settings.ts';
import type { MtaConfig } from '../config.ts';
import type { ExplainedLimit } from '../running.ts';
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

export type ShapingSettings = Pick<MtaConfig, 'retry' | 'written'> & {
  readonly delivery: Pick<
    MtaConfig['delivery'],
    'connections' | 'messages_per_connection' | 'recipients_per_message' | 'tls'
  >;
  readonly shaping: ShapingConfig;
};

interface Provider {
  readonly name: string;
  readonly configured: LimitsConfig;
  readonly community: LimitsConfig;
}

interface Level {
  /** Among whom its limits count. */
  readonly scope: string;
  /** Who says so, for people. */
  readonly source: string;
  readonly limits: LimitsConfig;
}

/** Sites whose limits are remembered. */
const SITES_MAX = 50_000;

export class Shaping {
  /** By host name, and by suffix with a leading dot. */
  readonly #providers = new Map<string, Provider>();
  readonly #sites: ReadonlyMap<string, LimitsConfig>;
  readonly #domains: ReadonlyMap<string, LimitsConfig>;
  /** General limits that the operator wrote. */
  readonly #written: LimitsConfig;
  readonly #defaults: LimitsConfig;
  /** Site id → limits of its domains without a table of their own. */
  readonly #general = new LRUCache<string, Limits>({ max: SITES_MAX });
  /** "site id domain" → limits of a domain that has a table. */
  readonly #special = new LRUCache<string, Limits>({ max: SITES_MAX });

  /** @param community limits that come with the program; see {@link communityProviders} */
  constructor(settings: ShapingSettings, community: Readonly<Record<string, ProviderConfig>> = {}) {
    const { shaping } = settings;
    this.#sites = byName(shaping.site);
    this.#domains = byName(shaping.domain);
    const { delivery, retry } = settings;
    this.#defaults = {
      connections: delivery.connections,
      messages_per_connection: delivery.messages_per_connection,
      recipients_per_message: delivery.recipients_per_message,
      tls: delivery.tls,
      retry,
    };
    this.#written = writtenOf(this.#defaults, settings.written ?? new Set());
    const names = new Set([...Object.keys(community), ...Object.keys(shaping.provider)]);
    for (const name of names) this.#addProvider(name, community[name], shaping.provider[name]);
  }

  /** The limits for mail to `domain` at `site`; of the site as a whole when domain is null. */
  limitsOf(site: Site, domain: string | null): Limits {
    const special = domain === null ? undefined : this.#domains.get(domain);
    if (special === undefined) {
      const known = this.#general.get(site.id);
      if (known !== undefined) return known;
      const limits = this.#merge(this.#levels(site, null));
      this.#general.set(site.id, limits);
      return limits;
    }
    const key = `${site.id} ${domain}`;
    const known = this.#special.get(key);
    if (known !== undefined) return known;
    const limits = this.#merge(this.#levels(site, domain));
    this.#special.set(key, limits);
    return limits;
  }

  /** Part of what a site is, so it is asked before there is one. */
  tlsOf(domain: string, ranks: Site['ranks']): TlsPolicy {
    const levels = this.#levels({ ranks, id: '' }, domain);
    return levels.find(({ limits }) => limits.tls !== undefined)!.limits.tls!;
  }

  /** Which limits hold for mail to `domain` at `site`, and who set each. */
  explain(site: Site, domain: string): ExplainedLimit[] {
    const levels = this.#levels(site, domain);
    return LIMIT_NAMES.flatMap((name) => {
      const level = levels.find(({ limits }) => limits[name] !== undefined);
      if (level === undefined) return [];
      return [{ name, value: limitText(level.limits[name]), source: level.source }];
    });
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
    const provider = { name, configured: configuredLimits, community: communityLimits };
    for (const pattern of configuredMx.length > 0 ? configuredMx : communityMx) {
      this.#providers.set(pattern.toLowerCase().replace(/^\*(?=\.)/, ''), provider);
    }
  }

  #merge(levels: readonly Level[]): Limits {
    const first = <Key extends keyof LimitsConfig>(key: Key) =>
      levels.find(({ limits }) => limits[key] !== undefined);
    const { scope, limits } = first('connections')!;
    const rate = first('messages_per_second');
    const perSecond = rate?.limits.messages_per_second ?? 0;
    return {
      connections: { max: limits.connections!, scope },
      messagesPerSecond: perSecond === 0 ? null : { max: perSecond, scope: rate!.scope },
      messagesPerConnection: first('messages_per_connection')!.limits.messages_per_connection!,
      recipientsPerMessage: first('recipients_per_message')!.limits.recipients_per_message!,
      retryMs: first('retry')!.limits.retry!,
    };
  }

  /** Most specific first; the last sets all that has a default. @param domain null: of the site as a whole */
  #levels({ ranks, id }: Pick<Site, 'ranks' | 'id'>, domain: string | null): Level[] {
    const levels: Level[] = [];
    const ofSite = `site ${id}`;
    const special = domain === null ? undefined : this.#domains.get(domain);
    if (special !== undefined) {
      const source = `mta.shaping.domain."${domain}"`;
      levels.push({ scope: `domain ${domain}`, source, limits: special });
    }
    for (const host of ranks.flat()) {
      const limits = this.#sites.get(host);
      if (limits === undefined) continue;
      levels.push({ scope: ofSite, source: `mta.shaping.site."${host}"`, limits });
    }
    const provider = this.#findProvider(ranks);
    const scope = `provider ${provider?.name}`;
    if (provider !== null) {
      const source = `mta.shaping.provider.${provider.name}`;
      levels.push({ scope, source, limits: provider.configured });
    }
    levels.push({ scope: ofSite, source: 'mta.delivery, mta.retry', limits: this.#written });
    if (provider !== null) {
      const source = `community limits of ${provider.name}`;
      levels.push({ scope, source, limits: provider.community });
    }
    levels.push({ scope: ofSite, source: 'default', limits: this.#defaults });
    return levels;
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

export const LIMIT_NAMES = [
  'connections',
  'messages_per_connection',
  'messages_per_second',
  'recipients_per_message',
  'tls',
  'retry',
] as const satisfies readonly (keyof LimitsConfig)[];

const writtenOf = (defaults: LimitsConfig, written: ReadonlySet<string>): LimitsConfig =>
  Object.fromEntries(Object.entries(defaults).filter(([name]) => written.has(name)));

/** As [mta.shaping] would have it. */
export const limitText = (value: LimitsConfig[keyof LimitsConfig]): string =>
  Array.isArray(value) ? value.map((ms: number) => formatDuration(ms)).join(' ') : String(value);

const byName = (table: Readonly<Record<string, LimitsConfig>>): Map<string, LimitsConfig> =>
  new Map(Object.entries(table).map(([name, limits]) => [name.toLowerCase(), limits]));

/** The file that comes with the program. @throws when it is missing or wrong: an error of the package */
export function communityProviders(): Readonly<Record<string, ProviderConfig>> {
  const text = readFileSync(new URL('./community.toml', import.meta.url), 'utf8');
  return z.strictObject({ provider: z.record(z.string(), providerSchema) }).parse(parse(text))
    .provider;
}
