/** A resolver is replaced under load, and no query is lost. */
import { expect, test } from 'vitest';
import { runPlannedRestart } from '../../bench/scenarios/planned-restart.ts';
import { requirePeer } from '../support/peers.ts';

requirePeer('nsd', 'dnsperf')('a planned restart', () => {
  test('with fronts, sockets go from one process to the next and no query is lost', async () => {
    const result = await runPlannedRestart({
      perSecond: 500,
      restarts: 2,
      fronts: 1,
      controlSeconds: 0,
    });
    console.log(JSON.stringify(result));
    expect(result.sent).toBeGreaterThan(1_000);
    expect(result.lost).toBe(0);
  }, 120_000);
});
