/** Cookies, keepalive and padding as clients see them; and what is asked in class CHAOS. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CLASS, TYPE } from '../../resolver/wire/constants.ts';
import { frame } from '../../resolver/wire/frame.ts';
import { parseQuery, QueryVerdict, QueryView } from '../../resolver/wire/message.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import { oracle } from '../support/oracle.ts';
import {
  askOctets,
  exchangeTcp,
  question,
  startTestResolver,
  type TestResolver,
} from '../support/resolver.ts';

let cleanup: Cleanup;
let resolver: TestResolver;
beforeEach(async () => {
  cleanup = new Cleanup();
  const upstream = cleanup.stop(await FakeUpstream.start(answers(300)));
  resolver = cleanup.stop(
    await startTestResolver([upstream.endpoint], {
      identity: 'mx1',
      cookie_secrets: ['00'.repeat(16)],
    }),
  );
});
afterEach(() => cleanup.run());

const NSID = 3;
const COOKIE = 10;
const KEEPALIVE = 11;
const PADDING = 12;
const CLIENT_COOKIE = [1, 2, 3, 4, 5, 6, 7, 8];

/** A query whose OPT record, which ends it, has these options. */
function withOptions(
  query: Uint8Array,
  options: readonly [code: number, data: readonly number[]][],
): Uint8Array {
  const encoded = options.flatMap(([code, data]) => [0, code, 0, data.length, ...data]);
  const out = Uint8Array.from([...query, ...encoded]);
  out[query.length - 1] = encoded.length;
  return out;
}
const optionsOf = (answer: Uint8Array): { code: number; data: Buffer }[] =>
  oracle(answer).additionals.flatMap(({ options }) => options ?? []) as never;

test('a client cookie comes back with ours, on a hit, a miss, an error, and alone', async () => {
  const cookie: [number, number[]][] = [[COOKIE, CLIENT_COOKIE]];
  const alone = withOptions(question('x', TYPE.A), cookie);
  const noQuestion = Uint8Array.from([...alone.subarray(0, 12), ...alone.subarray(12 + 3 + 4)]);
  noQuestion[5] = 0;
  const queries = [
    withOptions(question('a.example', TYPE.A), cookie),
    withOptions(question('a.example', TYPE.A), cookie),
    withOptions(question('a.example', TYPE.AXFR), cookie),
    withOptions(question('a.localhost', TYPE.A), cookie),
    noQuestion,
  ];
  const made: string[] = [];
  for (const query of queries) {
    const answer = await askOctets(resolver.endpoint, query);
    const [option, ...others] = optionsOf(answer).filter(({ code }) => code === COOKIE);
    expect([others.length, option?.data.subarray(0, 8)]).toEqual([0, Buffer.from(CLIENT_COOKIE)]);
    made.push(option!.data.toString('hex'));
  }
  expect(made[0]).toHaveLength(48);
  expect(new Set(made).size).toBe(1);
});

test('QDCOUNT 0 without a cookie is no query', () => {
  const query = withOptions(question('x', TYPE.A), []);
  const noQuestion = Uint8Array.from([...query.subarray(0, 12), ...query.subarray(12 + 3 + 4)]);
  noQuestion[5] = 0;
  expect(parseQuery(noQuestion, new QueryView())).toBe(QueryVerdict.formErr);
});

test('the idle time is told over TCP to who asks, never over UDP (RFC 7828)', async () => {
  const query = withOptions(question('k.example', TYPE.A), [[KEEPALIVE, []]]);
  expect(optionsOf(await askOctets(resolver.endpoint, query))).toEqual([]);
  const [answer] = await exchangeTcp(resolver.endpoint, frame(query));
  expect(optionsOf(answer!)).toMatchObject([{ code: KEEPALIVE, data: Buffer.from([0, 200]) }]);
  const plain = frame(question('k.example', TYPE.A));
  expect(optionsOf((await exchangeTcp(resolver.endpoint, plain))[0]!)).toEqual([]);
});

test('our name is told to who asks by NSID, on a miss and a hit, and to nobody else (RFC 5001)', async () => {
  const query = withOptions(question('n.example', TYPE.A), [[NSID, []]]);
  for (const _ of ['miss', 'hit']) {
    const answer = await askOctets(resolver.endpoint, query);
    expect(oracle(answer).answers).toHaveLength(1);
    expect(optionsOf(answer)).toMatchObject([{ code: NSID, data: Buffer.from('mx1') }]);
  }
  expect(optionsOf(await askOctets(resolver.endpoint, question('n.example', TYPE.A)))).toEqual([]);
});

test('without a name NSID is not answered', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers(300)));
  const nameless = cleanup.stop(await startTestResolver([upstream.endpoint]));
  const query = withOptions(question('n.example', TYPE.A), [[NSID, []]]);
  expect(optionsOf(await askOctets(nameless.endpoint, query))).toEqual([]);
});

test('padding in the clear is none', async () => {
  const query = withOptions(question('p.example', TYPE.A), [[PADDING, [0, 0]]]);
  const [answer] = await exchangeTcp(resolver.endpoint, frame(query));
  expect(optionsOf(answer!)).toEqual([]);
});

test('who we are is told as configured, and refused where it is not', async () => {
  const chaos = (name: string) =>
    askOctets(resolver.endpoint, question(name, TYPE.TXT, { class: CLASS.CH })).then(oracle);
  for (const name of ['id.server', 'Hostname.BIND']) {
    const { answers: records, rcode } = await chaos(name);
    expect([rcode, records.map(({ data }) => String(data))]).toEqual(['NOERROR', ['mx1']]);
  }
  for (const name of ['version.bind', 'version.server', 'other.bind']) {
    expect((await chaos(name)).rcode).toBe('REFUSED');
  }
});
