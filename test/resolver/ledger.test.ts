import fc from 'fast-check';
import { expect, test } from 'vitest';
import { domainOf, Ledger } from '../../resolver/ledger.ts';
import { nameKey } from '../../resolver/wire/names.ts';
import { wireName } from '../support/wire.ts';

const key = (text: string): string => String(nameKey(wireName(text), 0));

test.each([
  ['example.net.', 'example.net.'],
  ['_mta-sts.example.net.', 'example.net.'],
  ['_25._tcp.mx1.example.net.', 'mx1.example.net.'],
  ['k1._domainkey.example.net.', 'example.net.'],
  ['2.0.0.127.in-addr.arpa.', 'arpa.'],
  ['.', '.'],
])('%s is about %s', (name, domain) => {
  expect(domainOf(key(name))).toBe(key(domain));
  // A key of the cache begins with the name and has five octets more.
  expect(domainOf(`${key(name)}\0\u000f\0\u0001\0`)).toBe(key(domain));
});

test('counts lookups, packets, failures, stale answers, and who answered last', () => {
  const ledger = new Ledger();
  ledger.countExchange(key('a.example.'), 2, '192.0.2.53:53', 12, true);
  ledger.countLookup(key('a.example.'), 'answer');
  ledger.countLookup(key('_smtp._tls.a.example.'), 'failure');
  ledger.countLookup(key('a.example.'), 'stale');
  ledger.countExchange(key('a.example.'), 1, null, 0, false);
  ledger.countExchange(key('unknown.example.'), 1, null, 0, false);
  expect(ledger.top(10, 'lookups')).toEqual([
    {
      domain: 'a.example.',
      lookups: 3,
      lookupsOver: 0,
      packets: 3,
      failures: 1,
      stale: 1,
      upstream: '192.0.2.53:53',
      rttMs: 12,
    },
  ]);
});

test('a flood of random names leaves the busy ones alone', () => {
  const ledger = new Ledger();
  for (let round = 0; round < 50_000; round += 1) {
    ledger.countLookup(key(`r${round}.flood.example.`), 'answer');
    if (round % 100 === 0) {
      for (let busy = 0; busy < 20; busy += 1)
        ledger.countLookup(key(`b${busy}.example.`), 'answer');
    }
  }
  const top = ledger.top(20, 'lookups').map(({ domain }) => domain);
  expect(top.every((domain) => domain.startsWith('b'))).toBe(true);
});

test('the true count is within the bounds it tells, and the sum is right', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(3_000), { maxLength: 6_000 }), (numbers) => {
      const ledger = new Ledger();
      const truth = new Map<string, number>();
      for (const number of numbers) {
        const name = `n${number}.example.`;
        truth.set(name, (truth.get(name) ?? 0) + 1);
        ledger.countLookup(key(name), 'answer');
      }
      const rows = ledger.top(5_000, 'lookups');
      expect(rows.length).toBeLessThanOrEqual(1_024);
      expect(rows.reduce((sum, { lookups }) => sum + lookups, 0)).toBe(numbers.length);
      for (const { domain, lookups, lookupsOver } of rows) {
        const count = truth.get(domain)!;
        expect(lookups - lookupsOver).toBeLessThanOrEqual(count);
        expect(lookups).toBeGreaterThanOrEqual(count);
      }
    }),
    { numRuns: 20 },
  );
});
