/**
 * Never more than `packetsPerSecond` packets in any window of one second, however it is laid, over
 * packets that are asked for first.
 *
 * A token bucket admits at most burst + rate in a second. Both together stay HEADROOM below the
 * limit, because queues on the way press together what we sent apart:
 *
 *     burst + rate <= packetsPerSecond × HEADROOM,  tokens <= burst,  ASK_PACKETS_MAX <= burst
 *
 * Raising or lowering the limit keeps this: windows that contain the change admit at most what the
 * greater of both limits does.
 */
import type { Clock } from '../../runtime/clock.ts';

/** The dearest single question: HTTPS with connecting and closing. */
export const ASK_PACKETS_MAX = 12;
/** Smallest limit at which that fits into a burst and leaves a rate. */
export const BUDGET_PACKETS_MIN = 20;
const HEADROOM = 0.97;
const BURST_SHARE = 1 / 20;

/** The last second, for people, in slots of 50 ms. */
const SLOTS = 20;
const SLOT_MS = 50;

export class TokenBucket {
  readonly #clock: Clock;
  #packetsPerSecond = Number.POSITIVE_INFINITY;
  #burst = 0;
  #ratePerMs = 0;
  #tokens = 0;
  #filledAtMs: number;
  readonly #slots = new Float64Array(SLOTS);
  #slotNumber: number;
  /** Packets, ever. */
  spentTotal = 0;

  /** @param packetsPerSecond BUDGET_PACKETS_MIN or more; 0 is no bound */
  constructor(packetsPerSecond: number, clock: Clock) {
    this.#clock = clock;
    this.#filledAtMs = clock.monotonicMs();
    this.#slotNumber = Math.floor(this.#filledAtMs / SLOT_MS);
    this.setLimit(packetsPerSecond);
    this.#tokens = this.#burst;
  }

  /** Infinity: no bound. */
  get packetsPerSecond(): number {
    return this.#packetsPerSecond;
  }

  /** @param packetsPerSecond as for the constructor */
  setLimit(packetsPerSecond: number): void {
    this.#fill();
    if (packetsPerSecond === 0) {
      this.#packetsPerSecond = Number.POSITIVE_INFINITY;
      return;
    }
    this.#packetsPerSecond = packetsPerSecond;
    this.#burst = Math.max(ASK_PACKETS_MAX, Math.floor(packetsPerSecond * BURST_SHARE));
    this.#ratePerMs = (packetsPerSecond * HEADROOM - this.#burst) / 1000;
    this.#tokens = Math.min(this.#tokens, this.#burst);
  }

  /** Whether `packets` may be spent now. */
  has(packets: number): boolean {
    if (this.#packetsPerSecond === Number.POSITIVE_INFINITY) return true;
    this.#fill();
    return this.#tokens >= packets;
  }

  /** Whether more than half of the burst would be left, so that it is not missed. */
  hasToSpare(packets: number): boolean {
    return this.has(packets + this.#burst / 2);
  }

  /** Whether a spend of that size ever gets its turn is up to the caller: packets <= ASK_PACKETS_MAX. */
  spend(packets: number): void {
    this.#tokens -= packets;
    this.spentTotal += packets;
    this.#turnSlots();
    const slot = this.#slotNumber % SLOTS;
    this.#slots[slot] = this.#slots[slot]! + packets;
  }

  /** Packets of the last second, to the next 50 ms. */
  get lastSecond(): number {
    this.#turnSlots();
    return this.#slots.reduce((sum, packets) => sum + packets, 0);
  }

  /** Packets per second that could be sent besides; Infinity without bound. */
  get headroom(): number {
    return Math.max(0, this.#packetsPerSecond - this.lastSecond);
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const earned = (nowMs - this.#filledAtMs) * this.#ratePerMs;
    this.#tokens = Math.min(this.#burst, this.#tokens + earned);
    this.#filledAtMs = nowMs;
  }

  #turnSlots(): void {
    const number = Math.floor(this.#clock.monotonicMs() / SLOT_MS);
    const passed = Math.min(number - this.#slotNumber, SLOTS);
    for (let step = 1; step <= passed; step += 1) this.#slots[(number - passed + step) % SLOTS] = 0;
    this.#slotNumber = number;
  }
}
