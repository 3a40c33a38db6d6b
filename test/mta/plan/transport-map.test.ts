/** Postfix's transport_maps as the router knows them. */
import { describe, expect, test } from 'vitest';
import { Router } from '../../../mta/plan/router.ts';
import { siteOf } from '../../../mta/plan/site.ts';
import { entryOf, TransportMap, TURN_MS, WAIT_MS_MAX } from '../../../mta/plan/transport-map.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { ManualClock } from '../../support/clock.ts';
import { mx, TableDns, trouble } from './table-dns.ts';

function mapOf(dns: TableDns, port = 25) {
  const clock = new ManualClock(0, 0);
  const router = new Router({
    dns,
    clock,
    random: cryptoRandom(),
    port,
    tls: 'opportunistic',
    hostname: 'mta.example.com',
    own: [],
    families: [4],
  });
  const map = new TransportMap({ router, clock, own: ['203.0.113.25'] });
  return { clock, map };
}

const tables = () =>
  new TableDns({
    mx: {
      'a.example': mx(10, 'mx1.example.net', 20, 'mx2.example.net'),
      'b.example': mx(5, 'mx1.example.net', 7, 'mx2.example.net'),
      'equal.example': mx(10, 'mx1.example.net', 10, 'mx2.example.net'),
      'null.example': mx(0, ''),
      'trouble.example': trouble(),
      'here.example': mx(10, 'front.example.net', 20, 'mx1.example.net'),
      'loop.example': mx(10, 'mta.example.com'),
    },
    a: {
      'mx1.example.net': '192.0.2.1',
      'mx2.example.net': '192.0.2.2',
      'front.example.net': '203.0.113.25',
      'bare.example': '192.0.2.3',
    },
  });

describe('an entry', () => {
  const { map } = mapOf(tables());
  const shared = ':[mx1.example.net], [mx2.example.net]';
  test.each([
    ['a.example', shared],
    ['A.Example', shared],
    ['b.example', shared],
    ['user+more@b.example', shared],
    ['"c@d"@B.example', shared],
    ['bare.example', ':[bare.example]'],
    // Postfix decides by itself, as if the map were not there.
    ['null.example', null],
    ['gone.example', null],
    ['trouble.example', null],
    // Mail that DNS leads to this machine is local or relayed inward.
    ['here.example', null],
    ['loop.example', null],
    // What else transport(5) is asked.
    ['user@', null],
    ['.a.example', null],
    ['*', null],
    ['', null],
    ['localhost', null],
    ['a example', null],
    ['a.example]', null],
    [`${'a'.repeat(64)}.example`, null],
    [`${'a.'.repeat(127)}example`, null],
  ])('%j: %j', async (key, entry) => expect(await map.lookUp(key)).toBe(entry));
});

test('another port is named', async () => {
  const { map } = mapOf(tables(), 2525);
  expect(await map.lookUp('bare.example')).toBe(':[bare.example]:2525');
});

test('equal hosts take turns at being first', async () => {
  const { map, clock } = mapOf(tables());
  const turns: (string | null)[] = [];
  for (let turn = 0; turn < 3; turn += 1) {
    turns.push(await map.lookUp('equal.example'));
    clock.advance(TURN_MS);
  }
  const [one, two] = [
    ':[mx1.example.net], [mx2.example.net]',
    ':[mx2.example.net], [mx1.example.net]',
  ];
  expect(turns).toEqual([one, two, one]);
});

test('five hosts at most, best rank first', () => {
  const ranks = [['b', 'a', 'c'], ['d'], ['e', 'f', 'g']];
  const site = siteOf({ ranks, port: 25, tls: 'none', source: '' });
  expect(entryOf(site, 4)).toBe(':[b], [c], [a], [d], [f]');
});

test('a next hop that an operator named is in the map, by name or address', () => {
  const to = (host: string) =>
    entryOf(siteOf({ ranks: [[host]], port: 2525, tls: 'none', source: '' }), 0);
  expect(to('relay.example')).toBe(':[relay.example]:2525');
  expect(to('[192.0.2.1]')).toBe(':[192.0.2.1]:2525');
  expect(to('[ipv6:2001:db8::1]')).toBe(':[2001:db8::1]:2525');
});

test('slow DNS does not hold Postfix up; the next message finds the route', async () => {
  const dns = tables();
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const { mx: answer } = dns;
  dns.mx = async (name) => {
    await held;
    return answer.call(dns, name);
  };
  const { map, clock } = mapOf(dns);
  const first = map.lookUp('a.example');
  clock.advance(WAIT_MS_MAX - 1);
  expect(clock.timers).toBe(1);
  clock.advance(1);
  expect(await first).toBe(null);
  release();
  expect(await map.lookUp('a.example')).toBe(':[mx1.example.net], [mx2.example.net]');
  expect(clock.timers).toBe(0);
});
