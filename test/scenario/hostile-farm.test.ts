/** The hostile farm in small: one site for each misbehaviour, and as many healthy ones between them. */
import { expect, test } from 'vitest';
import { MISBEHAVIOURS } from '../../bench/load/hostile-peer.ts';
import { runHostileFarm } from '../../bench/scenarios/hostile-farm.ts';

test('every recipient is accounted for, and every healthy one has its mail', async () => {
  const sites = MISBEHAVIOURS.length * 2;
  const farm = await runHostileFarm({ messages: sites * 10, sites, rounds: 1, timeoutMs: 60_000 });
  expect(farm).toMatchObject({
    acknowledged: sites * 10,
    unaccounted: 0,
    healthyDelivered: sites * 5,
  });
  // Those that refuse for good, and those that take some of what they are sent.
  expect(farm.bounced).toBeGreaterThan(0);
  expect(farm.delivered).toBeGreaterThanOrEqual(sites * 5);
  expect(farm.queued).toBeGreaterThan(0);
}, 150_000);
