import { describe, expect, test } from 'vitest';
import { RateLimit } from '../../resolver/rate-limit.ts';

/** How many of 1,000 queries at once get through. */
function burst(limit: RateLimit, address: string, nowMs: number): number {
  let admitted = 0;
  for (let index = 0; index < 1_000; index += 1) if (limit.admits(address, nowMs)) admitted += 1;
  return admitted;
}

describe('a client', () => {
  test('gets its rate, and twice that at once', () => {
    const limit = new RateLimit(100);
    const steps = [
      { atMs: 0, admitted: 200 },
      { atMs: 0, admitted: 0 },
      { atMs: 500, admitted: 50 },
      { atMs: 1_500, admitted: 100 },
      { atMs: 60_000, admitted: 200 },
    ];
    for (const { atMs, admitted } of steps) {
      expect([atMs, burst(limit, '192.0.2.1', atMs)]).toEqual([atMs, admitted]);
    }
  });

  test('is an address, or a /48 of IPv6, and does not pay for others', () => {
    const limit = new RateLimit(10);
    expect(burst(limit, '2001:db8:1:2::1', 0)).toBe(20);
    expect(burst(limit, '2001:db8:1:3::9', 0)).toBe(0);
    expect(burst(limit, '2001:db8:2::1', 0)).toBe(20);
    expect(burst(limit, '192.0.2.1', 0)).toBe(20);
    expect(burst(limit, '192.0.2.2', 0)).toBe(20);
  });

  test.each(['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1'])('%s is ourselves', (address) => {
    expect(burst(new RateLimit(1), address, 0)).toBe(1_000);
  });
});

test('0 is no limit, and keeps no table', () => {
  const limit = new RateLimit(0);
  expect(burst(limit, '192.0.2.1', 0)).toBe(1_000);
  expect(limit.clients).toBe(0);
});

test('a flood of spoofed addresses keeps the table at its bound, and who asks on stays in it', () => {
  const limit = new RateLimit(10);
  burst(limit, '192.0.2.1', 0);
  for (let index = 0; index < 50_000; index += 1) {
    limit.admits(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, 1);
    if (index % 1_000 === 0) expect(limit.admits('192.0.2.1', 1)).toBe(false);
  }
  expect(limit.clients).toBe(16_384);
});
