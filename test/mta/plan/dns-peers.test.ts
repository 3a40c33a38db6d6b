/** The stub resolver and the router against real servers: NSD behind a validating Unbound. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DnsClient } from '../../../mta/plan/dns.ts';
import { Router } from '../../../mta/plan/router.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { type Nsd, startNsd } from '../../support/nsd.ts';
import { requirePeer } from '../../support/peers.ts';
import { SIGNED_ORIGIN, SIGNED_TRUST_ANCHOR, signedZone } from '../../support/signed-zone.ts';
import { startUnbound, type Unbound } from '../../support/unbound.ts';

/** Too many for 1,232 octets. */
const MANY = 60;

requirePeer(
  'nsd',
  'unbound',
  'root',
)('behind unbound', () => {
  let nsd: Nsd;
  let unbound: Unbound;
  let dns: DnsClient;
  let router: Router;
  const clock = systemClock();
  const random = cryptoRandom();

  beforeAll(async () => {
    const many = Array.from(
      { length: MANY },
      (_, index) => `many IN MX ${index} host-number-${index}`,
    );
    nsd = await startNsd([
      signedZone,
      {
        origin: 'alpha.example',
        records: [
          '@ 120 IN MX 10 mx1',
          '@ 120 IN MX 20 mx2',
          'mx1 60 IN A 192.0.2.1',
          'mx1 60 IN AAAA 2001:db8::1',
          'mx2 60 IN CNAME elsewhere',
          'elsewhere 30 IN A 192.0.2.2',
          'null IN MX 0 .',
          'implicit IN A 192.0.2.3',
          'alias IN CNAME implicit',
          'dangling IN MX 10 missing',
          ...many,
          ...many.map((_, index) => `host-number-${index} IN A 198.51.100.${index}`),
        ],
      },
    ]);
    unbound = await startUnbound({
      zones: ['alpha.example', SIGNED_ORIGIN],
      authority: nsd,
      trustAnchor: SIGNED_TRUST_ANCHOR,
    });
    dns = new DnsClient({ server: unbound, clock, random });
    router = new Router({
      dns,
      clock,
      random,
      port: 25,
      tls: 'opportunistic',
      hostname: 'relay.example.com',
      own: [],
      families: [4, 6],
    });
  });

  afterAll(async () => {
    dns?.close();
    await unbound?.stop();
    await nsd?.stop();
  });

  test('MX, A, AAAA, CNAME', async () => {
    expect(await dns.mx('alpha.example')).toEqual({
      kind: 'answer',
      records: [
        { preference: 10, exchange: 'mx1.alpha.example.' },
        { preference: 20, exchange: 'mx2.alpha.example.' },
      ],
      ttlSeconds: 120,
      authenticated: false,
    });
    expect(await dns.addresses('mx1.alpha.example', 6)).toMatchObject({ records: ['2001:db8::1'] });
    expect(await dns.addresses('mx2.alpha.example', 4)).toMatchObject({
      records: ['192.0.2.2'],
      ttlSeconds: 30,
    });
  });

  test('a no is a no, with its TTL', async () => {
    expect(await dns.mx('missing.alpha.example')).toEqual({ kind: 'nxdomain', ttlSeconds: 60 });
    expect(await dns.mx('implicit.alpha.example')).toEqual({ kind: 'nodata', ttlSeconds: 60 });
    expect(await dns.mx('alias.alpha.example')).toMatchObject({ kind: 'nodata' });
  });

  test('what UDP cannot hold comes over TCP', async () => {
    const before = dns.counters().overTcp;
    const lookup = await dns.mx('many.alpha.example');
    expect(lookup.kind === 'answer' && lookup.records).toHaveLength(MANY);
    expect(dns.counters().overTcp).toBe(before + 1);
  });

  test('signed is authenticated, bogus is trouble', async () => {
    expect(await dns.mx(SIGNED_ORIGIN)).toMatchObject({ kind: 'answer', authenticated: true });
    expect(await dns.addresses(`bogus.${SIGNED_ORIGIN}`, 4)).toMatchObject({
      kind: 'trouble',
      cause: 'servfail',
    });
  });

  test('routes', async () => {
    const briefs: Record<string, string> = {};
    for (const name of ['', 'null.', 'implicit.', 'alias.', 'dangling.', 'missing.']) {
      const result = await router.route(`${name}alpha.example`);
      briefs[name] =
        result.kind === 'route'
          ? `${result.route.origin}: ${result.route.site.ranks.join(' / ')}`
          : result.kind === 'undeliverable'
            ? result.code
            : result.text;
    }
    expect(briefs).toEqual({
      '': 'mx: mx1.alpha.example / mx2.alpha.example',
      'null.': 'null-mx',
      'implicit.': 'implicit: implicit.alpha.example',
      'alias.': 'implicit: alias.alpha.example',
      'dangling.': 'no-address',
      'missing.': 'no-such-domain',
    });
  });
});
