/**
 * Which settings may change while the resolver runs, and what differs between two configurations. A
 * change is taken as a whole or not at all.
 */
import { changedKeys } from '../runtime/changes.ts';
import type { ResolverConfig } from './config.ts';

/** Settings that are built into a forwarder: a change makes a new one, and exchanges end on the old. */
const FORWARDER_KEYS: ReadonlySet<string> = new Set([
  'upstreams',
  'selection',
  'spill',
  'spill_budget',
  'forward',
  'tls_ca',
  'mix_case',
  'cookies',
  'hedge',
  'budget',
  'upstream_budget',
  'deadline',
  'clients',
]);

/** What else takes effect at once; all that is in neither set needs a restart. */
const LIVE_KEYS: ReadonlySet<string> = new Set([
  'stale',
  'stale_after',
  'stale_recheck',
  'stale_ttl',
  'in_flight',
  'local',
  'local_ttl',
  'hosts',
  'block',
  'private_reverse',
  'bundles',
  'ipv6',
  'bounce_guard',
  'uncap',
  'query_log',
  'dnsbl.zones',
  'dnsbl.in_flight',
  'cache.min_ttl',
  'cache.max_ttl',
  'cache.max_negative_ttl',
  'cache.failure_ttl',
  'cache.types',
  'cache.prefetch',
]);

/** Some change needs a restart, so nothing was changed. */
export class ReloadRefused extends Error {
  override readonly name = 'ReloadRefused';
  readonly code = 'RESOLVER_RELOAD_REFUSED';
  readonly keys: readonly string[];
  constructor(keys: readonly string[]) {
    super(`nothing was changed: a restart is needed for ${keys.join(', ')}`);
    this.keys = keys;
  }
}

export interface Changes {
  /** "resolver.cache.max_ttl", in the order of the schema. */
  readonly keys: readonly string[];
  readonly needsForwarder: boolean;
}

/** @throws ReloadRefused */
export function changesBetween(old: ResolverConfig, next: ResolverConfig): Changes {
  const keys = changedKeys(old, next);
  const fixed = keys.filter((key) => !LIVE_KEYS.has(key) && !FORWARDER_KEYS.has(key));
  if (fixed.length > 0) throw new ReloadRefused(fixed.map(fullName));
  return {
    keys: keys.map(fullName),
    needsForwarder: keys.some((key) => FORWARDER_KEYS.has(key)),
  };
}

const fullName = (key: string): string => `resolver.${key}`;
