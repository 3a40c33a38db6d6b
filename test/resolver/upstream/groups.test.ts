/** Which upstreams a question goes to: zones, spill, preference, and who is answered by when. */
import { setImmediate } from 'node:timers/promises';
import { afterEach, describe, expect, test } from 'vitest';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { formatEndpoint } from '../../../runtime/settings.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { answers, type Behaviour, FakeUpstream, silent } from '../../support/fake-upstream.ts';
import { oracle } from '../../support/oracle.ts';
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

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const upstreamThat = async (behaviour: Behaviour) =>
  cleanup.stop(await FakeUpstream.start(behaviour));

const at = ({ endpoint }: FakeUpstream) => formatEndpoint(endpoint);

const start = async (upstreams: readonly FakeUpstream[], settings: object = {}) =>
  cleanup.stop(
    await startTestResolver(
      upstreams.map(({ endpoint }) => endpoint),
      settings,
    ),
  );

const ask = async (resolver: TestResolver, name: string) =>
  brief(await askUdp(resolver.endpoint, question(name, TYPE.A)));

const clientOf = (resolver: TestResolver): UdpClient => {
  const client = new UdpClient(resolver.endpoint);
  cleanup.add(async () => client.close());
  return client;
};

test('the longest zone that contains the name has its own upstreams', async () => {
  const [main, corp, lab] = await Promise.all([1, 2, 3].map((n) => upstreamThat(answers(300, n))));
  const resolver = await start([main!], {
    forward: [
      { zone: 'corp.example', upstreams: [at(corp!)] },
      { zone: 'Lab.Corp.Example.', upstreams: [at(lab!)] },
    ],
  });
  const expected: [name: string, answer: string][] = [
    ['other.example', 'NOERROR 1'],
    ['notcorp.example', 'NOERROR 1'],
    ['example', 'NOERROR 1'],
    ['corp.example', 'NOERROR 2'],
    ['mail.CORP.example', 'NOERROR 2'],
    ['lab.corp.example', 'NOERROR 3'],
    ['a.b.lab.corp.example', 'NOERROR 3'],
    ['slab.corp.example', 'NOERROR 2'],
  ];
  for (const [name, answer] of expected)
    expect([name, await ask(resolver, name)]).toEqual([name, answer]);
});

describe('over budget', () => {
  /** Uses up a burst of 12, and a little more. */
  const flood = async (resolver: TestResolver, upstream: FakeUpstream, count: number) => {
    const client = clientOf(resolver);
    for (let n = 0; n < count; n += 1) client.send(question(`n${n}.example`, TYPE.A, { id: n }));
    await upstream.arrival(12);
    const waiting = 'postilion_dns_budget_waiting{group="upstreams",lane="lookup"}';
    while ((await metric(resolver, waiting)) < count - 12) await setImmediate();
    return client;
  };

  test('what waits until only an exchange would fit in goes to the spill group', async () => {
    const main = await upstreamThat(silent);
    const other = await upstreamThat(answers(300, 2));
    const resolver = await start([main], { budget: 20, spill: [at(other)] });
    const client = await flood(resolver, main, 100);
    resolver.clock.advance(2_990);
    await setImmediate();
    expect(other.asked.length).toBe(0);
    resolver.clock.advance(20);
    await other.arrival(50);
    await client.answer(50);
    expect(new Set(client.received.map((answer) => brief(oracle(answer))))).toEqual(
      new Set(['NOERROR 2']),
    );
    expect(await metric(resolver, 'postilion_dns_budget_spilled_total{group="upstreams"}')).toBe(
      other.asked.length,
    );
  });

  test('without one it fails then, a second before the client gives up, and says why', async () => {
    const main = await upstreamThat(silent);
    const resolver = await start([main], { budget: 20 });
    const client = await flood(resolver, main, 100);
    resolver.clock.advance(3_010);
    const packet = oracle(await client.answer(1));
    expect([packet.rcode, extendedErrors(packet)]).toEqual([
      'SERVFAIL',
      [{ code: 0, text: 'waits for the budget of 20 packets/s (upstreams)' }],
    ]);
  });

  test('the second of a group is asked when the first has used up its own', async () => {
    const first = await upstreamThat(answers(300, 1));
    const second = await upstreamThat(answers(300, 2));
    const resolver = await start([first, second], { upstream_budget: 20 });
    const said: string[] = [];
    for (let n = 0; n < 24; n += 1) said.push(await ask(resolver, `n${n}.example`));
    expect(said.filter((it) => it === 'NOERROR 1').length).toBe(12);
    expect(said.filter((it) => it === 'NOERROR 2').length).toBe(12);
  });

  test('a zone counts against the budget of all, unless it has its own', async () => {
    const main = await upstreamThat(answers(300, 1));
    const zone = await upstreamThat(silent);
    const own = await upstreamThat(answers(300, 3));
    const resolver = await start([main], {
      budget: 20,
      forward: [
        { zone: 'shared.example', upstreams: [at(zone)] },
        { zone: 'own.example', upstreams: [at(own)], budget: 500 },
      ],
    });
    const client = clientOf(resolver);
    for (let n = 0; n < 12; n += 1) client.send(question(`n${n}.shared.example`, TYPE.A));
    await zone.arrival(12);
    client.send(question('a.example', TYPE.A));
    while (resolver.explain('a.example').inFlight.length === 0) await setImmediate();
    expect(resolver.explain('a.example').inFlight[0]?.state).toBe(
      'waits for the budget of 20 packets/s (upstreams)',
    );
    expect(await ask(resolver, 'b.own.example')).toBe('NOERROR 3');
  });
});

describe('selection = "fastest"', () => {
  test('the faster one is asked, and the slower one now and then', async () => {
    const slow = await upstreamThat((asked) => delayed.push(() => answers(300, 1)(asked)));
    const fast = await upstreamThat(answers(300, 2));
    const delayed: (() => void)[] = [];
    const resolver = await start([slow, fast], { selection: 'fastest', hedge: false });
    for (let n = 0; n < 200; n += 1) {
      const client = clientOf(resolver);
      client.send(question(`n${n}.example`, TYPE.A));
      while (client.received.length === 0) {
        await setImmediate();
        if (delayed.length === 0) continue;
        resolver.clock.advance(100);
        delayed.pop()!();
      }
    }
    expect(fast.asked.length + slow.asked.length).toBe(200);
    // One in twenty at random, and the first of all.
    expect(slow.asked.length).toBeGreaterThan(1);
    expect(slow.asked.length).toBeLessThan(30);
  });
});

describe('hedge', () => {
  test('past the 95th percentile the second is asked, and the first to answer counts', async () => {
    const first = await upstreamThat(answers(300, 1));
    const second = await upstreamThat(answers(300, 2));
    const resolver = await start([first, second]);
    for (let n = 0; n < 32; n += 1) {
      first.behaviour = (asked) => {
        resolver.clock.advance(20);
        answers(300, 1)(asked);
      };
      await ask(resolver, `warm${n}.example`);
    }
    first.behaviour = silent;
    const client = clientOf(resolver);
    client.send(question('slow.example', TYPE.A));
    await first.arrival(33);
    resolver.clock.advance(10);
    await setImmediate();
    expect(second.asked.length).toBe(0);
    resolver.clock.advance(20);
    expect(brief(oracle(await client.answer(1)))).toBe('NOERROR 2');
    expect(await metric(resolver, 'postilion_dns_hedges_total{outcome="won"}')).toBe(1);
  });

  test('not when the budget has no room for what nobody needs', async () => {
    const first = await upstreamThat(answers(300, 1));
    const second = await upstreamThat(answers(300, 2));
    const resolver = await start([first, second], { budget: 20 });
    for (let n = 0; n < 32; n += 1) {
      await ask(resolver, `warm${n}.example`);
      resolver.clock.advance(1_000);
    }
    first.behaviour = silent;
    const client = clientOf(resolver);
    for (let n = 0; n < 7; n += 1) client.send(question(`slow${n}.example`, TYPE.A));
    await first.arrival(39);
    resolver.clock.advance(100);
    await setImmediate();
    expect(second.asked.length).toBe(0);
  });
});

describe('clients that wait less', () => {
  const rspamd = { clients: [{ networks: ['127.0.0.1'], deadline: '900ms' }] };

  test('are answered in their time, and the exchange goes on for others', async () => {
    const upstream = await upstreamThat(silent);
    const resolver = await start([upstream], rspamd);
    const client = clientOf(resolver);
    client.send(question('slow.example', TYPE.A));
    const asked = await upstream.arrival(1);
    resolver.clock.advance(890);
    await setImmediate();
    expect(client.received.length).toBe(0);
    resolver.clock.advance(20);
    const packet = oracle(await client.answer(1));
    expect([packet.rcode, extendedErrors(packet)]).toEqual([
      'SERVFAIL',
      [{ code: 22, text: 'no answer yet, and this client waits no longer (resolver.clients)' }],
    ]);
    expect(resolver.explain('slow.example').inFlight[0]?.clients).toBe(0);
    answers(300, 5)(asked);
    while (resolver.explain('slow.example').cached.length === 0) await setImmediate();
    expect(await ask(resolver, 'slow.example')).toBe('NOERROR 5');
  });

  test('get what is stale rather than an error', async () => {
    const upstream = await upstreamThat(answers(10, 1));
    const resolver = await start([upstream], rspamd);
    await ask(resolver, 'old.example');
    resolver.clock.advance(11_000);
    upstream.behaviour = silent;
    const client = clientOf(resolver);
    client.send(question('old.example', TYPE.A));
    await upstream.arrival(2);
    resolver.clock.advance(910);
    expect(brief(oracle(await client.answer(1)))).toBe('NOERROR 1');
  });
});
