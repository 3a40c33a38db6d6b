import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FLAG, TYPE } from '../../../resolver/wire/constants.ts';
import { FakeUpstream } from '../../support/fake-upstream.ts';
import {
  askUdp,
  metric,
  question,
  startTestResolver,
  type TestResolver,
  UdpClient,
} from '../../support/resolver.ts';
import { askedFor, zoneBehaviour } from '../../support/zone-upstream.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;

const ZONE = [
  'a.example. 300 MX mx1.a.example.',
  'a.example. 300 MX mx2.a.example.',
  'mx1.a.example. 300 A 192.0.2.1',
  'mx2.a.example. 300 A 192.0.2.2',
  '_mta-sts.a.example. 300 TXT v=STSv1',
];

const start = async (settings: object, flags = 0): Promise<void> => {
  upstream.behaviour = zoneBehaviour(ZONE, flags);
  resolver = await startTestResolver([upstream.endpoint], settings);
};
const ask = (name: string, type: number) => askUdp(resolver.endpoint, question(name, type));
const asked = (): string[] => upstream.asked.map(askedFor);

beforeEach(async () => {
  upstream = await FakeUpstream.start(zoneBehaviour(ZONE));
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

test('on: an MX answer brings what a delivery asks next', async () => {
  await start({ bundles: 'on' });
  await ask('a.example', TYPE.MX);
  await upstream.arrival(7);
  expect(asked()).toEqual([
    'a.example. MX',
    'mx1.a.example. A',
    'mx1.a.example. AAAA',
    'mx2.a.example. A',
    'mx2.a.example. AAAA',
    '_mta-sts.a.example. TXT',
    '_smtp._tls.a.example. TXT',
  ]);
  const answer = await ask('mx1.a.example', TYPE.A);
  expect(answer.answers[0]?.data).toBe('192.0.2.1');
  expect(upstream.asked.length).toBe(7);
  expect(await metric(resolver, 'postilion_dns_bundle_hits_total{kind="a"}')).toBe(1);
  expect(await metric(resolver, 'postilion_dns_bundle_packets_total')).toBe(6);
});

test('on: TLSA only where the MX is authentic', async () => {
  await start({ bundles: 'on' }, FLAG.AD);
  await ask('a.example', TYPE.MX);
  await upstream.arrival(9);
  expect(asked().filter((it) => it.endsWith('TLSA'))).toEqual([
    '_25._tcp.mx1.a.example. TLSA',
    '_25._tcp.mx2.a.example. TLSA',
  ]);
});

test('on: a domain without MX is its own exchange', async () => {
  await start({ bundles: 'on', ipv6: false });
  upstream.behaviour = zoneBehaviour(['plain.example. 300 A 192.0.2.9']);
  await ask('plain.example', TYPE.MX);
  await upstream.arrival(4);
  expect(asked()[1]).toBe('plain.example. A');
});

test('ipv6 = false: AAAA is answered here, and never fetched', async () => {
  await start({ bundles: 'on', ipv6: false });
  await ask('a.example', TYPE.MX);
  await upstream.arrival(5);
  const answer = await ask('mx1.a.example', TYPE.AAAA);
  expect([answer.rcode, answer.answers.length, answer.authorities[0]?.type]).toEqual([
    'NOERROR',
    0,
    'SOA',
  ]);
  expect(asked().filter((it) => it.endsWith('AAAA'))).toEqual([]);
});

test('again: first contact costs nothing; what was asked for before comes back with the MX', async () => {
  await start({});
  await ask('a.example', TYPE.MX);
  await ask('mx1.a.example', TYPE.A);
  expect(asked()).toEqual(['a.example. MX', 'mx1.a.example. A']);
  resolver.clock.advance(300_000);
  await ask('a.example', TYPE.MX);
  await upstream.arrival(4);
  expect(asked().slice(2)).toEqual(['a.example. MX', 'mx1.a.example. A']);
  await ask('mx1.a.example', TYPE.A);
  expect(upstream.asked.length).toBe(4);
});

test('off: nothing is fetched ahead', async () => {
  await start({ bundles: 'off' });
  for (let round = 0; round < 2; round += 1) {
    await ask('a.example', TYPE.MX);
    await ask('mx1.a.example', TYPE.A);
    resolver.clock.advance(300_000);
  }
  expect(upstream.asked.length).toBe(4);
});

test('what clients do not use is hardly fetched any more', async () => {
  const lines = Array.from({ length: 300 }, (_, index) => [
    `d${index}.example. 300 MX mx.d${index}.example.`,
    `mx.d${index}.example. 300 A 192.0.2.1`,
  ]);
  await start({ bundles: 'on' });
  upstream.behaviour = zoneBehaviour(lines.flat());
  for (let index = 0; index < 300; index += 1) {
    await ask(`d${index}.example`, TYPE.MX);
    await ask(`mx.d${index}.example`, TYPE.A);
    resolver.clock.advance(1_000);
  }
  const of = (suffix: string) => asked().filter((it) => it.endsWith(suffix)).length;
  expect(of(' A')).toBe(300);
  expect(of(' AAAA')).toBeLessThan(60);
  expect(of(' TXT')).toBeLessThan(120);
  expect(await metric(resolver, 'postilion_dns_bundle_hits_total{kind="a"}')).toBeGreaterThan(290);
  expect(await metric(resolver, 'postilion_dns_bundle_spared_total{kind="aaaa"}')).toBeGreaterThan(
    200,
  );
});

test('a client does not wait in the lane of refreshes', async () => {
  await start({ bundles: 'on', budget: 20, ipv6: false });
  const domains = ['b', 'c', 'd', 'e'];
  upstream.behaviour = zoneBehaviour([
    ...domains.map((domain) => `${domain}.example. 300 MX mx.example.`),
    'mx.example. 300 A 192.0.2.1',
  ]);
  // The burst of twelve takes each MX, the A they share, and all texts but the last.
  let sent = 1;
  for (const domain of domains) {
    await ask(`${domain}.example`, TYPE.MX);
    sent = Math.min(sent + 3, 12);
    await upstream.arrival(sent);
  }
  const client = new UdpClient(resolver.endpoint);
  client.send(question('late.example', TYPE.NS));
  client.send(question('_smtp._tls.e.example', TYPE.TXT));
  while ((await metric(resolver, 'postilion_dns_waiting')) < 2) await setImmediate();
  while (upstream.asked.length < 13) {
    resolver.clock.advance(10);
    await setImmediate();
  }
  client.close();
  expect(asked().slice(10)).toEqual([
    'e.example. MX',
    '_mta-sts.e.example. TXT',
    '_smtp._tls.e.example. TXT',
  ]);
});
