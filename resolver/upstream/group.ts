/**
 * Upstreams that are asked for the same names, with one budget, and perhaps a group to spill to when
 * that is used up. Which group is asked is decided by the longest zone that contains the name.
 */
import type { Random } from '../../runtime/random.ts';
import { HEADER_OCTETS } from '../wire/constants.ts';
import { nameKey } from '../wire/names.ts';
import type { Budget } from './budget.ts';
import type { Question } from './question.ts';
import type { StreamChannel } from './stream.ts';
import type { UdpPool } from './udp.ts';
import type { Upstream } from './upstream.ts';

/** How one upstream is reached. */
export interface Route {
  readonly upstream: Upstream;
  /** null when it is asked over streams only. */
  readonly udp: UdpPool | null;
  readonly stream: StreamChannel;
}

/** ordered: as configured. fastest: whoever is expected to answer first, with a little exploration. */
export type Selection = 'ordered' | 'fastest';

export interface Group {
  /** "upstreams", "spill", or the zone: metrics label and part of sentences. */
  readonly name: string;
  readonly routes: readonly Route[];
  readonly budget: Budget;
  readonly selection: Selection;
  /** Whether a second upstream is asked when the first is slower than nearly always. */
  readonly hedge: boolean;
  /** Who is asked when the budget leaves no time to wait; null: nobody. */
  readonly spill: Group | null;
}

/** One question in so many goes to an upstream at random, so that one that got faster is noticed. */
const EXPLORE_ONE_IN = 20;

/** @returns the routes, the first choice first; those that are down are for the caller to pass over */
export function inOrderOfChoice({ routes, selection }: Group, random: Random): readonly Route[] {
  if (selection === 'ordered' || routes.length < 2) return routes;
  // Who was never asked goes first, once: there is no other way to know.
  const sorted = routes.toSorted(
    (a, b) => (a.upstream.expectedMs ?? 0) - (b.upstream.expectedMs ?? 0),
  );
  if (random.integer(EXPLORE_ONE_IN) !== 0) return sorted;
  const [explored] = sorted.splice(1 + random.integer(sorted.length - 1), 1);
  return [explored!, ...sorted];
}

/** Zones that have upstreams of their own. */
export class Zones {
  readonly #fallback: Group;
  /** By key of the zone's name. */
  readonly #groups: ReadonlyMap<string, Group>;

  constructor(fallback: Group, groups: ReadonlyMap<string, Group>) {
    this.#fallback = fallback;
    this.#groups = groups;
  }

  /** The group of the longest zone that the name is in or is. */
  groupOf({ query }: Question): Group {
    if (this.#groups.size === 0) return this.#fallback;
    const key = nameKey(query, HEADER_OCTETS);
    if (typeof key === 'number') return this.#fallback;
    return this.#groups.get(this.#apexOf(key) ?? '') ?? this.#fallback;
  }

  /**
   * Octets of the longest zone's name that the name is in or is; 0 when it has no zone of its own.
   * @param name as {@link nameKey} gives it
   */
  apexOctetsOf(name: string): number {
    return this.#groups.size === 0 ? 0 : (this.#apexOf(name)?.length ?? 0);
  }

  #apexOf(name: string): string | null {
    for (let at = 0; at < name.length; at += 1 + name.charCodeAt(at)) {
      const apex = name.slice(at);
      if (this.#groups.has(apex)) return apex;
    }
    return null;
  }
}
