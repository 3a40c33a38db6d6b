/**
 * Owns the keys of the HTTP APIs: whose a key is, and how many recipients it may still name.
 *
 * Invariants
 * - The configuration holds digests alone: a key cannot be read out of it.
 * - A look-up compares with every key, each in constant time.
 * - -recipients of one request < tokens <= rate; a key in debt waits until it is paid.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Clock } from '../../runtime/clock.ts';

interface ApiKey {
  readonly name: string;
  readonly digest: Buffer;
  tokens: number;
  atMs: number;
}

export class ApiKeys {
  readonly #keys: readonly ApiKey[];
  readonly #ratePerSecond: number;
  readonly #clock: Clock;

  /** @param digests name → "sha256:" and hex digits. @param ratePerSecond recipients of each key; 0 is no limit */
  constructor(digests: Readonly<Record<string, string>>, ratePerSecond: number, clock: Clock) {
    this.#ratePerSecond = ratePerSecond;
    this.#clock = clock;
    this.#keys = Object.entries(digests).map(([name, digest]) => ({
      name,
      digest: Buffer.from(digest.slice('sha256:'.length), 'hex'),
      tokens: ratePerSecond,
      atMs: clock.monotonicMs(),
    }));
  }

  get any(): boolean {
    return this.#keys.length > 0;
  }

  /** @returns the name of the key, or null when it is none of ours */
  nameOf(key: string): string | null {
    const digest = createHash('sha256').update(key).digest();
    let found: string | null = null;
    for (const known of this.#keys) {
      if (timingSafeEqual(known.digest, digest)) found = known.name;
    }
    return found;
  }

  /**
   * Takes so many recipients from the key's allowance. A request larger than that passes when none is
   * owed, and the next one waits the longer.
   * @returns ms to wait when it is spent; then nothing was taken; null when it was not
   */
  charge(name: string, recipients: number): number | null {
    const rate = this.#ratePerSecond;
    const key = this.#keys.find((known) => known.name === name);
    if (rate === 0 || key === undefined) return null;
    const nowMs = this.#clock.monotonicMs();
    key.tokens = Math.min(rate, key.tokens + ((nowMs - key.atMs) / 1000) * rate);
    key.atMs = nowMs;
    if (key.tokens < 1) return Math.ceil(((1 - key.tokens) / rate) * 1000);
    key.tokens -= recipients;
    return null;
  }
}
