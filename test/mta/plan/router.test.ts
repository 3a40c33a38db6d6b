/** Routes by RFC 5321 §5.1, how seldom DNS is asked for them, and what happens while it is in trouble. */
import { describe, expect, test } from 'vitest';
import type { NextTarget, RouteResult } from '../../../mta/plan/route.ts';
import { Router, type RouterParts } from '../../../mta/plan/router.ts';
import type { StsPolicy } from '../../../mta/plan/sts-policy.ts';
import type { Random } from '../../../runtime/random.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { ManualClock } from '../../support/clock.ts';
import { answer, mx, nodata, nxdomain, TableDns, trouble } from './table-dns.ts';

const SECOND = 1_000;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const routerOf = (dns: TableDns, more: Partial<RouterParts> = {}): Router =>
  new Router({
    dns,
    clock: new ManualClock(),
    random: cryptoRandom(),
    port: 25,
    tls: 'opportunistic',
    hostname: 'Relay.example.com',
    own: [{ address: '203.0.113.25', port: 25 }],
    families: [4, 6],
    ...more,
  });

/** "mx1/mx2" for a route, else what the verdict says. */
function briefOf(result: RouteResult): string {
  switch (result.kind) {
    case 'route':
      return result.route.site.ranks.map((rank) => rank.join(',')).join('/');
    case 'undeliverable':
      return `${result.code} ${result.enhanced}`;
    case 'trouble':
      return `trouble${result.reachable ? '' : ', unreachable'}`;
  }
}

async function walk(router: Router, domain: string): Promise<string[]> {
  const result = await router.route(domain);
  if (result.kind !== 'route') return [briefOf(result)];
  const itinerary = router.itinerary(result.route.site);
  const steps: string[] = [];
  let next: NextTarget = await itinerary.next();
  for (; next.kind === 'target'; next = await itinerary.next()) {
    steps.push(`${next.target.host} ${next.target.address}`);
  }
  return [...steps, next.kind];
}

describe('mail that TLS policies must not hold up', () => {
  const POLICY: StsPolicy = { mode: 'enforce', mx: ['mx1.a.example'], maxAgeSeconds: 60 };
  const dns = new TableDns({
    mx: { 'a.example': mx(10, 'mx1.a.example', 20, 'mx2.a.example') },
    a: { 'mx1.a.example': '192.0.2.1', 'mx2.a.example': '192.0.2.2' },
  });
  const unnamed: string[] = [];
  const router = routerOf(dns, {
    findPolicy: async () => POLICY,
    onUnnamed: (domain, host) => unnamed.push(`${domain} ${host}`),
  });

  test('is routed by its MX alone, beside the same domain under its policy', async () => {
    const [guarded, report] = [await router.route('a.example'), await router.route('~a.example')];
    expect([briefOf(guarded), briefOf(report)]).toEqual([
      'mx1.a.example',
      'mx1.a.example/mx2.a.example',
    ]);
    expect(guarded).toMatchObject({ route: { site: { tls: 'verify' } } });
    expect(report).toMatchObject({ route: { site: { tls: 'opportunistic', dane: false } } });
    expect(unnamed).toEqual(['a.example mx2.a.example']);
  });
});

describe('what DNS says of a domain', () => {
  const dns = new TableDns({
    mx: {
      'plain.example': mx(10, 'MX1.example.net'),
      'ranked.example': mx(20, 'mx2.example.net', 10, 'mx1.example.net', 20, 'mx3.example.net'),
      'null.example': mx(0, ''),
      'null-and-more.example': mx(0, '', 10, 'mx1.example.net'),
      'no-mx.example': nodata,
      'trouble.example': trouble(),
      'silent.example': trouble('unreachable'),
      'gone-hosts.example': mx(10, 'gone1.example.net', 20, 'gone2.example.net'),
      'half-gone.example': mx(10, 'gone1.example.net', 20, 'mx1.example.net'),
      'maybe-gone.example': mx(10, 'gone1.example.net', 20, 'broken.example.net'),
      'broken-first.example': mx(10, 'broken.example.net', 20, 'mx1.example.net'),
      'loop.example': mx(10, 'relay.example.com', 20, 'mx1.example.net'),
      'loop-equal.example': mx(10, 'relay.example.com', 10, 'mx1.example.net'),
      'loop-behind.example': mx(
        10,
        'mx1.example.net',
        20,
        'relay.example.com',
        30,
        'mx2.example.net',
      ),
      'loop-address.example': mx(10, 'alias-of-us.example.net', 20, 'mx1.example.net'),
      'only-zero.example': mx(10, 'zero.example.net'),
      'address-as-mx.example': mx(10, '192.0.2.1'),
      'bare.example': nodata,
      'trouble-but-a.example': trouble(),
    },
    a: {
      'mx1.example.net': '192.0.2.1',
      'mx2.example.net': '192.0.2.2',
      'mx3.example.net': '192.0.2.3',
      'no-mx.example': '192.0.2.9',
      'trouble-but-a.example': '192.0.2.9',
      'broken.example.net': trouble(),
      'alias-of-us.example.net': '203.0.113.25',
      'relay.example.com': '203.0.113.25',
      'zero.example.net': '0.0.0.0',
    },
    aaaa: { 'broken.example.net': trouble() },
  });

  test.each([
    ['plain.example', 'mx1.example.net'],
    ['ranked.example', 'mx1.example.net/mx2.example.net,mx3.example.net'],
    // RFC 7505.
    ['null.example', 'null-mx 5.1.10'],
    ['null-and-more.example', 'mx1.example.net'],
    // Implicit MX: on NODATA, and on nothing else.
    ['no-mx.example', 'no-mx.example'],
    ['trouble-but-a.example', 'trouble'],
    ['bare.example', 'no-address 5.4.4'],
    ['nowhere.example', 'no-such-domain 5.1.2'],
    ['trouble.example', 'trouble'],
    ['silent.example', 'trouble, unreachable'],
    // No address is a verdict only when every lookup gave one.
    ['gone-hosts.example', 'no-address 5.4.4'],
    ['half-gone.example', 'gone1.example.net/mx1.example.net'],
    ['maybe-gone.example', 'trouble'],
    ['broken-first.example', 'broken.example.net/mx1.example.net'],
    ['only-zero.example', 'no-address 5.4.4'],
    ['address-as-mx.example', 'no-address 5.4.4'],
    // Loops.
    ['loop.example', 'loop 5.4.6'],
    ['loop-equal.example', 'loop 5.4.6'],
    ['loop-behind.example', 'mx1.example.net'],
    ['loop-address.example', 'loop 5.4.6'],
    ['relay.example.com', 'loop 5.4.6'],
    // Address literals.
    ['[192.0.2.1]', '[192.0.2.1]'],
    ['[IPv6:2001:DB8:0:0::1]', '[ipv6:2001:db8::1]'],
    ['[203.0.113.25]', 'loop 5.4.6'],
    ['[0.0.0.0]', 'no-address 5.4.4'],
    ['[2001:db8::1]', 'no-such-domain 5.1.3'],
    ['[mail]', 'no-such-domain 5.1.3'],
  ])('%s: %s', async (domain, expected) => {
    expect(briefOf(await routerOf(dns).route(domain))).toBe(expected);
  });

  test('another port at our own address is not ourselves', async () => {
    expect(briefOf(await routerOf(dns, { port: 2526 }).route('loop-address.example'))).toBe(
      'alias-of-us.example.net/mx1.example.net',
    );
  });

  test('domains with the same hosts in the same order are one site', async () => {
    const many = new TableDns({
      mx: {
        'a.example': mx(1, 'mx1.example.net', 2, 'mx2.example.net'),
        'b.example': mx(10, 'MX1.example.net', 50, 'mx2.example.net'),
        'c.example': mx(10, 'mx2.example.net', 50, 'mx1.example.net'),
      },
      a: { 'mx1.example.net': '192.0.2.1', 'mx2.example.net': '192.0.2.2' },
    });
    const router = routerOf(many);
    const ids: string[] = [];
    for (const domain of ['a.example', 'b.example', 'c.example']) {
      const result = await router.route(domain);
      ids.push(result.kind === 'route' ? result.route.site.id : result.kind);
    }
    expect(ids[0]).toBe(ids[1]);
    expect(ids[0]).not.toBe(ids[2]);
  });
});

describe('an itinerary', () => {
  const noShuffle: Random = { integer: (bound) => bound - 1, fraction: () => 0 };

  test('goes by rank, then family, and ends', async () => {
    const dns = new TableDns({
      mx: { 'd.example': mx(10, 'a.example.net', 20, 'b.example.net') },
      a: { 'a.example.net': answer(['192.0.2.1', '192.0.2.2']), 'b.example.net': '192.0.2.3' },
      aaaa: { 'a.example.net': '2001:db8::1' },
    });
    expect(await walk(routerOf(dns, { families: [6, 4] }), 'd.example')).toEqual([
      'a.example.net 2001:db8::1',
      'a.example.net 192.0.2.1',
      'a.example.net 192.0.2.2',
      'b.example.net 192.0.2.3',
      'exhausted',
    ]);
  });

  test('takes equal hosts first about equally often', async () => {
    const dns = new TableDns({
      mx: { 'd.example': mx(5, 'a.example.net', 5, 'b.example.net', 5, 'c.example.net') },
      a: {
        'a.example.net': '192.0.2.1',
        'b.example.net': '192.0.2.2',
        'c.example.net': '192.0.2.3',
      },
    });
    const router = routerOf(dns);
    const firsts = new Map<string, number>();
    for (let round = 0; round < 3_000; round += 1) {
      const [first] = await walk(router, 'd.example');
      firsts.set(first!, (firsts.get(first!) ?? 0) + 1);
    }
    expect(firsts.size).toBe(3);
    // Six standard deviations are 155.
    for (const count of firsts.values()) expect(Math.abs(count - 1_000)).toBeLessThan(155);
  });

  test('looks up a rank only when it is reached, and each name once', async () => {
    const dns = new TableDns({
      mx: {
        'd.example': mx(10, 'a.example.net', 20, 'b.example.net'),
        'e.example': mx(10, 'b.example.net', 20, 'a.example.net'),
      },
      a: { 'a.example.net': '192.0.2.1', 'b.example.net': '192.0.2.2' },
    });
    const router = routerOf(dns);
    await router.route('d.example');
    expect(dns.drain()).toEqual(['MX d.example', 'A a.example.net', 'AAAA a.example.net']);
    await walk(router, 'd.example');
    expect(dns.drain()).toEqual(['A b.example.net', 'AAAA b.example.net']);
    await walk(router, 'e.example');
    expect(dns.drain()).toEqual(['MX e.example']);
  });

  test('passes over the rest of a host that is of no use', async () => {
    const dns = new TableDns({
      mx: { 'd.example': mx(10, 'a.example.net', 10, 'b.example.net') },
      a: { 'a.example.net': answer(['192.0.2.1', '192.0.2.2']), 'b.example.net': '192.0.2.3' },
    });
    const router = routerOf(dns, { random: noShuffle });
    const result = await router.route('d.example');
    if (result.kind !== 'route') throw new Error('no route');
    const itinerary = router.itinerary(result.route.site);
    expect(await itinerary.next()).toMatchObject({ target: { host: 'a.example.net' } });
    itinerary.skipHost();
    expect(await itinerary.next()).toMatchObject({
      target: { host: 'b.example.net', rank: 0, port: 25 },
    });
    expect(await itinerary.next()).toEqual({ kind: 'exhausted' });
  });

  test('stops where an address is our own, whatever comes after', async () => {
    const dns = new TableDns({
      mx: {
        'd.example': mx(
          10,
          'a.example.net',
          20,
          'us.example.net',
          20,
          'b.example.net',
          30,
          'c.example.net',
        ),
      },
      a: {
        'a.example.net': '192.0.2.1',
        'us.example.net': answer(['192.0.2.7', '203.0.113.25']),
        'b.example.net': '192.0.2.2',
        'c.example.net': '192.0.2.3',
      },
    });
    expect(await walk(routerOf(dns), 'd.example')).toEqual([
      'a.example.net 192.0.2.1',
      'exhausted',
    ]);
  });

  test('hands out eight addresses at most, three of one host', async () => {
    const hosts = ['a', 'b', 'c', 'd'].map((letter) => `${letter}.example.net`);
    const addresses = answer(['192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4']);
    const dns = new TableDns({
      mx: { 'd.example': mx(...hosts.flatMap((host, index) => [index, host])) },
      a: Object.fromEntries(hosts.map((host) => [host, addresses])),
    });
    const steps = await walk(routerOf(dns), 'd.example');
    expect(steps.map((step) => step.split(' ')[0])).toEqual([
      ...Array(3).fill('a.example.net'),
      ...Array(3).fill('b.example.net'),
      ...Array(2).fill('c.example.net'),
      'exhausted',
    ]);
  });

  test('does not wait out a dead resolver once per rank', async () => {
    const dns = new TableDns({
      mx: { 'd.example': mx(10, 'a.example.net', 20, 'b.example.net') },
      a: { 'a.example.net': trouble('unreachable'), 'b.example.net': '192.0.2.1' },
      aaaa: { 'a.example.net': trouble('unreachable') },
    });
    expect(await walk(routerOf(dns), 'd.example')).toEqual(['trouble, unreachable']);
    expect(dns.drain()).not.toContain('A b.example.net');
  });
});

describe('freshness, as a timetable', () => {
  const tables = () =>
    new TableDns({
      mx: { 'd.example': mx(10, 'mx.example.net') },
      a: { 'mx.example.net': '192.0.2.1' },
    });
  const COLD = ['MX d.example', 'A mx.example.net', 'AAAA mx.example.net'];

  test('a route is asked for again when its TTL is over, not before', async () => {
    const dns = tables();
    const clock = new ManualClock();
    const router = routerOf(dns, { clock });
    for (const step of [
      { atMs: 0, asked: COLD },
      { atMs: 299_999, asked: [] },
      { atMs: 300_000, asked: COLD },
      { atMs: 599_999, asked: [] },
    ]) {
      clock.advance(1_000_000 + step.atMs - clock.monotonicMs());
      expect(router.peek('d.example') !== null).toBe(step.asked.length === 0);
      expect(briefOf(await router.route('d.example'))).toBe('mx.example.net');
      expect(dns.drain()).toEqual(step.asked);
    }
  });

  test.each([
    { ttlSeconds: 0, freshMs: 60 * SECOND },
    { ttlSeconds: 59, freshMs: 60 * SECOND },
    { ttlSeconds: 61, freshMs: 61 * SECOND },
    { ttlSeconds: 2_147_483_647, freshMs: DAY },
  ])('a TTL of $ttlSeconds s is good for $freshMs ms', async ({ ttlSeconds, freshMs }) => {
    const dns = tables();
    dns.setMx('d.example', answer([{ preference: 0, exchange: 'mx.example.net.' }], ttlSeconds));
    const clock = new ManualClock();
    const result = await routerOf(dns, { clock }).route('d.example');
    expect(result).toMatchObject({ kind: 'route', freshUntilMs: clock.monotonicMs() + freshMs });
  });

  test.each([
    ['NXDOMAIN', { kind: 'nxdomain', ttlSeconds: 86_400 } as const, HOUR],
    ['NXDOMAIN without TTL', { kind: 'nxdomain', ttlSeconds: 0 } as const, 60 * SECOND],
  ])('%s is remembered', async (_, lookup, freshMs) => {
    const dns = tables();
    dns.setMx('d.example', lookup);
    const clock = new ManualClock();
    const result = await routerOf(dns, { clock }).route('d.example');
    expect(result).toMatchObject({
      kind: 'undeliverable',
      freshUntilMs: clock.monotonicMs() + freshMs,
    });
  });

  test('all who ask at once share one resolution', async () => {
    const dns = tables();
    const router = routerOf(dns);
    await Promise.all(Array.from({ length: 50 }, () => router.route('d.example')));
    expect(dns.drain()).toEqual(COLD);
  });

  test('25 lookups or fewer for 1,000 messages to 300 domains on few hosts', async () => {
    // As in DESIGN.md: 80 % of the domains on five shared sets, the others on sets of their own.
    const dns = new TableDns({});
    for (let domain = 0; domain < 300; domain += 1) {
      const set = domain < 240 ? domain % 5 : domain;
      dns.setMx(
        `d${domain}.example`,
        mx(10, `mx1.s${set}.example.net`, 20, `mx2.s${set}.example.net`),
      );
      dns.setA(`mx1.s${set}.example.net`, answer(['192.0.2.1']));
      dns.setA(`mx2.s${set}.example.net`, answer(['192.0.2.2']));
    }
    const router = routerOf(dns);
    for (let message = 0; message < 20_000; message += 1)
      await router.route(`d${message % 300}.example`);
    expect(dns.asked).toHaveLength(300 + 65 * 2);
    expect((dns.asked.length / 20_000) * 1_000).toBeLessThan(25);
  });
});

describe('trouble, as a timetable', () => {
  const tables = () =>
    new TableDns({
      mx: { 'd.example': mx(10, 'mx.example.net') },
      a: { 'mx.example.net': '192.0.2.1' },
    });

  test('a route known before goes on for a day, asked about every 5 s at most', async () => {
    const dns = tables();
    const clock = new ManualClock();
    const router = routerOf(dns, { clock });
    await router.route('d.example');
    dns.drain();
    for (const step of [
      { atMs: 300_000, outage: trouble('unreachable'), verdict: 'mx.example.net', asked: 1 },
      { atMs: 304_999, outage: trouble('unreachable'), verdict: 'mx.example.net', asked: 0 },
      { atMs: 305_000, outage: trouble('unreachable'), verdict: 'mx.example.net', asked: 1 },
      { atMs: 300_000 + DAY - 1, outage: trouble(), verdict: 'mx.example.net', asked: 1 },
      { atMs: 310_000 + DAY, outage: trouble(), verdict: 'trouble', asked: 1 },
      { atMs: 314_999 + DAY, outage: null, verdict: 'trouble', asked: 0 },
      { atMs: 315_000 + DAY, outage: null, verdict: 'mx.example.net', asked: 3 },
    ]) {
      clock.advance(1_000_000 + step.atMs - clock.monotonicMs());
      dns.outage = step.outage;
      const result = await router.route('d.example');
      expect(briefOf(result)).toBe(step.verdict);
      expect(dns.drain()).toHaveLength(step.asked);
    }
  });

  test('a stale route says so, and its addresses serve too', async () => {
    const dns = tables();
    const clock = new ManualClock();
    const router = routerOf(dns, { clock });
    expect(await router.route('d.example')).toMatchObject({ stale: false });
    clock.advance(HOUR);
    dns.outage = trouble();
    expect(await router.route('d.example')).toMatchObject({ stale: true });
    expect(await walk(router, 'd.example')).toEqual(['mx.example.net 192.0.2.1', 'exhausted']);
  });

  test('addresses known before go on for a day, too', async () => {
    const dns = tables();
    const clock = new ManualClock();
    const router = routerOf(dns, { clock });
    await router.route('d.example');
    dns.setA('mx.example.net', trouble());
    for (const step of [
      { atMs: HOUR, verdict: 'mx.example.net' },
      { atMs: DAY, verdict: 'mx.example.net' },
      { atMs: 300_000 + DAY - 1, verdict: 'mx.example.net' },
    ]) {
      clock.advance(1_000_000 + step.atMs - clock.monotonicMs());
      expect(briefOf(await router.route('d.example'))).toBe(step.verdict);
      expect(await walk(router, 'd.example')).toEqual(['mx.example.net 192.0.2.1', 'exhausted']);
    }
    clock.advance(5_001);
    const result = await router.route('d.example');
    // The route itself is younger than its addresses and still known, but leads nowhere now.
    if (result.kind !== 'route') throw new Error('no route');
    expect(await router.itinerary(result.route.site).next()).toMatchObject({ kind: 'trouble' });
  });

  test('a definite no replaces what was known', async () => {
    const dns = tables();
    const clock = new ManualClock();
    const router = routerOf(dns, { clock });
    await router.route('d.example');
    clock.advance(HOUR);
    dns.setMx('d.example', nxdomain);
    expect(briefOf(await router.route('d.example'))).toBe('no-such-domain 5.1.2');
  });

  test('a no of old is not held against a domain whose DNS is in trouble now', async () => {
    const dns = tables();
    const clock = new ManualClock();
    const router = routerOf(dns, { clock });
    dns.setMx('d.example', nxdomain);
    await router.route('d.example');
    clock.advance(HOUR);
    dns.outage = trouble();
    expect(briefOf(await router.route('d.example'))).toBe('trouble');
  });

  test('one family in trouble does not keep mail from the other', async () => {
    const dns = new TableDns({
      mx: { 'd.example': mx(10, 'mx.example.net') },
      a: { 'mx.example.net': '192.0.2.1' },
      aaaa: { 'mx.example.net': trouble() },
    });
    expect(await walk(routerOf(dns), 'd.example')).toEqual([
      'mx.example.net 192.0.2.1',
      'exhausted',
    ]);
  });

  test('the text names what was looked up and what the resolver said', async () => {
    const dns = tables();
    dns.outage = trouble();
    expect(await routerOf(dns).route('d.example')).toEqual({
      kind: 'trouble',
      reachable: true,
      about: 'd.example',
      text: 'looking up MX of d.example: as if servfail',
    });
  });
});
