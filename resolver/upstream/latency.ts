/** How slow one upstream's slow answers are: the 95th percentile of its last round trips. */

const SAMPLES = 128;
/** Below this the percentile would be a guess. */
const SAMPLES_MIN = 20;
/** Sorting anew for each sample would cost more than it tells. */
const REFRESH_EVERY = 16;
const QUANTILE = 0.95;

export class Latency {
  readonly #samplesMs = new Float64Array(SAMPLES);
  #count = 0;
  #p95Ms: number | null = null;

  /** Milliseconds; null before SAMPLES_MIN samples. */
  get p95Ms(): number | null {
    return this.#p95Ms;
  }

  add(sampleMs: number): void {
    this.#samplesMs[this.#count % SAMPLES] = sampleMs;
    this.#count += 1;
    if (this.#count < SAMPLES_MIN || this.#count % REFRESH_EVERY !== 0) return;
    const sorted = this.#samplesMs.slice(0, Math.min(this.#count, SAMPLES)).sort();
    this.#p95Ms = sorted[Math.ceil(sorted.length * QUANTILE) - 1]!;
  }
}
