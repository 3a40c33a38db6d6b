/** A clock that moves only when the test says so; timers fire in order of their instants. */
import type { Clock, Timer } from '../../runtime/clock.ts';

interface Pending {
  readonly atMs: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  /** The present, also for threads. */
  readonly shared = new Float64Array(new SharedArrayBuffer(Float64Array.BYTES_PER_ELEMENT));
  readonly #wallOriginMs: number;
  #pending: Pending[] = [];

  constructor(startMs = 1_000_000, wallMs = 1_800_000_000_000) {
    this.shared[0] = startMs;
    this.#wallOriginMs = wallMs - startMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return Math.floor(this.#wallOriginMs + this.#nowMs);
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry = { atMs: this.#nowMs + Math.max(delayMs, 0), callback };
    this.#pending.push(entry);
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((other) => other !== entry);
      },
    };
  }

  /** Timers not yet fired or cancelled. */
  get timers(): number {
    return this.#pending.length;
  }

  /** Moves time forward, firing what falls due on the way at its own instant. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      let next: Pending | null = null;
      for (const entry of this.#pending) {
        if (entry.atMs <= endMs && (next === null || entry.atMs < next.atMs)) next = entry;
      }
      if (next === null) break;
      const due = next;
      this.#pending = this.#pending.filter((entry) => entry !== due);
      this.shared[0] = Math.max(this.#nowMs, due.atMs);
      due.callback();
    }
    this.shared[0] = endMs;
  }

  get #nowMs(): number {
    return this.shared[0]!;
  }
}
