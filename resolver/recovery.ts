/**
 * Names that failed are asked for again by us, one question at a time and ever more rarely, so that
 * their recovery is known when it happens and not when a client dares to ask again.
 *
 * Invariants: at most WATCHED_MAX names are watched; each is asked for at most once in
 * INTERVAL_MS_MIN, all together at most PROBES_PER_TURN_MAX times a second, in the lane of refreshes;
 * none for longer than WATCH_MS, and none while nobody listens to events. Nothing runs while no name
 * is watched.
 */
import type { Clock } from '../runtime/clock.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../runtime/timer-wheel.ts';
import { parseKey } from './cache/key.ts';
import type { Events } from './events.ts';
import { TYPE, typeName } from './wire/constants.ts';
import { keyToName, nameToText } from './wire/names.ts';

const WATCHED_MAX = 512;
const TURN_MS = 1_000;
const PROBES_PER_TURN_MAX = 8;
const INTERVAL_MS_MIN = 5_000;
const INTERVAL_MS_MAX = 300_000;
/** By then every client has asked again, or does not care. */
const WATCH_MS = 3_600_000;
/** What mail cannot go on without. */
const WATCHED_TYPES: ReadonlySet<number> = new Set([TYPE.MX, TYPE.A, TYPE.AAAA, TYPE.TLSA]);

interface Watched {
  readonly failedAtMs: number;
  intervalMs: number;
  dueAtMs: number;
}

export interface RecoveryDeps {
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly events: Events;
  /** Has the key asked for when there is room. */
  readonly probe: (key: string) => void;
  /** Whether anybody could answer. */
  readonly reachable: () => boolean;
}

export class Recovery implements AlarmOwner {
  probesTotal = 0;
  recoveredTotal = 0;
  readonly #deps: RecoveryDeps;
  readonly #watched = new Map<string, Watched>();
  readonly #alarm = new Alarm(this, 0);

  constructor(deps: RecoveryDeps) {
    this.#deps = deps;
  }

  get watched(): number {
    return this.#watched.size;
  }

  /** A question failed. @param wanted whether a client waited for it */
  onFailed(key: string, reason: string, wanted: boolean): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const known = this.#watched.get(key);
    if (known !== undefined) {
      known.intervalMs = Math.min(known.intervalMs * 2, INTERVAL_MS_MAX);
      known.dueAtMs = nowMs + known.intervalMs;
      return;
    }
    const { type } = parseKey(key);
    if (!wanted || !WATCHED_TYPES.has(type) || this.#watched.size >= WATCHED_MAX) return;
    const dueAtMs = nowMs + INTERVAL_MS_MIN;
    this.#watched.set(key, { failedAtMs: nowMs, intervalMs: INTERVAL_MS_MIN, dueAtMs });
    this.#deps.events.publish({ event: 'name-failing', ...nameAndType(key), reason });
    if (!this.#alarm.armed) this.#deps.wheel.arm(this.#alarm, TURN_MS);
  }

  /** A question was answered. */
  onAnswered(key: string): void {
    if (this.#watched.size === 0) return;
    const known = this.#watched.get(key);
    if (known === undefined) return;
    this.#watched.delete(key);
    this.recoveredTotal += 1;
    const failedMs = this.#deps.clock.monotonicMs() - known.failedAtMs;
    this.#deps.events.publish({
      event: 'name-recovered',
      ...nameAndType(key),
      failedSeconds: Math.round(failedMs / 1000),
    });
  }

  onAlarm(): void {
    const { clock, wheel, events, probe, reachable } = this.#deps;
    const nowMs = clock.monotonicMs();
    // While nobody can answer, the upstreams themselves are probed; while nobody listens, no packet
    // is spent on what a client may never ask for again.
    let probesLeft = events.listening && reachable() ? PROBES_PER_TURN_MAX : 0;
    for (const [key, watched] of this.#watched) {
      if (nowMs - watched.failedAtMs >= WATCH_MS) {
        this.#watched.delete(key);
      } else if (watched.dueAtMs <= nowMs && probesLeft > 0) {
        probesLeft -= 1;
        this.probesTotal += 1;
        watched.dueAtMs = nowMs + watched.intervalMs;
        probe(key);
      }
    }
    if (this.#watched.size > 0) wheel.arm(this.#alarm, TURN_MS);
  }
}

function nameAndType(key: string): { readonly name: string; readonly type: string } {
  const { name, type } = parseKey(key);
  const text = nameToText(keyToName(name), 0);
  return { name: typeof text === 'number' ? '?' : text, type: typeName(type) };
}
