/** DNS over TLS and over HTTPS: real handshakes, clients of Node and of undici, and those that misbehave. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { Agent, fetch } from 'undici';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';
import { RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { FrameReader, frame } from '../../../resolver/wire/frame.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { answers, FakeUpstream, refuses, silent } from '../../support/fake-upstream.ts';
import { oracle } from '../../support/oracle.ts';
import {
  askUdp,
  brief,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';
import { scratchFolder } from '../../support/scratch.ts';

const identity = selfSigned(['dns.example.net']);
const MEDIA_TYPE = 'application/dns-message';
let cleanup: Cleanup;
let upstream: FakeUpstream;
let resolver: TestResolver;

beforeEach(async () => {
  cleanup = new Cleanup();
  upstream = cleanup.stop(await FakeUpstream.start(answers(300)));
  const folder = await scratchFolder('tls');
  cleanup.add(() => folder.remove());
  writeFileSync(join(folder.path, 'cert.pem'), identity.cert);
  writeFileSync(join(folder.path, 'key.pem'), identity.key);
  resolver = cleanup.stop(
    await startTestResolver([upstream.endpoint], {
      listen_tls: ['127.0.0.1:0'],
      listen_https: ['127.0.0.1:0'],
      tls_certificate: join(folder.path, 'cert.pem'),
      tls_key: join(folder.path, 'key.pem'),
    }),
  );
});
afterEach(() => cleanup.run());

const portOf = (transport: 'tls' | 'https'): number =>
  resolver.encrypted.find((it) => it.transport === transport)!.endpoint.port;
const trust = { ca: identity.cert, servername: 'dns.example.net', host: '127.0.0.1' };

describe('TLS', () => {
  async function exchangeTls(octets: Uint8Array, count: number): Promise<Uint8Array[]> {
    const socket = connectTls({ ...trust, port: portOf('tls'), ALPNProtocols: ['dot'] });
    const reader = new FrameReader();
    const messages: Uint8Array[] = [];
    await once(socket, 'secureConnect');
    expect(socket.alpnProtocol).toBe('dot');
    socket.write(octets);
    while (messages.length < count) {
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      reader.feed(chunk);
      for (let it = reader.next(); it !== null; it = reader.next()) messages.push(it.slice());
    }
    socket.destroy();
    return messages;
  }

  test('queries are pipelined, answered, and counted', async () => {
    const queries = [1, 2, 3].map((id) => frame(question(`n${id}.example`, TYPE.A, { id })));
    const messages = await exchangeTls(Buffer.concat(queries), 3);
    expect(messages.map((it) => brief(oracle(it)))).toEqual([
      'NOERROR 1',
      'NOERROR 1',
      'NOERROR 1',
    ]);
    const series = 'postilion_dns_queries_total{type="A",transport="tls"}';
    expect(await metric(resolver, series)).toBe(3);
  });

  test('who speaks no TLS, or nothing, is hung up on when its time is up', async () => {
    const talker = connect(portOf('tls'), '127.0.0.1');
    talker.end(frame(question('plain.example', TYPE.A)));
    talker.resume();
    await once(talker, 'close');
    const socket = connectTls({ ...trust, port: portOf('tls') });
    await once(socket, 'secureConnect');
    socket.resume();
    const closed = once(socket, 'close');
    await askUdp(resolver.endpoint, question('sync.example', TYPE.A));
    while (!socket.destroyed && (await isOpen(socket))) resolver.clock.advance(5_000);
    await closed;
  });
});

const isOpen = (socket: { readonly closed: boolean }): Promise<boolean> =>
  new Promise((resolve) => setImmediate(() => resolve(!socket.closed)));

describe('HTTPS', () => {
  let agent: Agent;
  beforeEach(() => {
    agent = new Agent({
      allowH2: true,
      connect: { ca: identity.cert, servername: 'dns.example.net' },
    });
    cleanup.add(() => agent.close());
  });
  const url = (rest = ''): string => `https://127.0.0.1:${portOf('https')}/dns-query${rest}`;
  const post = (body: Uint8Array, type = MEDIA_TYPE) =>
    fetch(url(), { method: 'POST', body, headers: { 'content-type': type }, dispatcher: agent });
  const get = (rest: string) => fetch(url(rest), { dispatcher: agent });
  const base64 = (query: Uint8Array): string => Buffer.from(query).toString('base64url');

  test('POST and GET get the same answer, whose age is the shortest TTL', async () => {
    upstream.behaviour = answers(300);
    const query = question('h.example', TYPE.A, { id: 0 });
    const posted = await post(query);
    resolver.clock.advance(100_000);
    const got = await get(`?dns=${base64(query)}`);
    for (const [response, seconds] of [
      [posted, 300],
      [got, 200],
    ] as const) {
      expect(response.status).toBe(200);
      expect(response.headers.get('content-type')).toBe(MEDIA_TYPE);
      expect(response.headers.get('cache-control')).toBe(`max-age=${seconds}`);
      expect(brief(oracle(Buffer.from(await response.arrayBuffer())))).toBe('NOERROR 1');
    }
    expect(upstream.asked.length).toBe(1);
  });

  test('a failure is no news to keep', async () => {
    upstream.behaviour = refuses(RCODE.SERVFAIL);
    const response = await post(question('broken.example', TYPE.A));
    expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'max-age=0']);
    expect(oracle(Buffer.from(await response.arrayBuffer())).rcode).toBe('SERVFAIL');
  });

  test.each([
    ['no query', () => get(''), 400],
    ['padding', () => get('?dns=AAAA===='), 400],
    ['not base64url', () => get('?dns=%2B%2F'), 400],
    ['less than a header', () => get('?dns=AAAA'), 400],
    [
      'a response',
      () => post(Uint8Array.from(question('a.example', TYPE.A)).fill(0x80, 2, 3)),
      400,
    ],
    ['nothing', () => post(new Uint8Array(0)), 400],
    ['another media type', () => post(question('a.example', TYPE.A), 'application/json'), 415],
    ['too much', () => post(new Uint8Array(65_536)), 413],
    ['another method', () => fetch(url(), { method: 'PUT', body: 'x', dispatcher: agent }), 405],
    ['another path', () => fetch(url().replace('dns-query', 'x'), { dispatcher: agent }), 404],
  ])('%s is refused', async (_what, ask, status) => {
    const response = await ask();
    await response.arrayBuffer();
    expect(response.status).toBe(status);
  });

  test('a request that was given up, and a session that is idle, leave nothing behind', async () => {
    upstream.behaviour = silent;
    const session: ClientHttp2Session = connectHttp2(`https://127.0.0.1:${portOf('https')}`, trust);
    const stream = session.request({
      ':path': '/dns-query',
      ':method': 'POST',
      'content-type': MEDIA_TYPE,
    });
    stream.on('error', () => undefined);
    stream.end(question('slow.example', TYPE.A));
    const asked = await upstream.arrival(1);
    stream.destroy();
    answers()(asked);
    const closed = once(session, 'close');
    await askUdp(resolver.endpoint, question('slow.example', TYPE.A));
    while (!session.closed && (await isOpen(session))) resolver.clock.advance(5_000);
    await closed;
  });
});

test('who pads gets blocks of 468 octets, so that lengths tell nothing (RFC 8467)', async () => {
  const agent = new Agent({
    allowH2: true,
    connect: { ca: identity.cert, servername: 'dns.example.net' },
  });
  cleanup.add(() => agent.close());
  const lengths: number[] = [];
  for (const name of ['a.example', 'a-much-longer-name.of.several.labels.example']) {
    const query = question(name, TYPE.A);
    const padded = Uint8Array.from([...query, 0, 12, 0, 0]);
    padded[query.length - 1] = 4;
    const response = await fetch(`https://127.0.0.1:${portOf('https')}/dns-query`, {
      method: 'POST',
      body: padded,
      headers: { 'content-type': MEDIA_TYPE },
      dispatcher: agent,
    });
    const answer = Buffer.from(await response.arrayBuffer());
    expect(brief(oracle(answer))).toBe('NOERROR 1');
    lengths.push(answer.length);
  }
  expect(lengths).toEqual([468, 468]);
});
