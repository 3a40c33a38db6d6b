import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ResolverEvent } from '../../resolver/events.ts';
import { RCODE, TYPE } from '../../resolver/wire/constants.ts';
import { FakeUpstream, refuses, silent } from '../support/fake-upstream.ts';
import { askUdp, question, startTestResolver, type TestResolver } from '../support/resolver.ts';
import { zoneBehaviour } from '../support/zone-upstream.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;
let events: ResolverEvent[];

const GOOD = zoneBehaviour(['a.example. 300 MX mx.example.']);

beforeEach(async () => {
  upstream = await FakeUpstream.start(GOOD);
  resolver = await startTestResolver([upstream.endpoint], { bundles: 'off' });
  events = [];
  resolver.subscribe((event) => events.push(event));
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

const ask = () => askUdp(resolver.endpoint, question('a.example', TYPE.MX));
/** Second by second, so that every turn of the watch comes. */
const pass = async (seconds: number): Promise<void> => {
  for (let second = 0; second < seconds; second += 1) {
    resolver.clock.advance(1_000);
    for (let turn = 0; turn < 20; turn += 1) await setImmediate();
  }
};

test('a name that failed is asked for ever more rarely, and its recovery is told', async () => {
  upstream.behaviour = refuses(RCODE.SERVFAIL);
  expect((await ask()).rcode).toBe('SERVFAIL');
  expect(events).toMatchObject([{ event: 'name-failing', name: 'a.example.', type: 'MX' }]);
  const probedAt: number[] = [];
  for (let second = 1; second <= 80; second += 1) {
    const before = upstream.asked.length;
    await pass(1);
    if (upstream.asked.length > before) probedAt.push(second);
  }
  expect(probedAt).toEqual([5, 15, 35, 75]);
  upstream.behaviour = GOOD;
  await pass(80);
  expect(events.slice(1)).toMatchObject([
    { event: 'name-recovered', name: 'a.example.', type: 'MX', failedSeconds: 155 },
  ]);
  const asked = upstream.asked.length;
  expect((await ask()).rcode).toBe('NOERROR');
  expect(upstream.asked.length).toBe(asked);
});

test('while nobody listens no packet is spent', async () => {
  const quiet = await startTestResolver([upstream.endpoint], { bundles: 'off' });
  upstream.behaviour = refuses(RCODE.SERVFAIL);
  await askUdp(quiet.endpoint, question('a.example', TYPE.MX));
  for (let second = 0; second < 20; second += 1) quiet.clock.advance(1_000);
  await quiet.stop();
  expect(upstream.asked.length).toBe(1);
});

test('an upstream that falls silent and returns is told', async () => {
  upstream.behaviour = silent;
  const answers = ['a', 'b', 'c'].map((name) =>
    askUdp(resolver.endpoint, question(`${name}.example`, TYPE.MX)),
  );
  await upstream.arrival(3);
  await pass(5);
  await Promise.all(answers);
  const known = events.map(({ event }) => event);
  expect(known).toContain('upstream-down');
  upstream.behaviour = zoneBehaviour(['. 300 NS x']);
  await pass(3);
  expect(events.map(({ event }) => event)).toContain('upstream-up');
});
