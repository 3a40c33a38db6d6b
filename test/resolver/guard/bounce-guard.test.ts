import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { FakeUpstream, refuses, silent } from '../../support/fake-upstream.ts';
import {
  askUdp,
  extendedErrors,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';
import { zoneBehaviour } from '../../support/zone-upstream.ts';

const GOOD = zoneBehaviour(['a.example. 60 MX mx.example.', 'a.example. 60 A 192.0.2.1']);
const NOTHING = zoneBehaviour([]);
const NO_MX = zoneBehaviour(['a.example. 60 TXT x']);
const NULL_MX = zoneBehaviour(['a.example. 60 MX .']);

let first: FakeUpstream;
let second: FakeUpstream;
let resolver: TestResolver;

const start = async (upstreams: readonly FakeUpstream[], settings: object = {}): Promise<void> => {
  resolver = await startTestResolver(
    upstreams.map(({ endpoint }) => endpoint),
    { bundles: 'off', ...settings },
  );
};
const ask = (type: number = TYPE.MX) => askUdp(resolver.endpoint, question('a.example', type));
/** A domain that is known, and whose answer has just expired. */
const becomeKnown = async (type: number = TYPE.MX): Promise<void> => {
  await ask(type);
  resolver.clock.advance(60_000);
};
const verdict = (name: string): Promise<number> =>
  metric(resolver, `postilion_dns_bounce_guard_total{verdict="${name}"}`);

beforeEach(async () => {
  first = await FakeUpstream.start(GOOD);
  second = await FakeUpstream.start(GOOD);
});

afterEach(async () => {
  await resolver.stop();
  await first.stop();
  await second.stop();
});

describe.each([
  ['NXDOMAIN', NOTHING, TYPE.MX],
  ['NODATA for MX', NO_MX, TYPE.MX],
  ['NODATA for A', NO_MX, TYPE.A],
  ['a null MX', NULL_MX, TYPE.MX],
])('%s that contradicts what was true', (_what, lie, type) => {
  test('is refuted by another upstream, and never served', async () => {
    await start([first, second]);
    await becomeKnown(type);
    first.behaviour = lie;
    const answer = await ask(type);
    expect([answer.rcode, answer.answers.length]).toEqual(['NOERROR', 1]);
    expect([first.asked.length, second.asked.length]).toEqual([2, 1]);
    expect(await verdict('refuted')).toBe(1);
  });

  test('is served when another upstream confirms it, once and for all', async () => {
    await start([first, second]);
    await becomeKnown(type);
    first.behaviour = lie;
    second.behaviour = lie;
    const expected = lie === NOTHING ? 'NXDOMAIN' : 'NOERROR';
    expect((await ask(type)).rcode).toBe(expected);
    expect(await verdict('confirmed')).toBe(1);
    resolver.clock.advance(60_000);
    expect((await ask(type)).rcode).toBe(expected);
    expect([first.asked.length, second.asked.length]).toEqual([3, 1]);
  });
});

test('nobody confirms: what is stale is served in its place', async () => {
  await start([first, second]);
  await becomeKnown();
  first.behaviour = NOTHING;
  second.behaviour = refuses(RCODE.SERVFAIL);
  const answer = await ask();
  expect([answer.rcode, answer.answers.length]).toEqual(['NOERROR', 1]);
  expect(extendedErrors(answer)[0]?.code).toBe(3);
  expect(await verdict('unconfirmed')).toBe(1);
});

test('nobody confirms and nothing is stale: SERVFAIL that says why', async () => {
  await start([first, second]);
  await becomeKnown();
  resolver.flush({ all: true });
  first.behaviour = NOTHING;
  second.behaviour = refuses(RCODE.REFUSED);
  const answer = await ask();
  expect(answer.rcode).toBe('SERVFAIL');
  expect(extendedErrors(answer)[0]?.text).toMatch(
    /^not confirmed: 127\.0\.0\.1:\d+ says NXDOMAIN for a name that existed lately; 127\.0\.0\.1:\d+: REFUSED/,
  );
});

test('the one who waits is answered within the deadline', async () => {
  await start([first, second], { stale: '0' });
  await becomeKnown();
  first.behaviour = NOTHING;
  second.behaviour = silent;
  const answer = ask();
  await second.arrival(1);
  resolver.clock.advance(4_000);
  expect((await answer).rcode).toBe('SERVFAIL');
});

test('with one upstream it is asked again over TCP', async () => {
  await start([first]);
  await becomeKnown();
  const lie = NOTHING;
  first.behaviour = (asked) => (asked.transport === 'tcp' ? GOOD : lie)(asked);
  const answer = await ask();
  expect([answer.rcode, answer.answers.length]).toEqual(['NOERROR', 1]);
  expect([first.udpQueries, first.tcpQueries]).toEqual([2, 1]);
});

test('a name that nobody knew is denied at once', async () => {
  first.behaviour = NOTHING;
  await start([first, second]);
  expect((await ask()).rcode).toBe('NXDOMAIN');
  expect(second.asked.length).toBe(0);
});

test('bounce_guard = false believes everything', async () => {
  await start([first, second], { bounce_guard: false });
  await becomeKnown();
  first.behaviour = NOTHING;
  expect((await ask()).rcode).toBe('NXDOMAIN');
});
