/** The limits that come with the program, and which of them the configuration outranks. */
import type { MtaConfig } from './config.ts';
import { communityProviders, LIMIT_NAMES, limitText } from './plan/shaping.ts';

export interface CommunityLimit {
  readonly provider: string;
  /** As in [mta.shaping]. */
  readonly name: string;
  readonly value: string;
  /** The setting that holds instead; null when this one does. */
  readonly outrankedBy: string | null;
}

/** In the order of the file; none where the configuration leaves them out. */
export function communityLimits({ shaping, written }: MtaConfig): CommunityLimit[] {
  if (!shaping.community) return [];
  return Object.entries(communityProviders()).flatMap(([provider, limits]) =>
    LIMIT_NAMES.filter((name) => limits[name] !== undefined).map((name) => {
      const isConfigured = shaping.provider[provider]?.[name] !== undefined;
      const general = name === 'retry' ? 'mta.retry' : `mta.delivery.${name}`;
      const outrankedBy = isConfigured
        ? `mta.shaping.provider.${provider}.${name}`
        : written?.has(name) === true
          ? general
          : null;
      return { provider, name, value: limitText(limits[name]), outrankedBy };
    }),
  );
}
