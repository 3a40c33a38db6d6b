/** Retry schedules as literal lists; jitter, age and hints within their bounds. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { nextAttempt, type RetryPolicy } from '../../../mta/plan/retry.ts';
import type { Random } from '../../../runtime/random.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const RECEIVED = 1_800_000_000_000;

const fixed = (fraction: number): Random => ({ integer: () => 0, fraction: () => fraction });
const policy: RetryPolicy = {
  waitsMs: [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR],
  ageMsMax: 5 * DAY,
};

/** Instants of all attempts in minutes since acceptance, when each fails at once. */
function attemptsOf(random: Random, waits = policy): number[] {
  const instants = [0];
  let nowMs = RECEIVED;
  for (let attempts = 0; ; attempts += 1) {
    const retry = nextAttempt(
      waits,
      { attempts, nowMs, receivedAtMs: RECEIVED, hintMs: null },
      random,
    );
    if (retry.kind === 'expired') return instants;
    nowMs = retry.dueMs;
    instants.push((nowMs - RECEIVED) / MINUTE);
  }
}

describe('the schedule', () => {
  test('without jitter is the list, its last wait repeated, until the age is reached', () => {
    const instants = attemptsOf(fixed(0.5));
    expect(instants.slice(0, 10)).toEqual([0, 1, 6, 21, 51, 111, 231, 471, 711, 951]);
    expect(instants.slice(-3)).toEqual([6_951, 7_191, 7_200]);
    expect(instants).toHaveLength(37);
  });

  test('of one wait repeats it', () => {
    expect(attemptsOf(fixed(0.5), { waitsMs: [HOUR], ageMsMax: 3.5 * HOUR })).toEqual([
      0, 60, 120, 180, 210,
    ]);
  });

  test('the last attempt is not squeezed in at the end of the age', () => {
    expect(attemptsOf(fixed(0.5), { waitsMs: [HOUR], ageMsMax: HOUR + 10_000 })).toEqual([
      0, 60, 61,
    ]);
  });

  test.each([
    [0, 0.9],
    [0.25, 0.95],
    [1, 1.1],
  ])('a fraction of %d makes a minute %d minutes', (fraction, minutes) => {
    expect(attemptsOf(fixed(fraction))[1]).toBe(minutes);
  });

  test('ends with the message’s age', () => {
    const failed = { attempts: 3, receivedAtMs: RECEIVED, hintMs: null };
    expect(nextAttempt(policy, { ...failed, nowMs: RECEIVED + 5 * DAY - 1 }, fixed(0.5)).kind).toBe(
      'retry',
    );
    expect(nextAttempt(policy, { ...failed, nowMs: RECEIVED + 5 * DAY }, fixed(0.5)).kind).toBe(
      'expired',
    );
  });
});

describe('a hint', () => {
  test.each([
    // Shortens the first waits, but not below five seconds, nor forever.
    { attempts: 0, hintSeconds: 30, waitSeconds: 30 },
    { attempts: 2, hintSeconds: 300, waitSeconds: 300 },
    { attempts: 0, hintSeconds: 0, waitSeconds: 5 },
    { attempts: 3, hintSeconds: 1, waitSeconds: 27 * 60 },
    // Lengthens any, but not beyond an hour.
    { attempts: 0, hintSeconds: 600, waitSeconds: 600 },
    { attempts: 3, hintSeconds: 3_000, waitSeconds: 3_000 },
    { attempts: 0, hintSeconds: 999_999, waitSeconds: 3_600 },
  ])(
    'of $hintSeconds s after $attempts attempts: $waitSeconds s',
    ({ attempts, hintSeconds, waitSeconds }) => {
      const failed = {
        attempts,
        nowMs: RECEIVED,
        receivedAtMs: RECEIVED,
        hintMs: hintSeconds * 1_000,
      };
      // Fraction 0 is the earliest: never before the instant that the peer named.
      expect(nextAttempt(policy, failed, fixed(0))).toEqual({
        kind: 'retry',
        dueMs: RECEIVED + waitSeconds * 1_000,
      });
    },
  );
});

test('whatever the input, the next attempt is in the future and within bounds', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: DAY }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 0, max: 7 * DAY }),
      fc.nat(50),
      fc.integer({ min: 0, max: 8 * DAY }),
      fc.option(fc.nat(10 * DAY)),
      fc.double({ min: 0, max: 0.999_999, noNaN: true }),
      (waitsMs, ageMsMax, attempts, ageMs, hintMs, fraction) => {
        const nowMs = RECEIVED + ageMs;
        const retry = nextAttempt(
          { waitsMs, ageMsMax },
          { attempts, nowMs, receivedAtMs: RECEIVED, hintMs },
          fixed(fraction),
        );
        if (retry.kind === 'expired') return ageMs >= ageMsMax;
        return retry.dueMs > nowMs && retry.dueMs <= Math.max(RECEIVED + ageMsMax, nowMs + MINUTE);
      },
    ),
  );
});
