/**
 * The gate that every packet to an upstream passes: never more than `packetsPerSecond` in any window
 * of one second, however it is laid; who comes over it waits in the order of lanes, then of arrival.
 *
 * A token bucket admits at most burst + rate in a second. Both together stay HEADROOM below the
 * budget, because queues on the way press together what we sent apart:
 * burst + rate <= packetsPerSecond × HEADROOM.
 *
 * Invariants: 0 <= tokens <= burst; nobody waits while the tokens suffice for the first in line; a
 * waiter is in at most one line. Lines are bounded by who may wait: the questions in flight.
 */
import type { Clock } from '../../runtime/clock.ts';
import { Alarm, type AlarmOwner, TICK_MS, type TimerWheel } from '../../runtime/timer-wheel.ts';

/** Who goes first: mail lookups, then policy texts, then reverse and the rest, then our own refreshes. */
export const LANE = { lookup: 0, text: 1, reverse: 2, refresh: 3 } as const;
export type Lane = (typeof LANE)[keyof typeof LANE];
const LANES = 4;

/** Smallest budget that lets one TCP question (6 packets) through at once. */
export const BUDGET_PACKETS_MIN = 20;
const HEADROOM = 0.97;
const BURST_SHARE = 1 / 20;
const BURST_PACKETS_MIN = 6;

export interface BudgetWaiter {
  readonly lane: Lane;
  /** Its turn has come and is paid for. Called from the wheel, never from within {@link Budget.take}. */
  onGranted(): void;
}

/** A waiter's place in line. */
export class Place {
  readonly waiter: BudgetWaiter;
  packets = 0;
  waiting = false;
  next: Place | null = null;
  previous: Place | null = null;

  constructor(waiter: BudgetWaiter) {
    this.waiter = waiter;
  }
}

export class Budget implements AlarmOwner {
  /** Infinity: no bound. */
  readonly packetsPerSecond: number;
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  readonly #alarm = new Alarm(this, 0);
  readonly #burst: number;
  readonly #ratePerMs: number;
  readonly #heads: (Place | null)[] = Array.from({ length: LANES }, () => null);
  readonly #tails: (Place | null)[] = Array.from({ length: LANES }, () => null);
  #tokens: number;
  #filledAtMs: number;
  /** Waiting now. */
  waiting = 0;
  /** Packets that had to wait, ever. */
  delayedTotal = 0;

  /** @param packetsPerSecond BUDGET_PACKETS_MIN or more; 0 is no bound */
  constructor(packetsPerSecond: number, clock: Clock, wheel: TimerWheel) {
    this.packetsPerSecond = packetsPerSecond === 0 ? Number.POSITIVE_INFINITY : packetsPerSecond;
    this.#clock = clock;
    this.#wheel = wheel;
    this.#burst = Math.max(BURST_PACKETS_MIN, Math.floor(packetsPerSecond * BURST_SHARE));
    this.#ratePerMs = (packetsPerSecond * HEADROOM - this.#burst) / 1000;
    this.#tokens = this.#burst;
    this.#filledAtMs = clock.monotonicMs();
  }

  /**
   * Asks for `packets` packets to be sent now.
   * @returns true when they may; false when the place now waits in line
   */
  take(place: Place, packets: number): boolean {
    if (this.packetsPerSecond === Number.POSITIVE_INFINITY) return true;
    this.#fill();
    const { lane } = place.waiter;
    if (!this.#someoneBefore(lane) && this.#tokens >= packets) {
      this.#tokens -= packets;
      return true;
    }
    this.#enqueue(place, lane, Math.min(packets, this.#burst));
    this.delayedTotal += packets;
    if (!this.#alarm.armed) this.#wheel.arm(this.#alarm, TICK_MS);
    return false;
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
    this.waiting -= 1;
  }

  stop(): void {
    this.#wheel.disarm(this.#alarm);
  }

  onAlarm(): void {
    this.#fill();
    for (let place = this.#first(); place !== null; place = this.#first()) {
      if (this.#tokens < place.packets) break;
      this.#tokens -= place.packets;
      this.leave(place);
      place.waiter.onGranted();
    }
    if (this.waiting > 0) this.#wheel.arm(this.#alarm, TICK_MS);
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    this.#tokens = Math.min(
      this.#burst,
      this.#tokens + (nowMs - this.#filledAtMs) * this.#ratePerMs,
    );
    this.#filledAtMs = nowMs;
  }

  #someoneBefore(lane: Lane): boolean {
    for (let other = 0; other <= lane; other += 1) if (this.#heads[other] !== null) return true;
    return false;
  }

  #first(): Place | null {
    for (const head of this.#heads) if (head !== null) return head;
    return null;
  }

  #enqueue(place: Place, lane: Lane, packets: number): void {
    const tail = this.#tails[lane]!;
    place.packets = packets;
    place.waiting = true;
    place.previous = tail;
    if (tail === null) this.#heads[lane] = place;
    else tail.next = place;
    this.#tails[lane] = place;
    this.waiting += 1;
  }
}
