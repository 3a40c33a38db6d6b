/**
 * DNS block lists (RFC 5782): asked by the thousand, about addresses of spammers' choice, and answered
 * with lies once the operator is refused. So they have a cache of their own, which cannot push out
 * mail domains; the lane of reverse names in the budget; a bound on questions under way; and an answer
 * that is no listing never looks like one.
 */

import type { CacheEntry } from '../cache/entry.ts';
import { parseKey } from '../cache/key.ts';
import { CacheStore } from '../cache/store.ts';
import { EXTENDED_ERROR, TYPE } from '../wire/constants.ts';
import { addressesOf } from '../wire/exchanges.ts';
import { keyToName, nameKey, nameToText } from '../wire/names.ts';
import type { ExtendedError } from '../wire/write.ts';

export interface DnsblLimits {
  /** Each name on the wire. */
  readonly zones: readonly { readonly name: Uint8Array }[];
  readonly bytes: number;
  readonly in_flight: number;
}

/** How many addresses of an answer are looked at; lists give up to a dozen codes. */
const ADDRESSES_MAX = 64;
/** Listings are codes within 127.0.0.0/8 (RFC 5782 §2.1). */
const LOOPBACK_OCTET = 127;
/** Spamhaus and others say so: 127.255.255.252 for a mistyped zone, .254 for a public resolver, .255 for too many queries. */
const ERROR_CODES = 0x7fff_ff00;

/** refusals: 127.255.255.0/24. strangers: addresses that are no code, as of a zone that was given up. crowded: over `in_flight`. */
export const DNSBL_REFUSALS = ['refused', 'stranger', 'crowded'] as const;
export type DnsblRefusal = (typeof DNSBL_REFUSALS)[number];

export class Dnsbl {
  readonly cache: CacheStore;
  readonly refusals: Record<DnsblRefusal, number> = { refused: 0, stranger: 0, crowded: 0 };
  #zones: ReadonlySet<string> = new Set();
  #inFlightMax = 0;
  #inFlight = 0;

  /** @param seed 32 secret bits, for the cache */
  constructor(limits: DnsblLimits, seed: number) {
    this.cache = new CacheStore(limits.bytes, { seed });
    this.configure(limits);
  }

  /** What may change at any time; `bytes` does not. */
  configure({ zones, in_flight }: Omit<DnsblLimits, 'bytes'>): void {
    this.#inFlightMax = in_flight;
    this.#zones = new Set(
      zones.map(({ name }) => nameKey(name, 0)).filter((key) => typeof key === 'string'),
    );
  }

  /** @param others keeps what is of no block list. @returns the cache that keeps the key */
  cacheOf(key: string, others: CacheStore): CacheStore {
    return this.zoneOf(key) === null ? others : this.cache;
  }

  /** @param key of a question. @returns the zone that it is in, as a key, or null */
  zoneOf(key: string): string | null {
    if (this.#zones.size === 0) return null;
    const { name } = parseKey(key);
    for (let at = 0; at < name.length; at += 1 + name.charCodeAt(at)) {
      const zone = name.slice(at);
      if (this.#zones.has(zone)) return zone;
    }
    return null;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** @returns whether one more question may go upstream; then {@link end} must follow */
  begin(): boolean {
    if (this.#inFlight >= this.#inFlightMax) {
      this.refusals.crowded += 1;
      return false;
    }
    this.#inFlight += 1;
    return true;
  }

  end(): void {
    this.#inFlight -= 1;
  }

  /** @returns why the answer is no statement about the address asked, or null when it is one */
  refusalOf(key: string, zone: string, entry: CacheEntry): ExtendedError | null {
    if (entry.kind !== 'answer' || parseKey(key).type !== TYPE.A) return null;
    for (const address of addressesOf(entry.wire, ADDRESSES_MAX)) {
      const isError = address >= ERROR_CODES && address <= ERROR_CODES + 0xff;
      if (!isError && address >>> 24 === LOOPBACK_OCTET) continue;
      this.refusals[isError ? 'refused' : 'stranger'] += 1;
      const list = nameToText(keyToName(zone), 0);
      const what = isError ? 'refuses our queries' : 'is no block list any more';
      return {
        code: isError ? EXTENDED_ERROR.PROHIBITED : EXTENDED_ERROR.INVALID_DATA,
        text: `${list} ${what}: it answered ${dotted(address)}`,
      };
    }
    return null;
  }
}

const dotted = (address: number): string =>
  [24, 16, 8, 0].map((shift) => (address >>> shift) & 0xff).join('.');
