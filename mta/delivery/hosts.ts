/**
 * What we remember of single MX hosts, by address: which did not answer lately, and which announce
 * STARTTLS and then fail at it; and of sites, which took mail. A guess that saves time, never a verdict
 * on mail.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';

const HOSTS_MAX = 20_000;
/** A host that refused or timed out is tried last for so long. */
const SHUNNED_MS = 60_000;
/** A host whose TLS failed is spoken to in clear for so long, where policy allows. */
const BROKEN_TLS_MS = 3_600_000;

export class HostHealth {
  readonly #clock: Clock;
  readonly #shunnedUntilMs = new LRUCache<string, number>({ max: HOSTS_MAX });
  readonly #brokenTlsUntilMs = new LRUCache<string, number>({ max: HOSTS_MAX });
  /** Ids of sites. */
  readonly #tookMail = new LRUCache<string, true>({ max: HOSTS_MAX });

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  shunned(address: string): boolean {
    return (this.#shunnedUntilMs.get(address) ?? 0) > this.#clock.monotonicMs();
  }

  failed(address: string): void {
    this.#shunnedUntilMs.set(address, this.#clock.monotonicMs() + SHUNNED_MS);
  }

  answered(address: string): void {
    this.#shunnedUntilMs.delete(address);
  }

  tlsBroken(address: string): boolean {
    return (this.#brokenTlsUntilMs.get(address) ?? 0) > this.#clock.monotonicMs();
  }

  tlsFailed(address: string): void {
    this.#brokenTlsUntilMs.set(address, this.#clock.monotonicMs() + BROKEN_TLS_MS);
  }
  /** The site took mail, and has not failed since. */
  isTried(siteId: string): boolean {
    return this.#tookMail.has(siteId);
  }

  tookMail(siteId: string): void {
    this.#tookMail.set(siteId, true);
  }

  siteFailed(siteId: string): void {
    this.#tookMail.delete(siteId);
  }
}
