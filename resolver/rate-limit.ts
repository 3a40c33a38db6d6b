/**
 * How much one client may ask: a bucket of tokens for each address, or each network of IPv6, that fills
 * with `perSecond` and holds twice that. This machine's own clients are never limited.
 *
 * Invariant: at most CLIENTS_MAX buckets; when there are more clients, those that have been quiet the
 * longest are forgotten, which gives them a full bucket.
 */

const CLIENTS_MAX = 16_384;
const BURST_SECONDS = 2;
/** A /48 is the most that one site gets (RFC 6177 §2). */
const IPV6_GROUPS = 3;

interface Bucket {
  tokens: number;
  filledAtMs: number;
}

export class RateLimit {
  readonly #perSecond: number;
  /** In the order of their last use. */
  readonly #buckets = new Map<string, Bucket>();

  /** @param perSecond 0: no limit */
  constructor(perSecond: number) {
    this.#perSecond = perSecond;
  }

  get clients(): number {
    return this.#buckets.size;
  }

  /** Takes a token. @returns false when there is none */
  admits(address: string, nowMs: number): boolean {
    if (this.#perSecond === 0 || isLoopback(address)) return true;
    const client = clientOf(address);
    const burst = this.#perSecond * BURST_SECONDS;
    const bucket = this.#buckets.get(client) ?? { tokens: burst, filledAtMs: nowMs };
    this.#buckets.delete(client);
    this.#buckets.set(client, bucket);
    if (this.#buckets.size > CLIENTS_MAX) this.#forgetQuietest();
    const filled = bucket.tokens + ((nowMs - bucket.filledAtMs) * this.#perSecond) / 1000;
    bucket.tokens = Math.min(burst, filled);
    bucket.filledAtMs = nowMs;
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  #forgetQuietest(): void {
    const [quietest] = this.#buckets.keys();
    if (quietest !== undefined) this.#buckets.delete(quietest);
  }
}

export const isLoopback = (address: string): boolean =>
  address.startsWith('127.') || address === '::1' || address.startsWith('::ffff:127.');

const clientOf = (address: string): string =>
  address.includes(':') && !address.startsWith('::ffff:')
    ? address.split(':', IPV6_GROUPS).join(':')
    : address;
