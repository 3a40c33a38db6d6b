/**
 * A denial that contradicts what was true lately is not believed at once: NXDOMAIN for a name that
 * had records, NODATA for an MX or A that had some, a null MX where there were exchanges. Upstreams
 * have said so of domains that were well (a zone half transferred, a filter gone wrong), and each such
 * answer turns mail away for good. So it is asked again elsewhere; who confirms it is believed, and
 * while nobody does, clients get what is stale, or SERVFAIL: mail waits, and is not bounced.
 *
 * Invariant: at most CONFIRMATIONS_MAX are under way; beyond that a doubtful denial is not served.
 */
import { type CacheEntry, isFresh } from '../cache/entry.ts';
import { parseKey } from '../cache/key.ts';
import { TYPE, typeName } from '../wire/constants.ts';
import { isNullMx } from '../wire/exchanges.ts';
import type { PositiveMemory } from './positive-memory.ts';

const CONFIRMATIONS_MAX = 256;

/** confirmed: elsewhere it was the same. refuted: it was a lie. unconfirmed: nobody could tell. */
export const VERDICTS = ['confirmed', 'refuted', 'unconfirmed'] as const;
export type GuardVerdict = (typeof VERDICTS)[number];

export class BounceGuard {
  readonly verdicts: Record<GuardVerdict, number> = { confirmed: 0, refuted: 0, unconfirmed: 0 };
  /** Packets sent to confirm. */
  packetsTotal = 0;
  #underWay = 0;
  /** When it is off it goes on learning. */
  enabled: boolean;
  readonly #memory: PositiveMemory;

  constructor(memory: PositiveMemory, enabled: boolean) {
    this.#memory = memory;
    this.enabled = enabled;
  }

  /**
   * @param previous what is kept under the key, fresh or not
   * @returns null when the answer may be served, else what is doubted, for people
   */
  doubts(
    key: string,
    entry: CacheEntry,
    previous: CacheEntry | undefined,
    nowMs: number,
  ): string | null {
    if (!this.enabled || !isDenial(key, entry)) return null;
    const { name, type } = parseKey(key);
    if (entry.kind === 'nxdomain') {
      const existed = isPositive(key, previous) || this.#memory.recalls(name, nowMs);
      return existed ? 'NXDOMAIN for a name that existed lately' : null;
    }
    if (type !== TYPE.MX && type !== TYPE.A) return null;
    const had = isPositive(key, previous) || this.#memory.recalls(typedKey(name, type), nowMs);
    if (!had) return null;
    return entry.kind === 'nodata'
      ? `no ${typeName(type)} where there was one lately`
      : 'a null MX where there were exchanges lately';
  }

  /** @returns whether there is room to confirm one more; then {@link end} must follow */
  begin(): boolean {
    if (this.#underWay >= CONFIRMATIONS_MAX) {
      this.verdicts.unconfirmed += 1;
      return false;
    }
    this.#underWay += 1;
    return true;
  }

  end(verdict: GuardVerdict, packetsSent: number): void {
    this.#underWay -= 1;
    this.verdicts[verdict] += 1;
    this.packetsTotal += packetsSent;
  }

  /** Learns from what is served: what exists, and what has come to its end. */
  onAdmitted(key: string, entry: CacheEntry, nowMs: number): void {
    if (!isFresh(entry, nowMs)) return;
    const { name, type } = parseKey(key);
    if (entry.kind === 'nxdomain') {
      for (const gone of [name, typedKey(name, TYPE.MX), typedKey(name, TYPE.A)]) {
        this.#memory.forget(gone);
      }
    } else if (isPositive(key, entry)) {
      this.#memory.remember(name, nowMs);
      if (type === TYPE.MX || type === TYPE.A) this.#memory.remember(typedKey(name, type), nowMs);
    } else if (entry.kind !== 'failure') {
      this.#memory.forget(typedKey(name, type));
    }
  }
}

/** A name ends in the root's zero octet, so no name is another with a type behind it. */
const typedKey = (name: string, type: number): string => name + String.fromCharCode(type);

/** Whether the response would have a mail server give up on the name. */
export const isDenial = (key: string, entry: CacheEntry): boolean =>
  entry.kind === 'nxdomain' || entry.kind === 'nodata' || isNull(key, entry);

const isNull = (key: string, entry: CacheEntry): boolean =>
  entry.kind === 'answer' && parseKey(key).type === TYPE.MX && isNullMx(entry.wire);

const isPositive = (key: string, entry: CacheEntry | undefined): boolean =>
  entry !== undefined && entry.kind === 'answer' && !isNull(key, entry);
