/**
 * Takes a sample at every whole second, for as long as the program runs.
 *
 * Invariant: one reading is under way at a time; a reading that takes longer than a second, or fails,
 * leaves the seconds it missed without a sample.
 */
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { FINE_STEP_MS, History, type Sampled } from './history.ts';

export interface SamplerDeps<S extends Sampled> {
  readonly clock: Clock;
  readonly log: Log;
  /** @param isCoarse the sample will be kept for longer, so it may tell more */
  readonly read: (atMs: number, isCoarse: boolean) => Promise<S>;
}

export class Sampler<S extends Sampled> {
  readonly history = new History<S>();
  readonly #deps: SamplerDeps<S>;
  #timer: Timer | null = null;
  #reading = false;

  constructor(deps: SamplerDeps<S>) {
    this.#deps = deps;
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #arm(): void {
    const { clock } = this.#deps;
    const untilNextMs = FINE_STEP_MS - (clock.wallMs() % FINE_STEP_MS);
    this.#timer = clock.after(untilNextMs, () => {
      this.#arm();
      void this.#read();
    });
  }

  async #read(): Promise<void> {
    if (this.#reading) return;
    this.#reading = true;
    const { clock, log, read } = this.#deps;
    const atMs = Math.round(clock.wallMs() / FINE_STEP_MS) * FINE_STEP_MS;
    try {
      this.history.push(await read(atMs, this.history.isCoarse(atMs)));
    } catch (error) {
      log.warn({ err: error }, 'no figures could be read for the dashboard');
    } finally {
      this.#reading = false;
    }
  }
}
