import { expect, test } from 'vitest';
import { CrashLedger } from '../../../bench/load/crash-ledger.ts';

test('a second arrival is excused by a kill that found the first one unsettled, and by nothing else', () => {
  const ledger = new CrashLedger();
  for (const recipient of ['once', 'excused', 'settled', 'same life', 'lost', 'late'])
    ledger.acknowledged(recipient);
  ledger.arrived('once');
  ledger.arrived('excused');
  ledger.arrived('settled');
  ledger.arrived('same life');
  ledger.arrived('same life');
  ledger.arrived('never acknowledged');
  ledger.ended(new Set(['excused', 'late', 'lost']));
  ledger.arrived('excused');
  ledger.arrived('settled');
  ledger.arrived('late');
  expect(ledger.verdict()).toEqual({
    acknowledged: 6,
    deliveredOnce: 3,
    deliveredTwice: 3,
    deliveredMoreOften: 0,
    deliveredUnacknowledged: 1,
    lost: ['lost'],
    unexplained: ['same life', 'settled'],
    excused: 1,
    unsettledAtKills: 1,
  });
});

test('an excuse serves once: a third arrival needs another kill', () => {
  const ledger = new CrashLedger();
  ledger.arrived('a');
  ledger.arrived('b');
  for (let life = 0; life < 2; life += 1) {
    ledger.ended(new Set(life === 0 ? ['a', 'b'] : ['a']));
    ledger.arrived('a');
    ledger.arrived('b');
  }
  expect(ledger.verdict()).toMatchObject({
    deliveredMoreOften: 2,
    excused: 3,
    unexplained: ['b'],
  });
});
