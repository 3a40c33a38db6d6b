/** Upstreams that are silent, slow, broken, or come and go. All on a clock moved by hand. */
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { writeUint16 } from '../../../resolver/wire/message.ts';
import { formatEndpoint } from '../../../runtime/settings.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  answers,
  type Behaviour,
  FakeUpstream,
  record,
  refuses,
  response,
  silent,
} from '../../support/fake-upstream.ts';
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

let cleanup: Cleanup;
let first: FakeUpstream;
let second: FakeUpstream;
let resolver: TestResolver;

beforeEach(async () => {
  cleanup = new Cleanup();
  first = await FakeUpstream.start(silent);
  second = await FakeUpstream.start(answers(300, 2));
});

afterEach(async () => {
  await cleanup.run();
  await first.stop().catch(() => undefined);
  await second.stop();
});

const start = async (count: 1 | 2, settings: object = {}): Promise<void> => {
  const upstreams = count === 1 ? [first] : [first, second];
  resolver = cleanup.stop(
    await startTestResolver(
      upstreams.map((it) => it.endpoint),
      settings,
    ),
  );
};

const sentSeries = (): string =>
  `postilion_dns_upstream_packets_total{upstream="${formatEndpoint(first.endpoint)}",direction="sent"}`;

const ask = (name = 'a.example') => askUdp(resolver.endpoint, question(name, TYPE.A));

/** Asks without waiting for the answer. */
const begin = (name = 'a.example'): UdpClient => {
  const client = new UdpClient(resolver.endpoint);
  cleanup.add(async () => client.close());
  client.send(question(name, TYPE.A));
  return client;
};

/** In steps, so that what the system says of each packet is heard before the next one is sent. */
async function passes(ms: number): Promise<void> {
  for (let elapsedMs = 0; elapsedMs < ms; elapsedMs += 10) {
    resolver.clock.advance(10);
    await setImmediate();
  }
}

const answerOf = async (client: UdpClient) => oracle(await client.answer(1));

describe('one upstream', () => {
  test('silent: asked again with back-off until the deadline, then SERVFAIL that says so', async () => {
    await start(1);
    const client = begin();
    await first.arrival(1);
    const started = resolver.clock.monotonicMs();
    const sentAtMs = [0];
    for (let count = 2; resolver.clock.monotonicMs() - started < 3_990; ) {
      resolver.clock.advance(10);
      await setImmediate();
      const sent = resolver.explain('a.example').inFlight[0]?.state ?? '';
      if (sent.includes(`${count} times`)) {
        sentAtMs.push(resolver.clock.monotonicMs() - started);
        await first.arrival(count);
        count += 1;
      }
    }
    expect(sentAtMs).toEqual([0, 500, 1_500, 3_500]);
    expect(client.received.length).toBe(0);
    resolver.clock.advance(20);
    const packet = await answerOf(client);
    expect(packet.rcode).toBe('SERVFAIL');
    expect(extendedErrors(packet)).toEqual([
      { code: 22, text: `${formatEndpoint(first.endpoint)}: no answer` },
    ]);
    expect(new Set(first.asked.map(({ view, port }) => `${view.id} ${port}`)).size).toBe(1);
  });

  test('silence about one name does not take the upstream down', async () => {
    await start(1);
    const client = begin();
    await first.arrival(1);
    resolver.clock.advance(4_010);
    expect((await answerOf(client)).rcode).toBe('SERVFAIL');
    expect(resolver.ready()).toBe(null);
  });

  test('an answer to the first packet counts after the second was sent', async () => {
    await start(1);
    const client = begin();
    const asked = await first.arrival(1);
    resolver.clock.advance(510);
    await first.arrival(2);
    answers(300, 5)(asked);
    expect(brief(await answerOf(client))).toBe('NOERROR 5');
  });

  test('a client that joins late is answered with the others', async () => {
    await start(1);
    const early = begin();
    await first.arrival(1);
    resolver.clock.advance(3_900);
    const late = begin();
    while (resolver.explain('a.example').inFlight[0]?.clients !== 2) await setImmediate();
    resolver.clock.advance(110);
    expect([(await answerOf(early)).rcode, (await answerOf(late)).rcode]).toEqual([
      'SERVFAIL',
      'SERVFAIL',
    ]);
  });

  test('a closed port is a network error, and is asked no oftener than a silent one', async () => {
    await start(1);
    await first.stop();
    const client = begin();
    while (resolver.ready() === null) await setImmediate();
    expect(resolver.ready()).toBe(
      `no upstream answers (${formatEndpoint(first.endpoint)}: ECONNREFUSED)`,
    );
    await passes(4_010);
    const packet = await answerOf(client);
    // At 0, 0.5, 1.5 and 3.5 s, and two or three probes.
    expect(await metric(resolver, sentSeries())).toBeLessThanOrEqual(7);
    expect(extendedErrors(packet)).toEqual([
      { code: 23, text: `${formatEndpoint(first.endpoint)}: ECONNREFUSED` },
    ]);
  });

  test('back after an outage: noticed within two seconds, and failures are forgotten', async () => {
    await start(1);
    const { endpoint } = first;
    await first.stop();
    const client = begin();
    while (resolver.ready() === null) await setImmediate();
    await passes(4_010);
    expect((await answerOf(client)).rcode).toBe('SERVFAIL');
    first = await FakeUpstream.start(answers(300, 3), endpoint);
    resolver.clock.advance(2_000);
    while (resolver.ready() !== null) await setImmediate();
    expect(brief(await ask())).toBe('NOERROR 3');
  });
});

describe('two upstreams', () => {
  test('the second is asked when the first is silent, and whoever answers first counts', async () => {
    await start(2);
    const client = begin();
    await first.arrival(1);
    expect(second.asked.length).toBe(0);
    resolver.clock.advance(510);
    expect(brief(await answerOf(client))).toBe('NOERROR 2');
  });

  test('three time-outs, and the first is passed over until a probe is answered', async () => {
    await start(2);
    for (let n = 1; n <= 3; n += 1) {
      const client = begin(`n${n}.example`);
      await first.arrival(n);
      resolver.clock.advance(510);
      await client.answer(1);
    }
    expect(brief(await ask('n4.example'))).toBe('NOERROR 2');
    expect(first.asked.length).toBe(3);
    first.behaviour = answers(300, 1);
    resolver.clock.advance(2_000);
    const probe = await first.arrival(4);
    expect([probe.view.qtype, probe.view.nameEnd]).toEqual([TYPE.NS, 13]);
    while (resolver.explain('x').upstreams[0]?.up !== true) await setImmediate();
    expect(brief(await ask('n5.example'))).toBe('NOERROR 1');
  });

  test.each([RCODE.SERVFAIL, RCODE.REFUSED, RCODE.NOTAUTH])(
    'RCODE %i of the first: the second is asked at once',
    async (rcode) => {
      await start(2);
      first.behaviour = refuses(rcode);
      expect(brief(await ask())).toBe('NOERROR 2');
    },
  );

  test('both reject: SERVFAIL at once, with what each said', async () => {
    await start(2);
    first.behaviour = refuses(RCODE.SERVFAIL);
    second.behaviour = refuses(RCODE.REFUSED);
    const packet = await ask();
    expect([packet.rcode, extendedErrors(packet)[0]?.text]).toEqual([
      'SERVFAIL',
      `${formatEndpoint(first.endpoint)}: SERVFAIL; ${formatEndpoint(second.endpoint)}: REFUSED`,
    ]);
    expect([first.asked.length, second.asked.length]).toEqual([1, 1]);
  });

  test.each([
    ['NXDOMAIN', RCODE.NXDOMAIN],
    ['YXDOMAIN', RCODE.YXDOMAIN],
  ])('%s is an answer', async (name, rcode) => {
    await start(2);
    first.behaviour = refuses(rcode);
    expect((await ask()).rcode).toBe(name);
    expect(second.asked.length).toBe(0);
  });
});

describe('TCP', () => {
  const truncates: Behaviour = (asked) => {
    const cut = response(asked);
    cut[2]! |= 0x02;
    if (asked.transport === 'udp') asked.send(cut);
    else asked.send(response(asked, { answers: [record(asked, 300, 8)] }));
  };

  test('TC: asked over TCP, one connection for many', async () => {
    await start(1);
    first.behaviour = truncates;
    for (let n = 0; n < 5; n += 1) expect(brief(await ask(`t${n}.example`))).toBe('NOERROR 8');
    expect(
      new Set(first.asked.filter((it) => it.transport === 'tcp').map((it) => it.port)).size,
    ).toBe(1);
  });

  test('an answer too large for UDP reaches a UDP client as TC', async () => {
    await start(1);
    first.behaviour = (asked) => {
      const big = Array.from({ length: 200 }, (_, n) => record(asked, 300, n));
      if (asked.transport === 'udp') truncates(asked);
      else asked.send(response(asked, { answers: big }));
    };
    const packet = await ask();
    expect([packet.flag_tc, packet.answers.length]).toEqual([true, 0]);
  });

  test('a connection that breaks after it has answered: asked again on a new one', async () => {
    await start(1);
    first.behaviour = truncates;
    await ask('one.example');
    first.behaviour = (asked) => {
      if (asked.transport === 'tcp' && first.tcpQueries === 2) asked.hangUp();
      else truncates(asked);
    };
    expect(brief(await ask('two.example'))).toBe('NOERROR 8');
    expect(first.tcpQueries).toBe(3);
  });

  test('a connection that breaks at its first question: SERVFAIL at once, which says so', async () => {
    await start(1);
    first.behaviour = (asked) => {
      if (asked.transport === 'tcp') asked.hangUp();
      else truncates(asked);
    };
    const packet = await ask();
    expect([packet.rcode, extendedErrors(packet)[0]?.text]).toEqual([
      'SERVFAIL',
      `${formatEndpoint(first.endpoint)}: TCP: ECONNRESET`,
    ]);
  });
});

describe('EDNS', () => {
  test.each([RCODE.FORMERR, RCODE.NOTIMP])(
    'RCODE %i: asked without, which is remembered for five minutes',
    async (rcode) => {
      await start(1);
      first.behaviour = (asked) => {
        if (asked.view.hasEdns) refuses(rcode)(asked);
        else answers(300, 4)(asked);
      };
      const edns = () => first.asked.map(({ view }) => view.hasEdns);
      expect(brief(await ask('one.example'))).toBe('NOERROR 4');
      expect(edns()).toEqual([true, false]);
      expect(brief(await ask('two.example'))).toBe('NOERROR 4');
      expect(edns()).toEqual([true, false, false]);
      resolver.clock.advance(301_000);
      expect(brief(await ask('three.example'))).toBe('NOERROR 4');
      expect(edns()).toEqual([true, false, false, true, false]);
    },
  );

  test('a bare header with FORMERR is understood too', async () => {
    await start(1);
    first.behaviour = (asked) => {
      const header = response(asked, { rcode: RCODE.FORMERR }).slice(0, 12);
      for (const offset of [4, 6, 8, 10]) writeUint16(header, offset, 0);
      if (asked.view.hasEdns) asked.send(header);
      else answers(300, 4)(asked);
    };
    expect(brief(await ask())).toBe('NOERROR 4');
  });
});
