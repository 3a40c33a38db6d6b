/**
 * How fast we may talk to a host, and the memory of hosts that could not follow.
 *
 * A rung is left downwards only, at the first sign that a peer loses step; forgetting lets it climb
 * again. Bounded by entries and by time.
 */
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../runtime/clock.ts';

export interface Manners {
  /**
   * lockstep: one command, one reply. pipelined: a transaction's commands in one write (RFC 2920).
   * overlap: the content of one transaction travels with the commands of the next. window: overlap, and
   * where that goes well whole transactions ahead; see window.ts.
   */
  readonly mode: 'lockstep' | 'pipelined' | 'overlap' | 'window';
  /** BDAT instead of DATA, where offered (RFC 3030). */
  readonly chunking: boolean;
}

const OVERLAP: Manners = { mode: 'overlap', chunking: true };

/** Each rung asks less of the peer than the one before. */
export const LADDER: readonly Manners[] = [
  { mode: 'window', chunking: true },
  OVERLAP,
  { mode: 'pipelined', chunking: false },
  { mode: 'lockstep', chunking: false },
];

const LAST_RUNG = LADDER.at(-1)!;

export const isLastRung = (manners: Manners): boolean =>
  manners.mode === 'lockstep' && !manners.chunking;

/** A session that may send ahead and never did behaves as one that overlaps. */
export const behavedBy = (manners: Manners, wentAhead: boolean): Manners =>
  manners.mode === 'window' && !wentAhead ? OVERLAP : manners;

const HOSTS_MAX = 10_000;
/** Long enough to spare a busy host the second stumble, short enough to notice that it was mended. */
const FORGET_AFTER_MS = 6 * 3_600_000;

export class HostMemory {
  readonly #rungs: LRUCache<string, number>;

  constructor(clock: Clock) {
    this.#rungs = new LRUCache({
      max: HOSTS_MAX,
      ttl: FORGET_AFTER_MS,
      ttlResolution: 0,
      // lru-cache takes instant 0 for "no time set".
      perf: { now: () => clock.monotonicMs() + 1 },
    });
  }

  /** @param host whatever names the host for its driver: MX host name and address */
  mannersOf(host: string): Manners {
    return LADDER[this.#rungs.get(host) ?? 0] ?? LAST_RUNG;
  }

  /**
   * A session that behaved by `manners` lost step. Several sessions may stumble over the same rung;
   * the host goes down by one all the same.
   */
  stepDown(host: string, manners: Manners): void {
    const rung = LADDER.findIndex(({ mode }) => mode === manners.mode);
    const next = Math.min(rung + 1, LADDER.length - 1);
    if (next > (this.#rungs.get(host) ?? 0)) this.#rungs.set(host, next);
  }

  /** Hosts below the first rung. */
  get size(): number {
    return this.#rungs.size;
  }
}
