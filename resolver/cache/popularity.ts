/** What fronts serve never asks the cache, so the cache asks them: popular answers stay in use there. */
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { CacheStore } from './store.ts';

const EVERY_MS = 1_000;
/** Every answer is looked at once in so many turns. */
const TURNS = 16;

export class Popularity implements AlarmOwner {
  readonly #cache: CacheStore;
  readonly #wheel: TimerWheel;
  readonly #alarm = new Alarm(this, 0);

  /** Works until the wheel is stopped. */
  constructor(cache: CacheStore, wheel: TimerWheel) {
    this.#cache = cache;
    this.#wheel = wheel;
    wheel.arm(this.#alarm, EVERY_MS);
  }

  onAlarm(): void {
    this.#cache.noteHits(TURNS);
    this.#wheel.arm(this.#alarm, EVERY_MS);
  }
}
