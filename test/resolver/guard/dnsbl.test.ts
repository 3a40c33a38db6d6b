import { afterEach, beforeEach, expect, test } from 'vitest';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { FakeUpstream, silent } from '../../support/fake-upstream.ts';
import {
  askUdp,
  brief,
  extendedErrors,
  metric,
  question,
  startTestResolver,
  type TestResolver,
  UdpClient,
} from '../../support/resolver.ts';
import { zoneBehaviour } from '../../support/zone-upstream.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;
const SETTINGS = { dnsbl: { zones: ['List.Example', 'other.example'], in_flight: 2 } };

beforeEach(async () => {
  upstream = await FakeUpstream.start(
    zoneBehaviour([
      '2.0.0.127.list.example. 60 A 127.0.0.2',
      '3.0.0.127.list.example. 60 A 127.255.255.254',
      '4.0.0.127.list.example. 60 A 192.0.2.1',
      '3.0.0.127.free.example. 60 A 127.255.255.254',
    ]),
  );
  resolver = await startTestResolver([upstream.endpoint], SETTINGS);
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

const ask = (name: string) => askUdp(resolver.endpoint, question(name, TYPE.A));

test('a listing is a listing, and no listing is none', async () => {
  expect(brief(await ask('2.0.0.127.list.example'))).toBe('NOERROR 2');
  expect(brief(await ask('9.0.0.127.list.example'))).toBe('NXDOMAIN');
});

test('an error code of the list is SERVFAIL, also from memory, and never a listing', async () => {
  for (let round = 0; round < 2; round += 1) {
    const answer = await ask('3.0.0.127.list.example');
    expect(answer.rcode).toBe('SERVFAIL');
    expect(extendedErrors(answer)[0]?.text).toBe(
      'list.example. refuses our queries: it answered 127.255.255.254',
    );
  }
  expect(upstream.asked.length).toBe(1);
  expect(await metric(resolver, 'postilion_dns_dnsbl_refusals_total{reason="refused"}')).toBe(1);
});

test('an address that is no code, as of a zone that was sold, is no listing either', async () => {
  expect(brief(await ask('4.0.0.127.list.example'))).toBe('SERVFAIL');
  expect(await metric(resolver, 'postilion_dns_dnsbl_refusals_total{reason="stranger"}')).toBe(1);
});

test('other zones are left alone', async () => {
  expect(brief(await ask('3.0.0.127.free.example'))).toBe('NOERROR 254');
});

test('a flood of questions to lists pushes out no mail domain', async () => {
  await ask('2.0.0.127.list.example');
  expect(await metric(resolver, 'postilion_dns_cache_entries')).toBe(0);
  expect(await metric(resolver, 'postilion_dns_dnsbl_cache_bytes')).toBeGreaterThan(0);
  expect(resolver.flush({ suffix: 'list.example' })).toBe(1);
});

test('more questions at once than the bound get SERVFAIL at once', async () => {
  upstream.behaviour = silent;
  const client = new UdpClient(resolver.endpoint);
  for (const name of ['1', '2', '3']) {
    client.send(question(`${name}.0.0.10.other.example`, TYPE.A));
  }
  await client.answer(1);
  client.close();
  expect(upstream.asked.length).toBeLessThanOrEqual(2);
  expect(await metric(resolver, 'postilion_dns_dnsbl_refusals_total{reason="crowded"}')).toBe(1);
});

test('taking an address off a list is not doubted', async () => {
  await ask('2.0.0.127.list.example');
  resolver.clock.advance(60_000);
  upstream.behaviour = zoneBehaviour([]);
  expect(brief(await ask('2.0.0.127.list.example'))).toBe('NXDOMAIN');
  expect(await metric(resolver, 'postilion_dns_bounce_guard_total{verdict="confirmed"}')).toBe(0);
});
