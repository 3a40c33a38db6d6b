/**
 * Whose turn it is. Classes share a block by weight, the tenants of a class take turns, and so do the
 * domains of a tenant: how long anybody's queue is buys nothing.
 *
 * Invariants
 * - While several classes have due mail, out of WEIGHTS' sum each gets its weight, the urgent first; so
 *   even bulk mail always moves.
 * - A walker that was served is asked again after all others of its tenant, and its tenant after all
 *   others of its class.
 */
import type { Priority } from '../envelope.ts';
import { rankOf, tenantIdOf } from './lanes.ts';
import type { Walker } from './walker.ts';

/** Messages out of a round, by class. */
const WEIGHTS: Readonly<Record<Priority, number>> = { urgent: 16, normal: 4, bulk: 1 };
const WEIGHT_OF_RANK: readonly number[] = [WEIGHTS.urgent, WEIGHTS.normal, WEIGHTS.bulk];

/** A queue from which is taken at the front, with what was taken left behind in place. */
class Line<Item> {
  readonly #items: Item[];
  #at = 0;

  constructor(items: Item[]) {
    this.#items = items;
  }

  get front(): Item | undefined {
    return this.#items[this.#at];
  }

  drop(): void {
    this.#at += 1;
  }

  /** The front goes to the back. */
  rotate(): void {
    this.#items.push(this.#items[this.#at]!);
    this.#at += 1;
  }
}

export class Rounds {
  /** By rank of the class: of each tenant, its walkers. */
  readonly #classes: readonly Line<Line<Walker>>[];
  readonly #credits = [...WEIGHT_OF_RANK];
  #rank = 0;

  /** @param walkers in the order in which they are asked first */
  constructor(walkers: readonly Walker[]) {
    this.#classes = WEIGHT_OF_RANK.map((_, rank) => {
      const ofClass = walkers.filter(({ lane }) => rankOf(lane) === rank);
      const tenants = Map.groupBy(ofClass, ({ lane }) => tenantIdOf(lane));
      return new Line([...tenants.values()].map((ofTenant) => new Line(ofTenant)));
    });
  }

  /** @returns whose turn it is, to be answered by served() or drop(); null when nobody is left */
  next(): Walker | null {
    for (let pass = 0; pass < 2; pass += 1) {
      for (const [rank, tenants] of this.#classes.entries()) {
        if (this.#credits[rank] === 0 || tenants.front === undefined) continue;
        this.#rank = rank;
        return tenants.front.front ?? null;
      }
      for (const [rank, weight] of WEIGHT_OF_RANK.entries()) this.#credits[rank] = weight;
    }
    return null;
  }

  served(): void {
    this.#credits[this.#rank]! -= 1;
    const tenants = this.#classes[this.#rank]!;
    tenants.front!.rotate();
    tenants.rotate();
  }

  /** It has nothing due. */
  drop(): void {
    const tenants = this.#classes[this.#rank]!;
    tenants.front!.drop();
    if (tenants.front!.front === undefined) tenants.drop();
  }
}
