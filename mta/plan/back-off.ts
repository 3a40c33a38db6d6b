/**
 * Leaving a site alone after it failed, and finding out with a single connection whether it is back.
 *
 *   ready ──failed()──► waiting ──until──► probing ──failed()──► waiting, twice as long
 *     ▲                                       │
 *     └──────────────succeeded()──────────────┘
 *
 * Invariant: WAIT_MS_FIRST × 0.9 <= wait <= max(WAIT_MS_MAX × 1.1, what the peer asked for, at most HINT_MS_MAX).
 */
import type { Random } from '../../runtime/random.ts';

/** Short enough that a restarting server is found again before the first retry of its mail. */
const WAIT_MS_FIRST = 10_000;
/** Bounds how late a recovery is noticed. */
const WAIT_MS_MAX = 600_000;
/** What a peer may ask for at most. */
const HINT_MS_MAX = 3_600_000;
const JITTER = 0.1;

export type BackOffState = 'ready' | 'waiting' | 'probing';

export class BackOff {
  readonly #random: Random;
  /** Failures in a row; 0 is ready. */
  #failures = 0;
  #untilMs = Number.NEGATIVE_INFINITY;
  #probing = false;

  constructor(random: Random) {
    this.#random = random;
  }

  get failures(): number {
    return this.#failures;
  }

  /** Monotonic ms at which a probe may start; meaningful while waiting. */
  get untilMs(): number {
    return this.#untilMs;
  }

  state(nowMs: number): BackOffState {
    if (this.#failures === 0) return 'ready';
    return this.#probing || nowMs >= this.#untilMs ? 'probing' : 'waiting';
  }

  /**
   * Asks leave to connect. After a failure it is given once per wait; that probe must be followed by
   * succeeded(), failed() or abandoned().
   */
  enter(nowMs: number): boolean {
    if (this.#failures === 0) return true;
    if (this.#probing || nowMs < this.#untilMs) return false;
    this.#probing = true;
    return true;
  }

  /** A probe may start now. */
  press(nowMs: number): void {
    if (this.state(nowMs) === 'waiting') this.#untilMs = nowMs;
  }

  /** A session got as far as MAIL. */
  succeeded(): void {
    this.#failures = 0;
    this.#probing = false;
    this.#untilMs = Number.NEGATIVE_INFINITY;
  }

  /**
   * Every host of the site failed, or one spoke for all ('site' in disposition.ts). Failures reported
   * while already waiting, by connections that were begun before, do not lengthen the wait.
   *
   * @param hintMs what the peer asked for, or null
   */
  failed(nowMs: number, hintMs: number | null = null): void {
    if (this.state(nowMs) === 'waiting') return;
    this.#probing = false;
    const doubledMs = Math.min(WAIT_MS_FIRST * 2 ** this.#failures, WAIT_MS_MAX);
    const jitteredMs = doubledMs * (1 - JITTER + 2 * JITTER * this.#random.fraction());
    this.#failures += 1;
    this.#untilMs = nowMs + Math.max(jitteredMs, Math.min(hintMs ?? 0, HINT_MS_MAX));
  }

  /** The probe ended without an answer either way (shutdown): another may start. */
  abandoned(): void {
    this.#probing = false;
  }
}
