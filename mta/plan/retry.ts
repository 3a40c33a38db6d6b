/**
 * When to try again: a literal list of waits, jittered, bounded by the message's age, and bent by
 * what a peer asks for ("try again in 300 seconds").
 *
 * Invariants, for a retry at dueMs
 * - dueMs > nowMs, and dueMs <= max(expiresAtMs, nowMs + LAST_WAIT_MS_MIN).
 * - A peer's hint lengthens any wait up to HINT_MS_MAX, and shortens only the first few, never below
 *   HINT_MS_MIN: a peer that always says "one second" gets no storm out of us.
 */
import type { Random } from '../../runtime/random.ts';

export interface RetryPolicy {
  /** Waits after the first, second, … failed attempt, ms; the last repeats. Not empty. */
  readonly waitsMs: readonly number[];
  /** Age at which a failed attempt was the last (RFC 5321 §4.5.4.1). */
  readonly ageMsMax: number;
}

export interface FailedAttempt {
  /** Attempts that had ended before this one. */
  readonly attempts: number;
  /** Wall ms at which this attempt ended. */
  readonly nowMs: number;
  /** Wall ms at which the message was taken. */
  readonly receivedAtMs: number;
  /** What the peer asked for: Judgement.hintMs. */
  readonly hintMs: number | null;
}

export type Retry =
  | { readonly kind: 'retry' /** Wall ms. */; readonly dueMs: number }
  | { readonly kind: 'expired' };

/** Waits vary by a tenth either way, so that what failed together does not return together. */
const JITTER = 0.1;
/** A wait cut short by the message's age is not cut below this: the last attempt is a real one. */
const LAST_WAIT_MS_MIN = 60_000;
const HINT_MS_MIN = 5_000;
/** An hour: the longest that greylisting implementations ask for by default. */
const HINT_MS_MAX = 3_600_000;
/** After so many attempts a hint no longer shortens the wait. */
const HASTY_ATTEMPTS_MAX = 3;

/** When to try again after a failed attempt, or that there will be none. The final attempt falls due at ageMsMax. */
export function nextAttempt(policy: RetryPolicy, failed: FailedAttempt, random: Random): Retry {
  const { nowMs } = failed;
  const expiresAtMs = failed.receivedAtMs + policy.ageMsMax;
  if (nowMs >= expiresAtMs) return { kind: 'expired' };
  const latestMs = Math.max(expiresAtMs, nowMs + LAST_WAIT_MS_MIN);
  const waitMs = Math.max(1, Math.round(waitOf(policy, failed, random)));
  return { kind: 'retry', dueMs: Math.min(nowMs + waitMs, latestMs) };
}

function waitOf({ waitsMs }: RetryPolicy, failed: FailedAttempt, random: Random): number {
  const scheduledMs = waitsMs[Math.min(failed.attempts, waitsMs.length - 1)]!;
  const jitteredMs = scheduledMs * (1 - JITTER + 2 * JITTER * random.fraction());
  if (failed.hintMs === null) return jitteredMs;
  const hintMs = Math.min(Math.max(failed.hintMs, HINT_MS_MIN), HINT_MS_MAX);
  // Never before the time that the peer named: greylisting would start over.
  const hintedMs = hintMs * (1 + JITTER * random.fraction());
  return failed.attempts < HASTY_ATTEMPTS_MAX ? hintedMs : Math.max(hintedMs, jitteredMs);
}
