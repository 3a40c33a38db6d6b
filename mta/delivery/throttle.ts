/**
 * Counted limits at work: token buckets for messages a second, and allotments of connections that the
 * sites of a provider share. One for each scope, made when first asked for.
 *
 * Invariant: over any time t a bucket lets through at most max × t + max(1, max) messages.
 */
import { LRUCache } from 'lru-cache';
import type { Shared } from '../plan/shaping.ts';
import { Allotment } from './allotment.ts';

/** Buckets kept; a forgotten one begins full again. */
const BUCKETS_MAX = 50_000;

export class TokenBucket {
  #perSecond: number;
  #tokens: number;
  #atMs: number;

  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#tokens = Math.max(1, perSecond);
    this.#atMs = nowMs;
  }

  /** @returns ms until a token is there; 0 when one is */
  waitMs(nowMs: number): number {
    this.#fill(nowMs);
    return this.#tokens >= 1 ? 0 : ((1 - this.#tokens) * 1000) / this.#perSecond;
  }

  /** To be called when waitMs() is 0. */
  take(): void {
    this.#tokens -= 1;
  }

  /** Another rate from now on; what had been saved up is not kept beyond it. */
  set(perSecond: number, nowMs: number): void {
    this.#fill(nowMs);
    this.#perSecond = perSecond;
    this.#tokens = Math.min(this.#tokens, 1);
  }

  #fill(nowMs: number): void {
    const burst = Math.max(1, this.#perSecond);
    const earned = (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1000;
    this.#tokens = Math.min(burst, this.#tokens + earned);
    this.#atMs = nowMs;
  }
}

export class Throttles {
  readonly #buckets = new LRUCache<string, TokenBucket>({ max: BUCKETS_MAX });
  /** Of providers only, so as many as the configuration names. */
  readonly #connections = new Map<string, Allotment>();

  bucket({ max, scope }: Shared, nowMs: number): TokenBucket {
    let bucket = this.#buckets.get(scope);
    if (bucket === undefined) {
      bucket = new TokenBucket(max, nowMs);
      this.#buckets.set(scope, bucket);
    }
    return bucket;
  }

  /** The connections of a provider; null where the limit is one site's own. */
  connections({ max, scope }: Shared): Allotment | null {
    if (!scope.startsWith('provider ')) return null;
    let allotment = this.#connections.get(scope);
    if (allotment === undefined) {
      allotment = new Allotment(max);
      this.#connections.set(scope, allotment);
    }
    return allotment;
  }
}
