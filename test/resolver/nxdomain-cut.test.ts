/** RFC 8020 through a whole resolver: what is asked upstream, and what is not. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { HEADER_OCTETS, RCODE, TYPE } from '../../resolver/wire/constants.ts';
import type { QueryToWrite } from '../../resolver/wire/write.ts';
import { Cleanup } from '../support/cleanup.ts';
import {
  type Asked,
  answers,
  type Behaviour,
  FakeUpstream,
  record,
  response,
} from '../support/fake-upstream.ts';
import {
  askUdp,
  brief,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../support/resolver.ts';
import { wireName } from '../support/wire.ts';

let cleanup: Cleanup;
let upstream: FakeUpstream;
let own: FakeUpstream;
let resolver: TestResolver;

const TTL_SECONDS = 100;
/** "ns" and "h" below the QNAME by pointers, which mean nothing in another message. */
const POINTER = [0xc0, HEADER_OCTETS];
const SOA_RDATA = Uint8Array.from([
  2,
  0x6e,
  0x73,
  ...POINTER,
  1,
  0x68,
  ...POINTER,
  ...[1, 2, 3, 4, TTL_SECONDS].flatMap((number) => [0, 0, 0, number]),
]);

const nameOf = ({ message, view }: Asked): Uint8Array =>
  message.subarray(HEADER_OCTETS, view.nameEnd);

const denies: Behaviour = (asked) => {
  const soa = { name: nameOf(asked), type: TYPE.SOA, ttlSeconds: TTL_SECONDS, rdata: SOA_RDATA };
  asked.send(response(asked, { rcode: RCODE.NXDOMAIN, authorities: [soa] }));
};

beforeEach(async () => {
  cleanup = new Cleanup();
  upstream = cleanup.stop(await FakeUpstream.start(denies));
  own = cleanup.stop(await FakeUpstream.start(answers(300, 7)));
});
afterEach(() => cleanup.run());

const start = async (settings: object): Promise<void> => {
  resolver = cleanup.stop(
    await startTestResolver([upstream.endpoint], { mix_case: false, ...settings }),
  );
};
const ask = (name: string, type: number = TYPE.A, more: Partial<QueryToWrite> = {}) =>
  askUdp(resolver.endpoint, question(name, type, more));

test('names at and below a denied one are denied here, in its own zone, with its flags, while it is fresh', async () => {
  const zone = 'own.gone.example';
  await start({
    cache: { nxdomain_cut: true },
    forward: [{ zone, upstreams: [`127.0.0.1:${own.endpoint.port}`] }],
    local: [{ name: 'kept.gone.example', type: 'A', data: '192.0.2.9' }],
  });
  const steps = [
    { ask: ['gone.example'], is: 'NXDOMAIN', upstream: 1, own: 0 },
    { ask: ['a.b.gone.example', TYPE.MX], is: 'NXDOMAIN', upstream: 1, own: 0 },
    { ask: ['GONE.example', TYPE.MX], is: 'NXDOMAIN', upstream: 1, own: 0 },
    { ask: ['a.gone.example', TYPE.A, { rd: false }], is: 'NXDOMAIN', upstream: 1, own: 0 },
    { ask: ['a.gone.example', TYPE.A, { dnssecOk: true }], is: 'NXDOMAIN', upstream: 2, own: 0 },
    { ask: ['a.gone.example', TYPE.A, { cd: true }], is: 'NXDOMAIN', upstream: 3, own: 0 },
    { ask: [`a.${zone}`], is: 'NOERROR 7', upstream: 3, own: 1 },
    { ask: [zone], is: 'NOERROR 7', upstream: 3, own: 2 },
    { ask: ['kept.gone.example'], is: 'NOERROR 9', upstream: 3, own: 2 },
    { ask: ['notgone.example'], is: 'NXDOMAIN', upstream: 4, own: 2 },
  ] as const;
  for (const step of steps) {
    const [name, type, more] = step.ask;
    const is = brief(await ask(name, type, more));
    expect({ ...step, is, upstream: upstream.asked.length, own: own.asked.length }).toEqual(step);
  }
  expect(await metric(resolver, 'postilion_dns_nxdomain_cuts_total')).toBe(3);
});

test('such a denial has the SOA of the first, whole, and its age', async () => {
  await start({ cache: { nxdomain_cut: true } });
  await ask('gone.example');
  resolver.clock.advance(40_000);
  const packet = await ask('deep.below.gone.example', TYPE.AAAA);
  expect(packet.authorities).toMatchObject([
    {
      name: 'gone.example',
      type: 'SOA',
      ttl: 60,
      data: { mname: 'ns.gone.example', rname: 'h.gone.example', serial: 1, minimum: 100 },
    },
  ]);
  resolver.clock.advance(60_000);
  await ask('deep.below.gone.example', TYPE.AAAA);
  expect(upstream.asked.length).toBe(2);
});

test('a name that existed lately is asked for all the same', async () => {
  await start({ cache: { nxdomain_cut: true } });
  upstream.behaviour = (asked) => {
    if (asked.view.nameEnd === HEADER_OCTETS + wireName('gone.example').length) denies(asked);
    else asked.send(response(asked, { answers: [record(asked)] }));
  };
  await ask('live.gone.example');
  expect(brief(await ask('gone.example'))).toBe('NXDOMAIN');
  expect((await ask('live.gone.example', 65_280)).rcode).toBe('NOERROR');
  expect(upstream.asked.length).toBe(3);
});

test('it is off unless asked for', async () => {
  await start({});
  await ask('gone.example');
  await ask('a.gone.example');
  expect(upstream.asked.length).toBe(2);
});
