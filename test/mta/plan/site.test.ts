/** Site ids: equal exactly when hosts, order, port, policy and source are. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type SiteParts, siteOf } from '../../../mta/plan/site.ts';

const parts = (
  ranks: readonly (readonly string[])[],
  more: Partial<SiteParts> = {},
): SiteParts => ({
  ranks,
  port: 25,
  tls: 'opportunistic',
  source: '',
  ...more,
});
const idOf = (ranks: readonly (readonly string[])[]): string => siteOf(parts(ranks)).id;

describe('siteOf', () => {
  test('reads as it is documented', () => {
    const site = siteOf(parts([['MX2.Example.net', 'mx1.example.net'], ['mx3.example.net']]));
    expect(site.id).toBe('1:25:opportunistic::mx1.example.net,mx2.example.net/mx3.example.net');
    expect(site.alias).toMatch(/^mx1\.example\.net\+2~[0-9a-z]{4}$/);
    expect(site.ranks).toEqual([['mx1.example.net', 'mx2.example.net'], ['mx3.example.net']]);
  });

  test('a single host has a plain alias', () => {
    expect(siteOf(parts([['[IPv6:2001:db8::1]']])).alias).toMatch(/^\[ipv6:2001:db8::1\]~.{4}$/);
  });

  test.each([
    ['order within a rank', [['a.example', 'b.example']], [['b.example', 'a.example']]],
    ['case', [['A.example']], [['a.example']]],
    ['a host named twice in a rank', [['a.example', 'a.example']], [['a.example']]],
    [
      'a host named again in a worse rank',
      [['a.example'], ['a.example', 'b.example']],
      [['a.example'], ['b.example']],
    ],
    [
      'a rank emptied by that',
      [['a.example'], ['a.example'], ['b.example']],
      [['a.example'], ['b.example']],
    ],
  ])('%s makes no difference', (_, one, other) => {
    expect(idOf(one)).toBe(idOf(other));
  });

  test.each([
    ['order of ranks', [['a.example'], ['b.example']], [['b.example'], ['a.example']]],
    ['one rank or two', [['a.example', 'b.example']], [['a.example'], ['b.example']]],
    ['a separator within a name', [['a,b']], [['a', 'b']]],
    ['an escape within a name', [['a%2c.b']], [['a,b']]],
  ])('%s makes one', (_, one, other) => {
    expect(idOf(one)).not.toBe(idOf(other));
  });

  test('injective over hosts with awkward characters, ports, policies and sources', () => {
    const host = fc.string({
      unit: fc.constantFrom(...'ab,/:%.2c\u0101é['),
      minLength: 1,
      maxLength: 4,
    });
    const anyParts = fc.record({
      ranks: fc.array(fc.array(host, { minLength: 1, maxLength: 3 }), {
        minLength: 1,
        maxLength: 3,
      }),
      port: fc.constantFrom(2, 25, 255),
      tls: fc.constantFrom('opportunistic', 'require', 'verify', 'none'),
      source: fc.string({ unit: fc.constantFrom(...'a:%/,'), maxLength: 3 }),
    });
    fc.assert(
      fc.property(anyParts, anyParts, (one, other) => {
        const [first, second] = [siteOf(one), siteOf(other)];
        const meaning = (site: typeof first) =>
          JSON.stringify([site.ranks, site.port, site.tls, site.source]);
        expect(first.id === second.id).toBe(meaning(first) === meaning(second));
      }),
      { numRuns: 20_000 },
    );
  });

  test('an id tells the hosts it was made of', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.string({ minLength: 1, maxLength: 5 }), { minLength: 1 }), {
          minLength: 1,
        }),
        (ranks) => {
          const site = siteOf(parts(ranks));
          const decode = (text: string) =>
            text.replaceAll(/%([0-9a-f]+)\./g, (_, hex: string) =>
              String.fromCharCode(Number.parseInt(hex, 16)),
            );
          const hosts = site.id.split(':').slice(4).join(':');
          expect(hosts.split('/').map((rank) => rank.split(',').map(decode))).toEqual(site.ranks);
        },
      ),
    );
  });
});
