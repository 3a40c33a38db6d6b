import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { resolverSchema } from '../../resolver/config.ts';
import type { ResolverEvent } from '../../resolver/events.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { formatEndpoint } from '../../runtime/settings.ts';
import { answers, FakeUpstream, response, silent } from '../support/fake-upstream.ts';
import {
  askOctets,
  askUdp,
  brief,
  metric,
  question,
  startTestResolver,
  type TestResolver,
  UdpClient,
} from '../support/resolver.ts';

let first: FakeUpstream;
let second: FakeUpstream;
let resolver: TestResolver;

const settings = (upstream: FakeUpstream, more: object = {}) => ({
  listen: ['127.0.0.1:0'],
  upstreams: [formatEndpoint(upstream.endpoint)],
  fronts: 0,
  ...more,
});
const reload = (upstream: FakeUpstream, more: object = {}) =>
  resolver.reload(resolverSchema.parse(settings(upstream, more)));
const ask = (name: string, type: number = TYPE.A) =>
  askUdp(resolver.endpoint, question(name, type));

/** By the header alone: the upstream answers AAAA with what is none. */
const answersOf = async (name: string, type: number): Promise<number> =>
  (await askOctets(resolver.endpoint, question(name, type))).readUInt16BE(6);

beforeEach(async () => {
  first = await FakeUpstream.start(answers(300, 1));
  second = await FakeUpstream.start(answers(300, 2));
  resolver = await startTestResolver([first.endpoint]);
});

afterEach(async () => {
  await resolver.stop();
  await first.stop();
  await second.stop();
});

test('upstreams change; the cache stays, and who waits is answered by the old one', async () => {
  const told: ResolverEvent[] = [];
  resolver.subscribe((event) => told.push(event));
  await ask('kept.example');
  first.behaviour = silent;
  const client = new UdpClient(resolver.endpoint);
  client.send(question('waiting.example', TYPE.A));
  const waiting = await first.arrival(2);
  expect(await reload(second)).toEqual(['resolver.upstreams']);
  expect(brief(await ask('new.example'))).toBe('NOERROR 2');
  expect(brief(await ask('kept.example'))).toBe('NOERROR 1');
  const late = { rcode: 0, answers: [] };
  waiting.send(response(waiting, late));
  expect((await client.answer(1))[3]! & 0x0f).toBe(0);
  client.close();
  expect(told).toContainEqual({ event: 'reloaded', changed: ['resolver.upstreams'] });
  const series = 'postilion_dns_upstream_responses_total';
  expect(await metric(resolver, `${series}{upstream="${formatEndpoint(second.endpoint)}"}`)).toBe(
    1,
  );
  expect(await metric(resolver, 'postilion_dns_answers_total{source="cache"}')).toBe(1);
});

test('the old upstreams are closed once nobody can wait for them', async () => {
  await reload(second);
  const before = resolver.clock.timers;
  resolver.clock.advance(5_000);
  await setImmediate();
  expect(resolver.clock.timers).toBeLessThan(before);
  expect(brief(await ask('new.example'))).toBe('NOERROR 2');
});

test('settings of queries take effect at once', async () => {
  expect(await reload(first, { ipv6: false, cache: { max_ttl: '10s' } })).toEqual([
    'resolver.ipv6',
    'resolver.cache.max_ttl',
  ]);
  expect((await ask('a.example', TYPE.AAAA)).answers).toEqual([]);
  expect((await ask('a.example')).answers[0]?.ttl).toBe(10);
  expect(first.asked.length).toBe(1);
});

test('all or nothing: what needs a restart is named, and nothing is changed', async () => {
  const more = { ipv6: false, fronts: 2, cache: { bytes: 2_000_000 } };
  await expect(reload(second, more)).rejects.toMatchObject({
    code: 'RESOLVER_RELOAD_REFUSED',
    keys: ['resolver.fronts', 'resolver.cache.bytes'],
  });
  expect(await answersOf('a.example', TYPE.AAAA)).toBe(1);
  expect(first.asked.length).toBe(1);
});

test('upstreams that cannot be opened change nothing', async () => {
  const own = formatEndpoint(resolver.endpoint);
  const next = settings(first, { upstreams: [own], tls_ca: '/nonexistent/ca.pem', ipv6: false });
  await expect(resolver.reload(resolverSchema.parse(next))).rejects.toThrow();
  expect(await answersOf('a.example', TYPE.AAAA)).toBe(1);
});

test('the same configuration is no change', async () => {
  expect(await reload(first)).toEqual([]);
});
