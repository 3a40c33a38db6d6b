/**
 * Owns what those who authenticate may send: recipients a second, and recipients of one message.
 *
 * Invariants
 * - One allowance a tenant, however many keys and users speak for it.
 * - -recipients of one message < tokens <= rate; a tenant in debt waits until it is paid.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';
import type { MtaConfig } from '../config.ts';
import { LABEL } from '../envelope.ts';

/** Accounts remembered; a forgotten one begins with a full allowance. */
const ACCOUNTS_MAX = 50_000;

/** Whom a client has proved to be. */
export interface Principal {
  /** Its mail is of this tenant; '' is nobody in particular. */
  readonly tenant: string;
  /** Whose allowance it uses up: the tenant, or itself where that is nobody. */
  readonly account: string;
}

/** @param tenant as configured; where it is not, the name itself if it can be one's */
export function principalOf(
  kind: 'key' | 'user',
  name: string,
  tenant: string | undefined,
): Principal {
  const own = tenant ?? (LABEL.test(name) ? name : '');
  // No tenant's name has a space.
  return { tenant: own, account: own === '' ? `${kind} ${name}` : own };
}

interface Bucket {
  tokens: number;
  atMs: number;
}

export type AllowanceSettings = Pick<MtaConfig, 'key_rate' | 'recipients' | 'tenants'>;

export class Allowances {
  readonly #settings: AllowanceSettings;
  readonly #tenants: ReadonlyMap<string, MtaConfig['tenants'][string]>;
  readonly #clock: Clock;
  readonly #buckets = new LRUCache<string, Bucket>({ max: ACCOUNTS_MAX });

  constructor(settings: AllowanceSettings, clock: Clock) {
    this.#settings = settings;
    this.#tenants = new Map(Object.entries(settings.tenants));
    this.#clock = clock;
  }

  /** Recipients a second; 0: any. */
  ratePerSecond({ account }: Principal): number {
    return this.#tenants.get(account)?.rate ?? this.#settings.key_rate;
  }

  /** Recipients of one message. @param principal null for whom the network is enough */
  recipientsMax(principal: Principal | null): number {
    const { recipients } = this.#settings;
    const own = principal === null ? undefined : this.#tenants.get(principal.account)?.recipients;
    return Math.min(recipients, own ?? recipients);
  }

  /** @returns ms to wait while the allowance is spent; null when it is not */
  waitMs(principal: Principal): number | null {
    const rate = this.ratePerSecond(principal);
    if (rate === 0) return null;
    const { tokens } = this.#filled(principal, rate);
    return tokens >= 1 ? null : Math.ceil(((1 - tokens) / rate) * 1000);
  }

  /** What is larger than the allowance passes when none is owed, and the next waits the longer. */
  take(principal: Principal, recipients: number): void {
    const rate = this.ratePerSecond(principal);
    if (rate > 0) this.#filled(principal, rate).tokens -= recipients;
  }

  #filled({ account }: Principal, rate: number): Bucket {
    const nowMs = this.#clock.monotonicMs();
    let bucket = this.#buckets.get(account);
    if (bucket === undefined) {
      bucket = { tokens: rate, atMs: nowMs };
      this.#buckets.set(account, bucket);
    }
    bucket.tokens = Math.min(rate, bucket.tokens + ((nowMs - bucket.atMs) / 1000) * rate);
    bucket.atMs = nowMs;
    return bucket;
  }
}
