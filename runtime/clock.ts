/**
 * Time as everything else receives it. Only `main` files and the sidecar call {@link systemClock};
 * tests hand in a clock of their own and move it by hand.
 *
 * Invariant: monotonicMs() never decreases; wallMs() may (NTP), so only instants that outlive the
 * process (spool, logs) are wall time.
 */
export interface Timer {
  /** Idempotent; the callback will not run afterwards. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since an arbitrary origin, with fractions. */
  monotonicMs(): number;
  /** Milliseconds since the Unix epoch, whole. */
  wallMs(): number;
  /** Runs `callback` once, `delayMs` from now at the earliest. Does not keep the process alive. */
  after(delayMs: number, callback: () => void): Timer;
  /**
   * Where other threads read monotonicMs(), if this clock does not advance with the system's: memory
   * shared with them, one element.
   */
  readonly shared?: Float64Array;
}

/** setTimeout's own ceiling, 2^31 - 1 ms; a longer delay would fire at once. */
const DELAY_MS_MAX = 2_147_483_647;

export function systemClock(): Clock {
  return {
    monotonicMs: () => performance.now(),
    wallMs: () => Date.now(),
    after(delayMs, callback) {
      const handle = setTimeout(callback, Math.min(Math.max(delayMs, 0), DELAY_MS_MAX));
      handle.unref();
      return { cancel: () => clearTimeout(handle) };
    },
  };
}
