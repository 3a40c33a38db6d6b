/** The shows of the packet budget and of an outage, small: a resolver as a user starts it, and real time. */
import { expect, test } from 'vitest';
import { runStorm } from '../../../bench/scenarios/cold-start-storm.ts';
import { outageFaults, runOutage } from '../../../bench/scenarios/outage.ts';

test('cold start: in no second more than the budget, and every query answered in time', async () => {
  const storm = await runStorm({ domains: 3_000, budget: 200, outstanding: 3_000 });
  expect(storm.busiestSecond).toBeLessThanOrEqual(200);
  expect([storm.unanswered, storm.unexplained]).toEqual([0, 0]);
  // A burst of ten, then 184 a second for the three seconds that leave time for an exchange.
  expect(storm.answered).toBeGreaterThan(500);
  expect(storm.answered + storm.failed).toBe(3_000);
  expect(Object.keys(storm.reasons)).toEqual(['waits for the budget of 200 packets/s (upstreams)']);
  expect(storm.slowestMs).toBeLessThan(5_000);
});

test('outage: the known keep answering, the new fail in time, and its end is noticed at once', async () => {
  const outcome = await runOutage({ outage: 10, perSecond: 100, names: 100 });
  expect(outcome.knownAsked).toBeGreaterThan(300);
  expect(outcome.newAsked).toBeGreaterThan(30);
  expect(outageFaults(outcome)).toEqual([]);
}, 60_000);
