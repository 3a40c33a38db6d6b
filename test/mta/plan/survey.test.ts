/** What `postilion route` and GET /v1/route tell of a domain. */
import { expect, test } from 'vitest';
import { Router } from '../../../mta/plan/router.ts';
import { survey } from '../../../mta/plan/survey.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { ManualClock } from '../../support/clock.ts';
import { mx, TableDns, trouble } from './table-dns.ts';

const clock = new ManualClock();
const dns = new TableDns({
  mx: {
    'two.example': mx(10, 'mx1.example.net', 20, 'mx2.example.net', 30, 'mx3.example.net'),
    'null.example': mx(0, ''),
    'trouble.example': trouble(),
  },
  a: { 'mx1.example.net': '192.0.2.1', 'mx3.example.net': trouble() },
  aaaa: { 'mx1.example.net': '2001:db8::1', 'mx3.example.net': trouble() },
});
const router = new Router({
  dns,
  clock,
  random: cryptoRandom(),
  port: 25,
  tls: 'require',
  hostname: 'mta.example.com',
  own: [],
  families: [4, 6],
});
const LIMIT = { name: 'connections', value: '20', source: 'default' };
const ask = (domain: string) =>
  survey(router, { explain: () => [LIMIT] }, domain, () => clock.monotonicMs());

test('a route names every host with its addresses, or why it has none', async () => {
  clock.advance(1_000);
  const first = await ask('two.example');
  expect(first).toMatchObject({
    verdict: 'route',
    text: 'mail goes to the MX hosts',
    origin: 'mx',
    stale: false,
    freshForMs: 300_000,
    limits: [LIMIT],
    site: {
      id: '1:25:require::mx1.example.net/mx2.example.net/mx3.example.net',
      port: 25,
      tls: 'require',
    },
    ranks: [
      [{ host: 'mx1.example.net', addresses: ['192.0.2.1', '2001:db8::1'], trouble: null }],
      [{ host: 'mx2.example.net', addresses: [], trouble: 'DNS knows no address of it' }],
      [
        {
          host: 'mx3.example.net',
          addresses: [],
          trouble: 'looking up mx3.example.net: as if servfail',
        },
      ],
    ],
  });
  clock.advance(60_000);
  expect((await ask('two.example')).freshForMs).toBe(240_000);
});

test.each([
  ['null.example', 'undeliverable', '5.1.10', 'the domain null.example takes no mail (null MX)'],
  ['gone.example', 'undeliverable', '5.1.2', 'the domain gone.example does not exist'],
  [
    'trouble.example',
    'trouble',
    null,
    'mail waits: looking up MX of trouble.example: as if servfail',
  ],
])('%s: %s', async (domain, verdict, enhanced, text) => {
  expect(await ask(domain)).toMatchObject({ verdict, enhanced, text, site: null, ranks: [] });
});
