/**
 * One clock for several threads: what `monotonicMs()` of a thread's clock says, told by another.
 * performance.now() counts from the start of each thread, so instants of one mean nothing in another.
 */
import type { Clock } from './clock.ts';

/** A clock as it is handed to a thread; survives postMessage. */
export interface ClockHandle {
  /** Where the clock writes its milliseconds, when it does not run by itself. */
  readonly shared: Float64Array | null;
  /** Of the system's monotonic clock, when the handed clock said zero. */
  readonly originMs: number;
}

const systemMs = (): number => Number(process.hrtime.bigint()) / 1e6;

export const clockHandle = (clock: Clock): ClockHandle => ({
  shared: clock.shared ?? null,
  originMs: systemMs() - clock.monotonicMs(),
});

/** @returns what the clock's monotonicMs() would say in its own thread, to a few microseconds */
export function threadClock({ shared, originMs }: ClockHandle): () => number {
  if (shared !== null) return () => shared[0]!;
  const aheadMs = systemMs() - performance.now() - originMs;
  return () => performance.now() + aheadMs;
}
