import { afterEach, beforeEach, expect, test } from 'vitest';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { FakeUpstream } from '../../support/fake-upstream.ts';
import {
  askUdp,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';
import { zoneBehaviour } from '../../support/zone-upstream.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;

const many = Array.from({ length: 200 }, (_, index) => `d${index}.example. 300 MX mx.example.`);
const zone = (exchange: string, ttlSeconds = 300) =>
  zoneBehaviour([...many, `a.example. ${ttlSeconds} MX ${exchange}`]);

const ask = async (name = 'a.example') => {
  const answer = await askUdp(resolver.endpoint, question(name, TYPE.MX));
  return answer.answers[0]?.ttl;
};
const start = async (uncap: string): Promise<void> => {
  resolver = await startTestResolver([upstream.endpoint], { uncap, bundles: 'off' });
  for (let index = 0; index < 200; index += 1) await ask(`d${index}.example`);
};

beforeEach(async () => {
  upstream = await FakeUpstream.start(zone('mx1.example.'));
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

test('a stable MX behind a clamp is kept twice as long each time, up to the ceiling', async () => {
  await start('40m');
  expect(await metric(resolver, capOf(upstream))).toBe(300);
  const asked = upstream.asked.length;
  for (const [afterSeconds, ttlSeconds, more] of [
    [0, 300, 1],
    [300, 600, 2],
    [599, 1, 2],
    [1, 1_200, 3],
    [1_200, 2_400, 4],
    [2_400, 2_400, 5],
  ] as const) {
    resolver.clock.advance(afterSeconds * 1_000);
    expect(await ask()).toBe(ttlSeconds);
    expect(upstream.asked.length - asked).toBe(more);
  }
  expect(await metric(resolver, 'postilion_dns_ttl_uncap_packets_avoided_total')).toBe(1 + 3 + 7);
});

const capOf = ({ endpoint }: FakeUpstream): string =>
  `postilion_dns_ttl_cap_seconds{upstream="127.0.0.1:${endpoint.port}",type="MX"}`;

test('a set that changes starts again', async () => {
  await start('40m');
  await ask();
  resolver.clock.advance(300_000);
  expect(await ask()).toBe(600);
  upstream.behaviour = zone('mx2.example.');
  resolver.clock.advance(600_000);
  expect(await ask()).toBe(300);
});

test('one longer TTL shows that there is no clamp', async () => {
  await start('40m');
  upstream.behaviour = zone('mx1.example.', 301);
  await ask();
  resolver.clock.advance(301_000);
  expect(await ask()).toBe(301);
  expect(await metric(resolver, capOf(upstream))).toBe(0);
});

test('off by default', async () => {
  await start('0');
  await ask();
  resolver.clock.advance(300_000);
  expect(await ask()).toBe(300);
});
