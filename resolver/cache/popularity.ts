/** What fronts serve never asks the cache, so the cache asks them: popular answers stay in use there. */
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { CacheStore } from './store.ts';

/** A timer of its own: on the wheel it would keep that turning, a hundred times a second. */
const EVERY_MS = 1_000;
/** Every answer is looked at once in so many turns, or more when much is popular. */
const TURNS = 16;
/** Each costs 1 µs. */
const USED_MAX = 4_096;

export class Popularity {
  readonly #cache: CacheStore;
  readonly #clock: Clock;
  readonly #onUsed: (key: string, hits: number) => void;
  #timer: Timer;

  /** @param onUsed told of keys that fronts answered, and how often since last time */
  constructor(cache: CacheStore, clock: Clock, onUsed: (key: string, hits: number) => void) {
    this.#cache = cache;
    this.#clock = clock;
    this.#onUsed = onUsed;
    this.#timer = clock.after(EVERY_MS, this.#look);
  }

  stop(): void {
    this.#timer.cancel();
  }

  readonly #look = (): void => {
    this.#cache.noteHits(TURNS, USED_MAX, this.#onUsed);
    this.#timer = this.#clock.after(EVERY_MS, this.#look);
  };
}
