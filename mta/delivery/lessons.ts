/**
 * What hosts have taught a site by refusing, while it has no work: a pause between messages, fewer
 * connections. Without it the next burst would ask as much again of a provider that has just said no.
 *
 * Invariants
 * - At most SITES_MAX sites are remembered; which was left longest ago is forgotten first, and then
 *   begins like any other.
 * - Restraint alone is kept: nobody is met with more connections for having stood many once.
 * - For KEPT_MS after its last work a lesson stays as it was, since quiet proves nothing where nothing is
 *   sent; from then on time takes it back, as it does at a site that works (tuner.ts, concurrency.ts).
 */
import { LRUCache } from 'lru-cache';
import { eased, type Restraint } from '../plan/concurrency.ts';
import { type Pause, relaxed } from './tuner.ts';

const SITES_MAX = 10_000;
/** Providers that say how they count mail count it by the hour. */
const KEPT_MS = 3_600_000;
const CAUSE_MAX = 300;

export interface Lesson {
  readonly pause: Pause | null;
  readonly restraint: Restraint | null;
}

const NOTHING: Lesson = { pause: null, restraint: null };

/** Instants are monotonic ms. */
export class Lessons {
  readonly #kept = new LRUCache<string, Lesson & { readonly leftAtMs: number }>({ max: SITES_MAX });

  /** The site has no work any more. */
  keep(siteId: string, { pause, restraint }: Lesson, nowMs: number): void {
    if (pause === null && restraint === null) return;
    const told = pause && { ...pause, cause: pause.cause.slice(0, CAUSE_MAX) };
    this.#kept.set(siteId, { pause: told, restraint, leftAtMs: nowMs });
  }

  /** The site has work again, and keeps its lesson itself from here on. */
  take(siteId: string, nowMs: number): Lesson {
    const lesson = this.peek(siteId, nowMs);
    this.#kept.delete(siteId);
    return lesson;
  }

  /** What is left of it by now. */
  peek(siteId: string, nowMs: number): Lesson {
    const kept = this.#kept.peek(siteId);
    if (kept === undefined) return NOTHING;
    const { pause, restraint, leftAtMs } = kept;
    const stillMs = Math.min(nowMs - leftAtMs, KEPT_MS);
    const complainedAtMs = (pause?.complainedAtMs ?? 0) + stillMs;
    return {
      pause: pause && relaxed({ ...pause, complainedAtMs }, nowMs),
      restraint: restraint && eased(restraint, nowMs - leftAtMs - stillMs),
    };
  }
}
