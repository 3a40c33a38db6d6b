/**
 * Who has been handed out. Lives in memory only: with the process go its leases, and what it held is
 * queued again.
 *
 * Invariants
 * - A recipient is held at most once.
 * - A lane of a domain has a front exactly while it has leases, so memory follows what is leased, not
 *   the queue.
 * - Every row of a lane that stands before its front is leased: a scan may begin at the front.
 */
import type { MessageId } from '../envelope.ts';
import { FIRST_PLACE, isBefore, type Place, type Queue } from './due-order.ts';
import type { Lane } from './lanes.ts';
import { ReadAhead } from './read-ahead.ts';

/** A leased row: what is needed to put it back. */
export interface Held extends Queue {
  readonly index: number;
  readonly dueMs: number;
}

interface Front {
  place: Place;
  leased: number;
}

export class Leases {
  readonly ahead = new ReadAhead();
  readonly #messages = new Map<MessageId, Held[]>();
  readonly #fronts = new Map<Lane, Map<string, Front>>();
  #count = 0;
  /** By the attempt under way. */
  #taken: { readonly message: MessageId; readonly held: Held }[] | null = null;

  get count(): number {
    return this.#count;
  }

  holds(message: MessageId, index: number): boolean {
    return this.find(message, index) !== undefined;
  }

  find(message: MessageId, index: number): Held | undefined {
    return this.#messages.get(message)?.find((held) => held.index === index);
  }

  /** Runs `work`; when it throws, what it had taken by then is nobody's again. */
  attempt<T>(work: () => T): T {
    const taken: { readonly message: MessageId; readonly held: Held }[] = [];
    this.#taken = taken;
    try {
      return work();
    } catch (error) {
      for (const { message, held } of taken) {
        this.end(message, held.index);
        this.appeared(held, { dueMs: held.dueMs, message, index: held.index });
      }
      throw error;
    } finally {
      this.#taken = null;
    }
  }

  take(message: MessageId, held: Held): void {
    this.#taken?.push({ message, held });
    const others = this.#messages.get(message);
    if (others === undefined) this.#messages.set(message, [held]);
    else others.push(held);
    const front = this.#frontOf(held);
    if (front === undefined) this.#begin(held);
    else front.leased += 1;
    this.#count += 1;
  }

  /** @returns what was held, or undefined when it was not */
  end(message: MessageId, index: number): Held | undefined {
    const held = this.find(message, index);
    if (held === undefined) return undefined;
    const others = this.#messages.get(message)!;
    if (others.length === 1) this.#messages.delete(message);
    else others.splice(others.indexOf(held), 1);
    const front = this.#frontOf(held)!;
    if (front.leased === 1) this.#forget(held);
    else front.leased -= 1;
    this.#count -= 1;
    this.ahead.went(held, { dueMs: held.dueMs, message, index });
    return held;
  }

  /** A row stands here from now on, and is not leased. */
  appeared(queue: Queue, place: Place): void {
    this.ahead.appeared(queue, place);
    const front = this.#frontOf(queue);
    if (front !== undefined && isBefore(place, front.place)) front.place = place;
  }

  /** Where a scan for unleased rows may begin; null when none is leased. */
  frontOf(queue: Queue): Place | null {
    return this.#frontOf(queue)?.place ?? null;
  }

  /** A scan found every row before `place` leased. */
  advance(queue: Queue, place: Place): void {
    const front = this.#frontOf(queue);
    if (front !== undefined) front.place = place;
  }

  #frontOf({ domain, lane }: Queue): Front | undefined {
    return this.#fronts.get(lane)?.get(domain);
  }

  #begin({ domain, lane }: Queue): void {
    const front = { place: FIRST_PLACE, leased: 1 };
    const ofLane = this.#fronts.get(lane);
    if (ofLane === undefined) this.#fronts.set(lane, new Map([[domain, front]]));
    else ofLane.set(domain, front);
  }

  #forget({ domain, lane }: Queue): void {
    const ofLane = this.#fronts.get(lane)!;
    if (ofLane.size === 1) this.#fronts.delete(lane);
    else ofLane.delete(domain);
  }
}
