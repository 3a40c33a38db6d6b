/** The crash storm in small: twelve kills, one of them before the mta is ready. */
import { expect, test } from 'vitest';
import { runCrashStorm, stormTable } from '../../bench/scenarios/crash-storm.ts';
import { requirePeer } from '../support/peers.ts';

requirePeer('loopback-network')('kill -9 at random moments, under full load', () => {
  test('nothing acknowledged is lost, and what arrives twice was in hand at a kill', async () => {
    const storm = await runCrashStorm({ kills: 12, seed: 7, withinMs: 300, timeoutMs: 100_000 });
    console.log(stormTable(storm));
    expect(storm).toMatchObject({ kills: 12, lost: [], unexplained: [], untrueEvents: [] });
    expect(storm.deliveredOnce).toBeGreaterThan(0);
    expect(storm.killsAtStart).toBe(1);
  }, 200_000);
});
