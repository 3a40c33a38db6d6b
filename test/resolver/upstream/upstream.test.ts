import { expect, test } from 'vitest';
import { plainUpstream } from '../../../resolver/upstream/address.ts';
import { Upstream } from '../../../resolver/upstream/upstream.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { ManualClock } from '../../support/clock.ts';

const upstream = () =>
  new Upstream(plainUpstream({ address: '2001:db8::53', port: 53 }), {
    budget: 0,
    mixCase: true,
    cookies: true,
    clock: new ManualClock(),
    random: cryptoRandom(),
  });

test('the time-out follows the round trips, within its bounds', () => {
  const it = upstream();
  expect([it.name, it.rtoMs, it.rttMs]).toEqual(['[2001:db8::53]:53', 500, null]);
  const steps: [sampleMs: number | null, rtoMs: number][] = [
    [1, 250],
    [null, 250],
    [200, 250],
    [200, 370],
    [3_000, 1_500],
  ];
  for (const [sampleMs, rtoMs] of steps) {
    it.noteResponse(sampleMs);
    expect(Math.round(it.rtoMs / 10) * 10).toBe(rtoMs);
  }
});

test('three questions unanswered take it down, any response brings it back', () => {
  const it = upstream();
  const journal = [
    it.noteTimeout(false),
    it.noteTimeout(true),
    it.noteTimeout(false),
    it.noteTimeout(false),
    it.noteTimeout(false),
    it.noteResponse(null),
    it.noteTimeout(false),
  ];
  expect(journal).toEqual([false, false, false, true, false, true, false]);
  expect([it.up, it.timeouts, it.failuresInSuccession]).toEqual([true, 6, 1]);
});

test('what the system says of it takes it down at once', () => {
  const it = upstream();
  expect([it.noteUnreachable('ECONNREFUSED'), it.up, it.lastFailure]).toEqual([
    true,
    false,
    'ECONNREFUSED',
  ]);
});
