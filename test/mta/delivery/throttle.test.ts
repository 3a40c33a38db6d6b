import { expect, test } from 'vitest';
import { Throttles, TokenBucket } from '../../../mta/delivery/throttle.ts';

test.each([
  { perSecond: 4, burst: 4, thenEveryMs: 250 },
  { perSecond: 0.5, burst: 1, thenEveryMs: 2000 },
])('$perSecond a second: a burst of $burst, then one every $thenEveryMs ms', (row) => {
  const bucket = new TokenBucket(row.perSecond, 0);
  const taken = (nowMs: number): number => {
    let count = 0;
    for (; bucket.waitMs(nowMs) <= 0; count += 1) bucket.take();
    return count;
  };
  expect(taken(0)).toBe(row.burst);
  expect(bucket.waitMs(0)).toBe(row.thenEveryMs);
  expect(taken(row.thenEveryMs - 1)).toBe(0);
  expect(taken(row.thenEveryMs)).toBe(1);
  expect(taken(row.thenEveryMs * 3)).toBe(Math.min(2, row.burst));
  expect(taken(3_600_000)).toBe(row.burst);
});

test('a scope is one bucket, and a provider one allotment, whoever asks', () => {
  const throttles = new Throttles();
  const shared = { max: 2, scope: 'provider google' };
  expect(throttles.bucket(shared, 0)).toBe(throttles.bucket(shared, 5));
  const connections = throttles.connections(shared)!;
  expect(connections.take(1, () => undefined)).toBe(true);
  expect(throttles.connections(shared)!.take(1, () => undefined)).toBe(true);
  expect(throttles.connections(shared)!.take(1, () => undefined)).toBe(false);
  expect(throttles.connections({ max: 2, scope: 'site x' })).toBeNull();
});
