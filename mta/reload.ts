/**
 * Which settings of the mta may change while it runs, and the one place where the configuration in force
 * changes. A change is taken as a whole or not at all; for all other settings there is `postilion
 * upgrade`, which loses nothing either.
 */
import { changedKeys } from '../runtime/changes.ts';
import type { MtaConfig } from './config.ts';
import { ReloadRefused } from './errors.ts';

/** Each is read anew whenever it matters. Tables of names are one setting. */
const LIVE_KEYS = [
  'allow',
  'users',
  'keys',
  'key_rate',
  'tenants',
  'idempotency_age',
  'durability',
  'tls_certificate',
  'tls_key',
  'recipients',
  'smtp_clients',
  'smtp_clients_per_address',
  'smtp_trusted',
  'tls_timeout',
  'intake_bytes',
  'queue_recipients',
  'delay_warning',
  'max_age',
  'drain',
] as const satisfies readonly (keyof MtaConfig)[];

const LIVE_DELIVERY_KEYS = [
  'connection_age',
  'idle',
] as const satisfies readonly (keyof MtaConfig['delivery'])[];

const isLive = (key: string): boolean => {
  const [table, inner] = key.split('.');
  return table === 'delivery'
    ? LIVE_DELIVERY_KEYS.some((live) => live === inner)
    : LIVE_KEYS.some((live) => live === table);
};

/** The configuration that all parts of a running mta read; only {@link LiveConfig.take} changes it. */
export class LiveConfig {
  /** Its lists and tables are its own, and stay the same objects. */
  readonly config: MtaConfig;
  /** As it was last taken. */
  #inForce: MtaConfig;

  constructor(settings: MtaConfig) {
    this.#inForce = settings;
    this.config = {
      ...settings,
      allow: [...settings.allow],
      smtp_trusted: [...settings.smtp_trusted],
      delivery: { ...settings.delivery },
    };
  }

  /**
   * @returns keys that differ, such as "mta.max_age"; nothing has changed yet
   * @throws ReloadRefused when one of them cannot change now
   */
  compare(next: MtaConfig): readonly string[] {
    const keys = changedKeys(this.#inForce, next);
    const fixed = keys.filter((key) => !isLive(key));
    if (fixed.length > 0) throw new ReloadRefused(fixed.map(fullName));
    return keys.map(fullName);
  }

  /** Puts in force what {@link compare} let pass. */
  take(next: MtaConfig): void {
    const { config } = this;
    for (const key of LIVE_KEYS) {
      const [held, value] = [config[key], next[key]];
      if (Array.isArray(held) && Array.isArray(value)) held.splice(0, held.length, ...value);
      else Object.assign(config, { [key]: value });
    }
    for (const key of LIVE_DELIVERY_KEYS) config.delivery[key] = next.delivery[key];
    this.#inForce = next;
  }
}

const fullName = (key: string): string => `mta.${key}`;
