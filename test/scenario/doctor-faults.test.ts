/** doctor on a machine that is broken in twelve ways, most of them for real. */
import { expect, test } from 'vitest';
import { FAULTS, runDoctorFaults, UNAVOIDABLE } from '../../bench/scenarios/doctor-faults.ts';
import { requirePeer } from '../support/peers.ts';

requirePeer(
  'machine',
  'unbound',
  'dig',
)('doctor on a broken machine', () => {
  test('finds every planted fault, and none that was not planted', async () => {
    const outcome = await runDoctorFaults();
    expect(FAULTS.length).toBeGreaterThanOrEqual(10);
    expect(outcome.missed).toEqual([]);
    expect(outcome.before.toSorted()).toEqual(UNAVOIDABLE.toSorted());
    expect(outcome.unplanted).toEqual(['upstream-ad']);
    expect(outcome.exitCodes).toEqual([0, 1]);
    for (const { level, fix } of outcome.findings)
      expect([level, fix === null]).not.toEqual(['wrong', true]);
  }, 60_000);
});
