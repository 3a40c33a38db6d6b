/** The system's clock from an instant of the test's choice, which the test can move forward: what falls due on the way fires at once. */
import { type Clock, systemClock, type Timer } from '../../runtime/clock.ts';

interface Pending {
  readonly dueMs: number;
  readonly callback: () => void;
  timer: Timer;
}

export class LeapClock implements Clock {
  readonly #real = systemClock();
  readonly #startMs = this.#real.monotonicMs();
  readonly #startWallMs: number;
  readonly #pending = new Set<Pending>();
  #leaptMs = 0;

  constructor(wallMs: number) {
    this.#startWallMs = wallMs;
  }

  monotonicMs(): number {
    return this.#real.monotonicMs() + this.#leaptMs;
  }

  wallMs(): number {
    return Math.floor(this.#startWallMs + this.monotonicMs() - this.#startMs);
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry: Pending = {
      dueMs: this.monotonicMs() + delayMs,
      callback,
      timer: { cancel: () => undefined },
    };
    this.#pending.add(entry);
    this.#arm(entry);
    return {
      cancel: () => {
        this.#pending.delete(entry);
        entry.timer.cancel();
      },
    };
  }

  leap(ms: number): void {
    this.#leaptMs += ms;
    for (const entry of this.#pending) {
      entry.timer.cancel();
      this.#arm(entry);
    }
  }

  #arm(entry: Pending): void {
    entry.timer = this.#real.after(entry.dueMs - this.monotonicMs(), () => {
      this.#pending.delete(entry);
      entry.callback();
    });
  }
}
