/**
 * Who has been handed out. Lives in memory only: with the process go its leases, and what it held is
 * queued again.
 *
 * Invariants
 * - A recipient is held at most once.
 * - A domain has a front exactly while it has leases, so memory follows what is leased, not the queue.
 * - Every row of a domain that stands before its front is leased: a scan may begin at the front.
 */
import type { MessageId } from '../envelope.ts';

/** A place in the order in which a domain's rows fall due: (dueMs, message, index). */
export interface Place {
  readonly dueMs: number;
  readonly message: MessageId;
  readonly index: number;
}

/** Before every row. */
export const FIRST_PLACE: Place = { dueMs: Number.MIN_SAFE_INTEGER, message: 0, index: 0 };

/** A leased row: what is needed to put it back. */
export interface Held {
  readonly index: number;
  readonly domain: string;
  readonly dueMs: number;
}

interface Front {
  place: Place;
  leased: number;
}

export class Leases {
  readonly #messages = new Map<MessageId, Held[]>();
  readonly #fronts = new Map<string, Front>();
  #count = 0;

  get count(): number {
    return this.#count;
  }

  holds(message: MessageId, index: number): boolean {
    return this.find(message, index) !== undefined;
  }

  find(message: MessageId, index: number): Held | undefined {
    return this.#messages.get(message)?.find((held) => held.index === index);
  }

  take(message: MessageId, held: Held): void {
    const others = this.#messages.get(message);
    if (others === undefined) this.#messages.set(message, [held]);
    else others.push(held);
    const front = this.#fronts.get(held.domain);
    if (front === undefined) this.#fronts.set(held.domain, { place: FIRST_PLACE, leased: 1 });
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
    const front = this.#fronts.get(held.domain)!;
    if (front.leased === 1) this.#fronts.delete(held.domain);
    else front.leased -= 1;
    this.#count -= 1;
    return held;
  }

  /** A row of the domain stands here from now on, and is not leased. */
  appeared(domain: string, dueMs: number, message: MessageId, index: number): void {
    const front = this.#fronts.get(domain);
    if (front === undefined) return;
    const place = { dueMs, message, index };
    if (isBefore(place, front.place)) front.place = place;
  }

  /** Where a scan for unleased rows of the domain may begin. */
  frontOf(domain: string): Place {
    return this.#fronts.get(domain)?.place ?? FIRST_PLACE;
  }

  /** A scan found every row of the domain before `place` leased. */
  advance(domain: string, place: Place): void {
    const front = this.#fronts.get(domain);
    if (front !== undefined) front.place = place;
  }
}

const isBefore = (a: Place, b: Place): boolean =>
  a.dueMs !== b.dueMs
    ? a.dueMs < b.dueMs
    : a.message !== b.message
      ? a.message < b.message
      : a.index < b.index;
