/** How long answers live, serve stale, and are renewed: timetables through a whole resolver. */
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { resolverSchema } from '../../resolver/config.ts';
import { RCODE, TYPE } from '../../resolver/wire/constants.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream, refuses, silent } from '../support/fake-upstream.ts';
import { oracle } from '../support/oracle.ts';
import {
  askUdp,
  brief,
  extendedErrors,
  metric,
  question,
  startTestResolver,
  type TestResolver,
  UdpClient,
} from '../support/resolver.ts';

let cleanup: Cleanup;
let upstream: FakeUpstream;
let resolver: TestResolver;
beforeEach(async () => {
  cleanup = new Cleanup();
  upstream = cleanup.stop(await FakeUpstream.start(answers(100)));
});
afterEach(() => cleanup.run());
const start = async (settings: object = {}): Promise<void> => {
  resolver = cleanup.stop(await startTestResolver([upstream.endpoint], settings));
};
const ask = (name: string, type: number = TYPE.A) =>
  askUdp(resolver.endpoint, question(name, type));

test('bounds of a type stand in place of the general ones', async () => {
  await start({
    cache: {
      min_ttl: '10s',
      max_ttl: '50s',
      types: [
        { type: 'A', min_ttl: '150s' },
        { type: 'TYPE65280', max_ttl: '20s' },
      ],
    },
  });
  const ttls: (number | undefined)[] = [];
  for (const type of [TYPE.A, 65_280, 65_281])
    ttls.push((await ask('a.example', type)).answers[0]?.ttl);
  expect(ttls).toEqual([150, 20, 50]);
  expect(
    [{ type: 'NONE' }, { type: 'A', min_ttl: '2d' }].map(
      (bounds) =>
        resolverSchema.safeParse({ cache: { types: [bounds] } }).error?.issues[0]?.message,
    ),
  ).toEqual(['"NONE" is not a type', 'min_ttl exceeds max_ttl']);
});

test('stale: after so long, with such a TTL, as configured', async () => {
  await start({ stale_after: '500ms', stale_ttl: '7s' });
  await ask('a.example');
  resolver.clock.advance(101_000);
  upstream.behaviour = silent;
  const client = new UdpClient(resolver.endpoint);
  cleanup.add(async () => client.close());
  client.send(question('a.example', TYPE.A));
  await upstream.arrival(2);
  resolver.clock.advance(480);
  await setImmediate();
  expect(client.received.length).toBe(0);
  resolver.clock.advance(40);
  const packet = oracle(await client.answer(1));
  expect([packet.answers[0]?.ttl, extendedErrors(packet)[0]?.code]).toEqual([7, 3]);
});

test('a stale answer is tried again once in `stale_recheck`; what has none once in `failure_ttl`', async () => {
  await start({ stale_recheck: '12s', cache: { failure_ttl: '4s' } });
  await ask('a.example');
  upstream.behaviour = refuses(RCODE.SERVFAIL);
  upstream.asked.length = 0;
  let nowSeconds = 0;
  // What was asked upstream of the two by then, all in all.
  for (const step of [
    { atSeconds: 101, stale: 1, none: 1 },
    { atSeconds: 104, stale: 1, none: 1 },
    { atSeconds: 106, stale: 1, none: 2 },
    { atSeconds: 111, stale: 1, none: 3 },
    { atSeconds: 112, stale: 1, none: 3 },
    { atSeconds: 114, stale: 2, none: 3 },
    { atSeconds: 116, stale: 2, none: 4 },
  ]) {
    resolver.clock.advance((step.atSeconds - nowSeconds) * 1_000);
    nowSeconds = step.atSeconds;
    const packets = [await ask('a.example'), await ask('none.example')];
    expect(packets.map(brief)).toEqual(['NOERROR 1', 'SERVFAIL']);
    const nameEnds = upstream.asked.map(({ view }) => view.nameEnd);
    const stale = nameEnds.filter((end) => end === nameEnds[0]).length;
    expect({ ...step, stale, none: nameEnds.length - stale }).toEqual(step);
  }
  expect(
    ['500ms', '6m'].map((it) => resolverSchema.safeParse({ stale_recheck: it }).success),
  ).toEqual([false, false]);
});

describe('prefetch', () => {
  /** Seconds since the answer came, and what had been asked upstream a moment later. */
  const timetable = async (
    steps: readonly { atSeconds: number; times: number; upstreamQueries: number; ttl: number }[],
  ): Promise<void> => {
    let nowSeconds = 0;
    for (const step of steps) {
      resolver.clock.advance((step.atSeconds - nowSeconds) * 1_000);
      nowSeconds = step.atSeconds;
      let ttl: number | undefined;
      for (let time = 0; time < step.times; time += 1)
        ttl = (await ask('a.example')).answers[0]?.ttl;
      while ((await metric(resolver, 'postilion_dns_in_flight')) > 0) await setImmediate();
      expect({ ...step, ttl, upstreamQueries: upstream.asked.length }).toEqual(step);
    }
  };

  test('renews what is popular and asked for in the last tenth of its life', async () => {
    await start({ cache: { prefetch: 3 } });
    await timetable([
      { atSeconds: 0, times: 1, upstreamQueries: 1, ttl: 100 },
      { atSeconds: 50, times: 3, upstreamQueries: 1, ttl: 50 },
      { atSeconds: 89, times: 1, upstreamQueries: 1, ttl: 11 },
      { atSeconds: 91, times: 1, upstreamQueries: 2, ttl: 9 },
      { atSeconds: 92, times: 1, upstreamQueries: 2, ttl: 99 },
    ]);
  });

  test('lets go what is not, and is off unless asked for', async () => {
    await start({ cache: { prefetch: 3 } });
    await timetable([
      { atSeconds: 0, times: 1, upstreamQueries: 1, ttl: 100 },
      { atSeconds: 91, times: 1, upstreamQueries: 1, ttl: 9 },
      { atSeconds: 101, times: 1, upstreamQueries: 2, ttl: 100 },
    ]);
    await resolver.stop();
    await start();
    upstream.asked.length = 0;
    await timetable([
      { atSeconds: 0, times: 1, upstreamQueries: 1, ttl: 100 },
      { atSeconds: 91, times: 50, upstreamQueries: 1, ttl: 9 },
    ]);
  });

  test('that fails leaves the answer to live out its life', async () => {
    await start({ cache: { prefetch: 1 } });
    await ask('a.example');
    await ask('a.example');
    upstream.behaviour = silent;
    resolver.clock.advance(95_000);
    await ask('a.example');
    await upstream.arrival(2);
    resolver.clock.advance(4_500);
    expect((await ask('a.example')).answers[0]?.ttl).toBe(1);
  });
});
