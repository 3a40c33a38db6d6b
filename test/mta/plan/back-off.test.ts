/** Leaving a failed site alone, as a timetable. */
import { describe, expect, test } from 'vitest';
import { BackOff } from '../../../mta/plan/back-off.ts';
import type { Random } from '../../../runtime/random.ts';

const SECOND = 1_000;
const fixed = (fraction: number): Random => ({ integer: () => 0, fraction: () => fraction });

describe('back-off', () => {
  test('a site that has not failed is always open', () => {
    const backOff = new BackOff(fixed(0.5));
    expect(backOff.state(0)).toBe('ready');
    for (let attempt = 0; attempt < 5; attempt += 1) expect(backOff.enter(0)).toBe(true);
  });

  test('waits double up to ten minutes', () => {
    const backOff = new BackOff(fixed(0.5));
    let nowMs = 0;
    const waits: number[] = [];
    for (let failure = 0; failure < 9; failure += 1) {
      backOff.failed(nowMs);
      waits.push((backOff.untilMs - nowMs) / SECOND);
      nowMs = backOff.untilMs;
      expect(backOff.enter(nowMs)).toBe(true);
    }
    expect(waits).toEqual([10, 20, 40, 80, 160, 320, 600, 600, 600]);
  });

  test('pressed for, a probe may start at once, and its failure counts as any other', () => {
    const backOff = new BackOff(fixed(0.5));
    backOff.press(0);
    expect(backOff.state(0)).toBe('ready');
    backOff.failed(0);
    backOff.press(1_000);
    expect([backOff.state(1_000), backOff.enter(1_000)]).toEqual(['probing', true]);
    backOff.press(1_000);
    expect(backOff.enter(1_000)).toBe(false);
    backOff.failed(2_000);
    expect(backOff.untilMs).toBe(22_000);
  });

  test('one probe at a time, and its success opens the site', () => {
    const backOff = new BackOff(fixed(0.5));
    backOff.failed(0);
    for (const step of [
      { atMs: 9_999, state: 'waiting', enters: false },
      { atMs: 10_000, state: 'probing', enters: true },
      { atMs: 10_000, state: 'probing', enters: false },
      { atMs: 60_000, state: 'probing', enters: false },
    ]) {
      expect(backOff.state(step.atMs)).toBe(step.state);
      expect(backOff.enter(step.atMs)).toBe(step.enters);
    }
    backOff.succeeded();
    expect(backOff.state(60_000)).toBe('ready');
    expect(backOff.failures).toBe(0);
    backOff.failed(60_000);
    expect(backOff.untilMs).toBe(70_000);
  });

  test('a probe that was abandoned makes room for another', () => {
    const backOff = new BackOff(fixed(0.5));
    backOff.failed(0);
    expect(backOff.enter(10_000)).toBe(true);
    backOff.abandoned();
    expect(backOff.enter(10_000)).toBe(true);
  });

  test('failures of connections begun before do not lengthen the wait', () => {
    const backOff = new BackOff(fixed(0.5));
    for (let connection = 0; connection < 20; connection += 1) backOff.failed(connection);
    expect(backOff.failures).toBe(1);
    expect(backOff.untilMs).toBe(10_000);
  });

  test.each([
    [300 * SECOND, 300 * SECOND],
    [1 * SECOND, 10 * SECOND],
    [86_400 * SECOND, 3_600 * SECOND],
  ])('a peer that asks for %d ms gets %d', (hintMs, waitMs) => {
    const backOff = new BackOff(fixed(0.5));
    backOff.failed(0, hintMs);
    expect(backOff.untilMs).toBe(waitMs);
  });

  test.each([
    [0, 9_000],
    [1, 11_000],
  ])('jitter: a fraction of %d waits %d ms', (fraction, waitMs) => {
    const backOff = new BackOff(fixed(fraction));
    backOff.failed(0);
    expect(backOff.untilMs).toBeCloseTo(waitMs);
  });
});
