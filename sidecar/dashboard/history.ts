/**
 * The past that a program keeps of itself: every second for ten minutes, every ten seconds for two hours.
 *
 * Invariants: at most FINE_MAX + COARSE_MAX samples; each list is in order of time, strictly; a coarse
 * sample is one of the fine ones, so that both tell the same.
 */

export const FINE_STEP_MS = 1_000;
export const COARSE_STEP_MS = 10_000;
/** One more than the span, since a rate lies between two samples. */
const FINE_MAX = 601;
const COARSE_MAX = 721;

export interface Sampled {
  /** Wall ms, whole seconds. */
  readonly atMs: number;
}

export interface Past<S extends Sampled> {
  readonly fine: readonly S[];
  readonly coarse: readonly S[];
}

export class History<S extends Sampled> implements Past<S> {
  readonly #fine: S[] = [];
  readonly #coarse: S[] = [];

  get fine(): readonly S[] {
    return this.#fine;
  }

  get coarse(): readonly S[] {
    return this.#coarse;
  }

  /** Whether the sample of this instant is kept for two hours. */
  isCoarse(atMs: number): boolean {
    const last = this.#coarse.at(-1);
    return last === undefined || atMs - last.atMs >= COARSE_STEP_MS;
  }

  /** One that is no later than the last, as when the clock was set back, is left out. */
  push(sample: S): void {
    const last = this.#fine.at(-1);
    if (last !== undefined && sample.atMs <= last.atMs) return;
    if (this.isCoarse(sample.atMs)) append(this.#coarse, sample, COARSE_MAX);
    append(this.#fine, sample, FINE_MAX);
  }

  /** The newest so many. */
  recent(count: number): readonly S[] {
    return this.#fine.slice(-count);
  }
}

function append<S>(list: S[], sample: S, max: number): void {
  if (list.length === max) list.shift();
  list.push(sample);
}
