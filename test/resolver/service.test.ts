import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CLASS, FLAG, RCODE, TYPE } from '../../resolver/wire/constants.ts';
import {
  type Asked,
  answers,
  FakeUpstream,
  record,
  refuses,
  response,
  silent,
} from '../support/fake-upstream.ts';
import {
  askOctets,
  askUdp,
  brief,
  extendedErrors,
  metric,
  question,
  startTestResolver,
  type TestResolver,
  UdpClient,
} from '../support/resolver.ts';
import { wireName } from '../support/wire.ts';

let upstream: FakeUpstream;
let resolver: TestResolver;

const start = async (settings: object = {}): Promise<void> => {
  resolver = await startTestResolver([upstream.endpoint], settings);
};

beforeEach(async () => {
  upstream = await FakeUpstream.start(answers());
});

afterEach(async () => {
  await resolver.stop();
  await upstream.stop();
});

const SOA_RDATA = Uint8Array.from([0, 0, ...[1, 2, 3, 4, 60].flatMap((n) => [0, 0, 0, n])]);
const denies =
  (rcode: number) =>
  (asked: Asked): void => {
    const soa = { name: wireName('example.'), type: TYPE.SOA, ttlSeconds: 900, rdata: SOA_RDATA };
    asked.send(response(asked, { rcode, authorities: [soa] }));
  };

describe('cache', () => {
  test('TTLs count down, and the upstream is asked again when they end', async () => {
    await start();
    upstream.behaviour = answers(30);
    let atSeconds = 0;
    for (const step of [
      { atSeconds: 0, ttlSeconds: 30, upstreamQueries: 1 },
      { atSeconds: 1, ttlSeconds: 29, upstreamQueries: 1 },
      { atSeconds: 29, ttlSeconds: 1, upstreamQueries: 1 },
      { atSeconds: 30, ttlSeconds: 30, upstreamQueries: 2 },
      { atSeconds: 59, ttlSeconds: 1, upstreamQueries: 2 },
    ]) {
      resolver.clock.advance((step.atSeconds - atSeconds) * 1000);
      atSeconds = step.atSeconds;
      const packet = await askUdp(resolver.endpoint, question('mx.example', TYPE.A));
      expect({ ...step, ttlSeconds: packet.answers[0]?.ttl }).toEqual(step);
      expect(upstream.asked.length).toBe(step.upstreamQueries);
    }
  });

  test.each([
    ['NXDOMAIN', RCODE.NXDOMAIN],
    ['NODATA', RCODE.NOERROR],
  ])('%s is kept for the SOA minimum', async (_kind, rcode) => {
    await start();
    upstream.behaviour = denies(rcode);
    for (const step of [
      { afterMs: 0, upstreamQueries: 1 },
      { afterMs: 59_000, upstreamQueries: 1 },
      { afterMs: 1_000, upstreamQueries: 2 },
    ]) {
      resolver.clock.advance(step.afterMs);
      const packet = await askUdp(resolver.endpoint, question('none.example', TYPE.MX));
      expect(packet.rcode).toBe(rcode === RCODE.NXDOMAIN ? 'NXDOMAIN' : 'NOERROR');
      expect(upstream.asked.length).toBe(step.upstreamQueries);
    }
  });

  test('DO and CD are questions of their own; AD, RD and EDNS are not', async () => {
    await start();
    const more = [{}, { dnssecOk: true }, { cd: true }, { dnssecOk: true, cd: true }];
    for (const flags of more) await askUdp(resolver.endpoint, question('a.example', TYPE.A, flags));
    const asked = upstream.asked.map(({ view }) => [view.dnssecOk, view.cd]);
    expect(asked).toEqual([
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ]);
    for (const flags of [...more, { ad: true }, { edns: false }, { rd: false }]) {
      await askUdp(resolver.endpoint, question('a.example', TYPE.A, flags));
    }
    expect(upstream.asked.length).toBe(4);
  });

  test('every client gets its ID and its own case back', async () => {
    await start();
    for (const name of ['MX.Example', 'mx.example', 'mX.eXaMpLe']) {
      const packet = await askUdp(resolver.endpoint, question(name, TYPE.A, { id: name.length }));
      expect(packet.id).toBe(name.length);
      expect(packet.questions[0]?.name).toBe(name);
    }
    expect(upstream.asked.length).toBe(1);
  });

  test('AD reaches those who ask for it', async () => {
    await start();
    upstream.behaviour = (asked) =>
      asked.send(response(asked, { flags: FLAG.RA | FLAG.AD, answers: [record(asked)] }));
    const flagOf = async (more: object) =>
      (await askUdp(resolver.endpoint, question('s.example', TYPE.A, more))).flag_ad;
    expect([
      await flagOf({}),
      await flagOf({ ad: true }),
      await flagOf({ dnssecOk: true }),
    ]).toEqual([false, true, true]);
  });

  test('an unknown type passes through octet for octet', async () => {
    await start();
    const rdata = Uint8Array.from({ length: 256 }, (_, octet) => octet);
    upstream.behaviour = (asked) =>
      asked.send(response(asked, { answers: [{ ...record(asked), rdata }] }));
    for (let round = 0; round < 2; round += 1) {
      const octets = await askOctets(resolver.endpoint, question('x.example', 65_280));
      expect(octets.includes(Buffer.from(rdata))).toBe(true);
    }
    expect(upstream.asked.length).toBe(1);
  });
});

describe('in flight', () => {
  test('the first exchange of a domain counts in the ledger, like all others', async () => {
    await start();
    await askUdp(resolver.endpoint, question('first.example', TYPE.A));
    await askUdp(resolver.endpoint, question('first.example', TYPE.A));
    // What a front answers is counted later, so of lookups only the first is sure.
    expect(resolver.top(10, 'packets')).toMatchObject([{ domain: 'first.example.', packets: 1 }]);
  });

  test('1,000 clients that ask one name make one packet upstream', async () => {
    await start();
    upstream.behaviour = silent;
    const clients = Array.from({ length: 1000 }, () => new UdpClient(resolver.endpoint));
    for (const [index, client] of clients.entries()) {
      client.send(question('busy.example', TYPE.A, { id: index }));
    }
    const asked = await upstream.arrival(1);
    while ((await metric(resolver, 'postilion_dns_waiting')) < 1000) await setImmediate();
    answers()(asked);
    const packets = await Promise.all(clients.map((client) => client.answer(1)));
    expect(packets.map((packet) => packet.readUInt16BE(0))).toEqual([...clients.keys()]);
    for (const client of clients) client.close();
    expect(upstream.asked.length).toBe(1);
    const labels = `upstream="127.0.0.1:${upstream.endpoint.port}",direction="sent"`;
    expect(await metric(resolver, `postilion_dns_upstream_packets_total{${labels}}`)).toBe(1);
    expect(await metric(resolver, 'postilion_dns_answers_total{source="coalesced"}')).toBe(999);
    expect(await metric(resolver, 'postilion_dns_waiting')).toBe(0);
  });

  test('over `in_flight` a new question fails at once and says why', async () => {
    await start({ in_flight: 16 });
    upstream.behaviour = silent;
    const client = new UdpClient(resolver.endpoint);
    for (let n = 0; n < 17; n += 1) client.send(question(`n${n}.example`, TYPE.A, { id: n }));
    const packet = await client.answer(1);
    client.close();
    expect([packet.readUInt16BE(0), (packet[3] ?? 0) & 15]).toEqual([16, RCODE.SERVFAIL]);
    expect(packet.toString('latin1')).toContain('under way (resolver.in_flight)');
  });

  test('and where the others wait for packets, it names the budget', async () => {
    await start({ in_flight: 64, budget: 20 });
    upstream.behaviour = silent;
    const client = new UdpClient(resolver.endpoint);
    for (let n = 0; n < 65; n += 1) client.send(question(`n${n}.example`, TYPE.A, { id: n }));
    const packet = await client.answer(1);
    client.close();
    expect(packet.readUInt16BE(0)).toBe(64);
    expect(packet.toString('latin1')).toContain('wait for the packet budget (resolver.budget');
  });
});

describe('failures', () => {
  test('are remembered for failure_ttl, and said to be so', async () => {
    await start();
    upstream.behaviour = refuses(RCODE.SERVFAIL);
    const ask = () => askUdp(resolver.endpoint, question('broken.example', TYPE.MX));
    const address = `127.0.0.1:${upstream.endpoint.port}`;
    for (const step of [
      { afterMs: 0, code: 22, upstreamQueries: 1 },
      { afterMs: 4_900, code: 13, upstreamQueries: 1 },
      { afterMs: 200, code: 22, upstreamQueries: 2 },
    ]) {
      resolver.clock.advance(step.afterMs);
      const packet = await ask();
      expect(packet.rcode).toBe('SERVFAIL');
      expect(extendedErrors(packet)).toEqual([{ code: step.code, text: `${address}: SERVFAIL` }]);
      expect(upstream.asked.length).toBe(step.upstreamQueries);
    }
  });

  test('what the upstream says of them reaches the client', async () => {
    await start();
    const extendedError = { code: 6, text: 'signature of example. does not verify' };
    upstream.behaviour = (asked) =>
      asked.send(response(asked, { rcode: RCODE.SERVFAIL, extendedError }));
    const packet = await askUdp(resolver.endpoint, question('bogus.example', TYPE.MX));
    expect(extendedErrors(packet)).toEqual([
      { code: 6, text: `127.0.0.1:${upstream.endpoint.port}: SERVFAIL: ${extendedError.text}` },
    ]);
  });
});

describe('stale', () => {
  /** Keeps an answer of ten seconds and lets it expire. */
  const expire = async (settings: object = {}): Promise<void> => {
    await start(settings);
    upstream.behaviour = answers(10, 1);
    await askUdp(resolver.endpoint, question('old.example', TYPE.A));
    resolver.clock.advance(11_000);
  };

  test('serves when the upstream fails, with 30 s and its reason, while a failure is remembered', async () => {
    await expire();
    upstream.behaviour = refuses(RCODE.SERVFAIL);
    for (const step of [
      { afterMs: 0, upstreamQueries: 2 },
      { afterMs: 29_900, upstreamQueries: 2 },
      { afterMs: 200, upstreamQueries: 3 },
    ]) {
      resolver.clock.advance(step.afterMs);
      const packet = await askUdp(resolver.endpoint, question('old.example', TYPE.A));
      expect([brief(packet), packet.answers[0]?.ttl]).toEqual(['NOERROR 1', 30]);
      expect(extendedErrors(packet)[0]?.code).toBe(3);
      expect(upstream.asked.length).toBe(step.upstreamQueries);
    }
  });

  test('serves after 1.8 s while the refresh goes on, then at once', async () => {
    await expire();
    upstream.behaviour = silent;
    const client = new UdpClient(resolver.endpoint);
    client.send(question('old.example', TYPE.A));
    const asked = await upstream.arrival(2);
    resolver.clock.advance(1_790);
    expect(client.received.length).toBe(0);
    resolver.clock.advance(20);
    await client.answer(1);
    // Other names are answered, so the upstream is not down; it is this name that takes long.
    upstream.behaviour = answers(10, 9);
    await askUdp(resolver.endpoint, question('other.example', TYPE.A));
    client.send(question('old.example', TYPE.A));
    await client.answer(2);
    answers(10, 2)(asked);
    // The late answer is in the cache once the next query is served from it.
    for (let n = 3; ; n += 1) {
      client.send(question('old.example', TYPE.A, { edns: false }));
      const answer = await client.answer(n);
      if (answer.at(-1) === 2) break;
    }
    client.close();
    const served = ['cache', 'hot'].map((source) =>
      metric(resolver, `postilion_dns_answers_total{source="${source}"}`),
    );
    expect((await Promise.all(served)).toSorted()).toEqual([0, 1]);
  });

  test('does not serve with stale = "0"', async () => {
    await expire({ stale: '0' });
    upstream.behaviour = refuses(RCODE.SERVFAIL);
    const packet = await askUdp(resolver.endpoint, question('old.example', TYPE.A));
    expect(packet.rcode).toBe('SERVFAIL');
  });
});

describe('questions that never go upstream', () => {
  test.each([
    ['localhost', TYPE.A, 'NOERROR 1'],
    ['db.localhost', TYPE.A, 'NOERROR 1'],
    ['localhost', TYPE.MX, 'NOERROR'],
    ['mail.invalid', TYPE.MX, 'NXDOMAIN'],
    ['mail.test', TYPE.A, 'NXDOMAIN'],
    ['x.onion', TYPE.A, 'NXDOMAIN'],
    ['1.0.0.127.in-addr.arpa', TYPE.PTR, 'NOERROR localhost'],
    ['2.0.0.127.in-addr.arpa', TYPE.PTR, 'NXDOMAIN'],
    [`1.${'0.'.repeat(31)}ip6.arpa`, TYPE.PTR, 'NOERROR localhost'],
    ['a.example', TYPE.AXFR, 'REFUSED'],
    ['a.example', TYPE.IXFR, 'REFUSED'],
    ['a.example', TYPE.TSIG, 'NOTIMP'],
    ['a.example', TYPE.OPT, 'FORMERR'],
  ])('%s %i: %s', async (name, type, expected) => {
    await start();
    expect(brief(await askUdp(resolver.endpoint, question(name, type)))).toBe(expected);
    expect(upstream.asked.length).toBe(0);
  });

  test.each(['notlocalhost', 'a\\009localhost', 'localhost.example', 'nottest', '10.in-addr.arpa'])(
    '%s is an ordinary name',
    async (name) => {
      await start();
      await askUdp(resolver.endpoint, question(name, TYPE.A));
      expect(upstream.asked.length).toBe(1);
    },
  );

  test('ANY gets the HINFO of RFC 8482', async () => {
    await start();
    const packet = await askUdp(resolver.endpoint, question('a.example', TYPE.ANY));
    expect(packet.answers.map(({ type, data }) => [type, data])).toEqual([
      ['HINFO', { cpu: 'RFC8482', os: '' }],
    ]);
  });

  test('CHAOS is refused', async () => {
    await start();
    const query = question('version.bind', TYPE.TXT, { class: CLASS.CH });
    expect((await askUdp(resolver.endpoint, query)).rcode).toBe('REFUSED');
  });

  test('without RD only what is cached', async () => {
    await start();
    const iterative = question('a.example', TYPE.A, { rd: false });
    expect((await askUdp(resolver.endpoint, iterative)).rcode).toBe('REFUSED');
    await askUdp(resolver.endpoint, question('a.example', TYPE.A));
    expect(brief(await askUdp(resolver.endpoint, iterative))).toBe('NOERROR 1');
  });

  test('clients outside `allow` are refused, whatever they send', async () => {
    await start({ allow: ['192.0.2.0/24'] });
    const packet = await askUdp(resolver.endpoint, question('a.example', TYPE.A));
    expect(packet.rcode).toBe('REFUSED');
    expect(extendedErrors(packet)[0]?.code).toBe(18);
  });

  test('NOTIFY is not implemented, BADVERS answers EDNS 1, two questions are a form error', async () => {
    await start();
    const notify = question('a.example', TYPE.SOA);
    notify[2] = 4 << 3;
    expect((await askUdp(resolver.endpoint, notify)).rcode).toBe('NOTIMP');
    const edns1 = question('a.example', TYPE.A);
    edns1[edns1.length - 5] = 1;
    const badVersion = await askUdp(resolver.endpoint, edns1);
    expect(badVersion.additionals[0]?.extendedRcode).toBe(1);
    const two = question('a.example', TYPE.A);
    two[5] = 2;
    expect((await askUdp(resolver.endpoint, two)).rcode).toBe('FORMERR');
  });

  test('responses and stumps are dropped and counted', async () => {
    await start();
    const client = new UdpClient(resolver.endpoint);
    const reflected = question('a.example', TYPE.A);
    reflected[2] = 0x80;
    client.send(reflected);
    client.send(reflected.subarray(0, 11));
    client.send(question('a.example', TYPE.A, { id: 7 }));
    expect((await client.answer(1)).readUInt16BE(0)).toBe(7);
    client.close();
    expect(await metric(resolver, 'postilion_dns_drops_total{reason="response"}')).toBe(1);
    expect(await metric(resolver, 'postilion_dns_drops_total{reason="short"}')).toBe(1);
  });
});
