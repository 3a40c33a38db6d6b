/** What fronts serve never asks the cache, so the cache asks them: popular answers stay in use there. */
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { CacheStore } from './store.ts';

const EVERY_MS = 1_000;
/** Every answer is looked at once in so many turns, or more when much is popular. */
const TURNS = 16;
/** Each costs 1 µs. */
const USED_MAX = 4_096;

export class Popularity implements AlarmOwner {
  readonly #cache: CacheStore;
  readonly #wheel: TimerWheel;
  readonly #onUsed: (key: string, hits: number) => void;
  readonly #alarm = new Alarm(this, 0);

  /** Works until the wheel is stopped. @param onUsed told of keys that fronts answered of late */
  constructor(cache: CacheStore, wheel: TimerWheel, onUsed: (key: string, hits: number) => void) {
    this.#cache = cache;
    this.#wheel = wheel;
    this.#onUsed = onUsed;
    wheel.arm(this.#alarm, EVERY_MS);
  }

  onAlarm(): void {
    this.#cache.noteHits(TURNS, USED_MAX, this.#onUsed);
    this.#wheel.arm(this.#alarm, EVERY_MS);
  }
}
