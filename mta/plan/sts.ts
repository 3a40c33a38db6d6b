/**
 * Which MX hosts a domain says are its own, and that they must prove it (MTA-STS, RFC 8461).
 *
 * Invariants
 * - A policy holds for its max_age, whatever DNS and HTTPS say or leave unsaid meanwhile: an attacker
 *   who can silence them gains nothing (§3.3, §10.2).
 * - A policy that cannot be fetched is none, and is not asked for again within RETRY_MS.
 * - At most POLICIES_MAX policies are kept, and FETCHES_MAX fetches under way.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Dns } from './dns.ts';
import type { StsFault, StsFetch } from './sts-fetch.ts';
import { parseStsRecord, type StsPolicy } from './sts-policy.ts';
import type { StsStore } from './sts-store.ts';

/** A policy as it is kept. */
export interface KeptPolicy {
  readonly policy: StsPolicy;
  /** Of the TXT record that announced it. */
  readonly id: string;
  /** Wall milliseconds. */
  readonly fetchedAtMs: number;
  readonly expiresAtMs: number;
}

export interface StsParts {
  readonly dns: Pick<Dns, 'txt'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly fetch: StsFetch;
  readonly store: StsStore;
  /** Told of each policy that is announced and cannot be had. */
  readonly onFault?: (domain: string, fault: StsFault) => void;
}

export const POLICIES_MAX = 20_000;
const FETCHES_MAX = 32;
/** RFC 8461 §3.3: at least five minutes between attempts. */
const RETRY_MS = 300_000;
/** A policy is fetched anew after half its life, and daily: well before it runs out (§3.3). */
const REFRESH_MS_MAX = 86_400_000;

export class StsPolicies {
  readonly #parts: StsParts;
  readonly #kept = new LRUCache<string, KeptPolicy>({ max: POLICIES_MAX });
  /** Domain → monotonic ms before which it is not asked again. */
  readonly #failed = new LRUCache<string, number>({ max: POLICIES_MAX });
  readonly #underWay = new Map<string, Promise<void>>();

  private constructor(parts: StsParts) {
    this.#parts = parts;
  }

  /** Takes up what was kept before a restart. */
  static async open(parts: StsParts): Promise<StsPolicies> {
    const policies = new StsPolicies(parts);
    for (const [domain, kept] of await parts.store.load()) policies.#kept.set(domain, kept);
    return policies;
  }

  /**
   * @param domain A-labels in lower case
   * @returns the policy in force, of any mode but 'none'; null when there is none. Never rejects.
   */
  async find(domain: string): Promise<StsPolicy | null> {
    const { dns, clock } = this.#parts;
    const lookup = await dns.txt(`_mta-sts.${domain}`);
    const announced = lookup.kind === 'answer' ? parseStsRecord(lookup.records) : null;
    const kept = this.#inForce(domain);
    if (announced === null) return policyOf(kept);
    if (kept === null || kept.id !== announced) await this.#fetch(domain, announced);
    else if (clock.wallMs() >= refreshAtMs(kept)) void this.#fetch(domain, announced);
    return policyOf(this.#inForce(domain));
  }

  /** What find() last found, without asking. */
  inForce(domain: string): StsPolicy | null {
    return policyOf(this.#inForce(domain));
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Writes what has changed. */
  close(): Promise<void> {
    return this.#parts.store.close();
  }

  #inForce(domain: string): KeptPolicy | null {
    const kept = this.#kept.get(domain);
    return kept !== undefined && this.#parts.clock.wallMs() < kept.expiresAtMs ? kept : null;
  }

  #fetch(domain: string, id: string): Promise<void> {
    const shared = this.#underWay.get(domain);
    if (shared !== undefined) return shared;
    const nowMs = this.#parts.clock.monotonicMs();
    const tooSoon = nowMs < (this.#failed.get(domain) ?? Number.NEGATIVE_INFINITY);
    if (tooSoon || this.#underWay.size >= FETCHES_MAX) return Promise.resolve();
    const fetch = this.#fetchNow(domain, id).finally(() => this.#underWay.delete(domain));
    this.#underWay.set(domain, fetch);
    return fetch;
  }

  async #fetchNow(domain: string, id: string): Promise<void> {
    const { clock, log, fetch, store, onFault } = this.#parts;
    const fetched = await fetch(domain);
    if ('fault' in fetched) {
      onFault?.(domain, fetched);
      this.#failed.set(domain, clock.monotonicMs() + RETRY_MS);
      log.warn({ domain }, `MTA-STS policy not fetched: ${fetched.text}`);
      return;
    }
    const fetchedAtMs = clock.wallMs();
    const expiresAtMs = fetchedAtMs + fetched.maxAgeSeconds * 1000;
    this.#kept.set(domain, { policy: fetched, id, fetchedAtMs, expiresAtMs });
    store.save(this.#kept.entries());
  }
}

const policyOf = (kept: KeptPolicy | null): StsPolicy | null =>
  kept === null || kept.policy.mode === 'none' ? null : kept.policy;

const refreshAtMs = ({ fetchedAtMs, expiresAtMs }: KeptPolicy): number =>
  fetchedAtMs + Math.min((expiresAtMs - fetchedAtMs) / 2, REFRESH_MS_MAX);
