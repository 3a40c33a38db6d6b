/**
 * The gate that every packet to a group of upstreams passes: within the group's limit and that of the
 * upstream itself; who comes over it waits in the order of lanes, then of arrival.
 *
 * No lane starves: after STREAK_PACKETS_MAX packets to lanes above one that waits, a lower lane has a
 * turn, each of them in rotation. So with all lanes waiting the lowest still gets one question in some
 * sixty packets, and what does not get its turn in time is told so by name.
 *
 * Invariants: nobody waits while the tokens suffice for who is next; a waiter is in at most one line.
 * Lines are bounded by who may wait: the questions in flight.
 */
import type { Clock } from '../../runtime/clock.ts';
import { Alarm, type AlarmOwner, TICK_MS, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { TokenBucket } from './token-bucket.ts';

/**
 * Who goes first: whether a dead upstream is back (a packet a second), mail lookups, policy texts,
 * reverse names and block lists, our own refreshes.
 */
export const LANE = { probe: 0, lookup: 1, text: 2, reverse: 3, refresh: 4 } as const;
export type Lane = (typeof LANE)[keyof typeof LANE];
export const LANE_NAMES = Object.keys(LANE) as readonly (keyof typeof LANE)[];

const STREAK_PACKETS_MAX = 20;
const IN_ORDER: readonly Lane[] = [0, 1, 2, 3, 4];
/** Whose turn it is when the upper lanes have had theirs. */
const LOWER_FIRST: readonly (readonly Lane[])[] = [
  [2, 3, 4, 0, 1],
  [3, 4, 2, 0, 1],
  [4, 2, 3, 0, 1],
];
/** Places looked at, per lane and turn, for one whose own upstream may be asked. */
const WALK_MAX = 64;

export interface BudgetWaiter {
  readonly lane: Lane;
  /** Its turn has come and is paid for. Called from the wheel, never from within {@link Budget.take}. */
  onGranted(): void;
}

/** A waiter's place in line. */
export class Place {
  readonly waiter: BudgetWaiter;
  /** The limit of the one upstream that is to be asked, besides that of the group. */
  readonly own: TokenBucket | null;
  packets = 0;
  waiting = false;
  next: Place | null = null;
  previous: Place | null = null;

  constructor(waiter: BudgetWaiter, own: TokenBucket | null) {
    this.waiter = waiter;
    this.own = own;
  }
}

export class Budget implements AlarmOwner {
  /** Of the group, for metrics and sentences: "upstreams", "spill", "corp.example". */
  readonly name: string;
  readonly bucket: TokenBucket;
  readonly #wheel: TimerWheel;
  readonly #alarm = new Alarm(this, 0);
  readonly #heads: (Place | null)[] = LANE_NAMES.map(() => null);
  readonly #tails: (Place | null)[] = LANE_NAMES.map(() => null);
  #streak = 0;
  #turn = 0;
  /** By lane: who waits now, packets ever spent, packets that had to wait. */
  readonly waiting = LANE_NAMES.map(() => 0);
  readonly spent = LANE_NAMES.map(() => 0);
  readonly delayed = LANE_NAMES.map(() => 0);
  /** Questions that were sent to the spill group, and that ended, for want of budget. */
  spilledTotal = 0;
  refusedTotal = 0;

  /** @param packetsPerSecond BUDGET_PACKETS_MIN or more; 0 is no bound */
  constructor(name: string, packetsPerSecond: number, clock: Clock, wheel: TimerWheel) {
    this.name = name;
    this.bucket = new TokenBucket(packetsPerSecond, clock);
    this.#wheel = wheel;
  }

  /**
   * Asks for `packets` packets to be sent now.
   * @param packets at most ASK_PACKETS_MAX
   * @returns true when they may, and are paid for; false when the place now waits in line
   */
  take(place: Place, packets: number): boolean {
    const { lane } = place.waiter;
    if (!this.#someoneBefore(lane) && this.#affords(place.own, packets)) {
      this.#pay(lane, place.own, packets);
      return true;
    }
    this.#enqueue(place, lane, packets);
    this.delayed[lane]! += packets;
    if (!this.#alarm.armed) this.#wheel.arm(this.#alarm, TICK_MS);
    return false;
  }

  /** Like {@link take}, for what nobody needs: only while tokens are plenty, so that nobody waits for them. */
  takeSpare(lane: Lane, own: TokenBucket | null, packets: number): boolean {
    if (!this.bucket.hasToSpare(packets) || own?.hasToSpare(packets) === false) return false;
    this.#pay(lane, own, packets);
    return true;
  }

  /** Leaves the line; no effect when it does not wait. */
  leave(place: Place): void {
    if (!place.waiting) return;
    const { lane } = place.waiter;
    if (place.previous === null) this.#heads[lane] = place.next;
    else place.previous.next = place.next;
    if (place.next === null) this.#tails[lane] = place.previous;
    else place.next.previous = place.previous;
    place.next = null;
    place.previous = null;
    place.waiting = false;
    this.waiting[lane]! -= 1;
  }

  stop(): void {
    this.#wheel.disarm(this.#alarm);
  }

  onAlarm(): void {
    for (let place = this.#next(); place !== null; place = this.#next()) {
      this.#noteTurn(place.waiter.lane, place.packets);
      this.#pay(place.waiter.lane, place.own, place.packets);
      this.leave(place);
      place.waiter.onGranted();
    }
    if (this.#someoneBefore(LANE.refresh)) this.#wheel.arm(this.#alarm, TICK_MS);
  }

  #affords(own: TokenBucket | null, packets: number): boolean {
    return this.bucket.has(packets) && (own === null || own.has(packets));
  }

  #pay(lane: Lane, own: TokenBucket | null, packets: number): void {
    this.spent[lane]! += packets;
    this.bucket.spend(packets);
    own?.spend(packets);
  }

  /** @returns who is next, if the tokens suffice for it */
  #next(): Place | null {
    const order = this.#streak < STREAK_PACKETS_MAX ? IN_ORDER : LOWER_FIRST[this.#turn]!;
    for (const lane of order) {
      let place: Place | null = this.#heads[lane] ?? null;
      for (let walked = 0; place !== null && walked < WALK_MAX; walked += 1) {
        if (!this.bucket.has(place.packets)) return null;
        if (place.own === null || place.own.has(place.packets)) return place;
        place = place.next;
      }
    }
    return null;
  }

  #noteTurn(lane: Lane, packets: number): void {
    if (this.#streak >= STREAK_PACKETS_MAX) {
      this.#streak = 0;
      this.#turn = (this.#turn + 1) % LOWER_FIRST.length;
    } else if (this.#someoneBelow(lane)) {
      this.#streak += packets;
    } else {
      this.#streak = 0;
    }
  }

  #someoneBefore(lane: Lane): boolean {
    for (let other = 0; other <= lane; other += 1) if (this.#heads[other] !== null) return true;
    return false;
  }

  #someoneBelow(lane: Lane): boolean {
    for (let other = lane + 1; other < LANE_NAMES.length; other += 1) {
      if (this.#heads[other] !== null) return true;
    }
    return false;
  }

  #enqueue(place: Place, lane: Lane, packets: number): void {
    const tail = this.#tails[lane]!;
    place.packets = packets;
    place.waiting = true;
    place.previous = tail;
    if (tail === null) this.#heads[lane] = place;
    else tail.next = place;
    this.#tails[lane] = place;
    this.waiting[lane]! += 1;
  }
}
