/**
 * Delivery bundles: when the MX of a domain is asked, what a delivery asks next is fetched ahead, so
 * that a client waits for one round trip in place of three.
 *
 * "on" fetches for every MX answer; "again" only where an MX that was known is asked once more, and
 * of its members only those that somebody asked for before: then hardly a packet is spent that the
 * client would not have caused itself. Either way a kind that clients do not use is not fetched.
 *
 * Invariant: at most PENDING_MAX members are fetched and not yet seen used; each is judged once,
 * USED_WITHIN_MS after it was fetched at the latest that we look.
 */
import type { CacheEntry } from '../cache/entry.ts';
import { isFresh } from '../cache/entry.ts';
import { parseKey } from '../cache/key.ts';
import { CLASS, TYPE } from '../wire/constants.ts';
import { KINDS, type Kind, membersOf } from './members.ts';
import { Worth } from './worth.ts';

export type BundleMode = 'off' | 'on' | 'again';

const PENDING_MAX = 8_192;
/** A delivery asks at once; what nobody asked for by then was of no use. */
const USED_WITHIN_MS = 60_000;

export interface BundleOptions {
  mode: BundleMode;
  ipv6: boolean;
  /** What is kept under a key, fresh or not; does not count as use. */
  readonly peek: (key: string) => CacheEntry | undefined;
  /** Has a key fetched when there is room. */
  readonly fetch: (key: string) => void;
}

interface Pending {
  readonly kind: Kind;
  readonly fetchedAtMs: number;
}

export class Bundles {
  readonly worth: Readonly<Record<Kind, Worth>>;
  /** Packets sent for members. */
  packetsTotal = 0;
  readonly options: BundleOptions;
  /** Asked of the queue, and not yet under way. */
  readonly #wanted = new Map<string, Kind>();
  readonly #pending = new Map<string, Pending>();

  constructor(options: BundleOptions) {
    this.options = options;
    this.worth = Object.fromEntries(KINDS.map((kind) => [kind, new Worth()])) as Record<
      Kind,
      Worth
    >;
  }

  /**
   * A response was admitted.
   * @param previous what was kept under the key before, if anything
   */
  onAdmitted(
    key: string,
    entry: CacheEntry,
    previous: CacheEntry | undefined,
    nowMs: number,
  ): void {
    const { mode, ipv6, peek, fetch } = this.options;
    if (mode === 'off' || (mode === 'again' && previous === undefined)) return;
    if (entry.kind !== 'answer' && entry.kind !== 'nodata') return;
    const mx = parseKey(key);
    if (mx.type !== TYPE.MX || mx.class !== CLASS.IN) return;
    for (const member of membersOf(mx, entry.wire, ipv6)) {
      const known = peek(member.key);
      if (known === undefined ? mode === 'again' : isFresh(known, nowMs)) continue;
      if (this.#wanted.size >= PENDING_MAX || !this.worth[member.kind].pays()) continue;
      this.#wanted.set(member.key, member.kind);
      fetch(member.key);
    }
  }

  /** A member has gone upstream. */
  onStarted(key: string, nowMs: number): void {
    const kind = this.#wanted.get(key);
    if (kind === undefined) return;
    this.#wanted.delete(key);
    this.worth[kind].noteFetched();
    this.#settleOld(nowMs);
    this.#pending.set(key, { kind, fetchedAtMs: nowMs });
  }

  /** The queue has come to it, and there was no need. */
  onSpared(key: string): void {
    this.#wanted.delete(key);
  }

  onEnded(packetsSent: number): void {
    this.packetsTotal += packetsSent;
  }

  /** A client asked for the key and gets, or waits for, what is fetched already. */
  onUse(key: string): void {
    if (this.#pending.size === 0) return;
    const pending = this.#pending.get(key);
    if (pending === undefined) return;
    this.#pending.delete(key);
    this.worth[pending.kind].noteOutcome(true);
  }

  #settleOld(nowMs: number): void {
    for (const [key, { kind, fetchedAtMs }] of this.#pending) {
      if (this.#pending.size < PENDING_MAX && nowMs - fetchedAtMs < USED_WITHIN_MS) return;
      this.#pending.delete(key);
      this.worth[kind].noteOutcome(false);
    }
  }
}
