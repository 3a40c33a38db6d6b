import { once } from 'node:events';
import { connect } from 'node:net';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { TYPE } from '../../../resolver/wire/constants.ts';
import { frame } from '../../../resolver/wire/frame.ts';
import { idOf } from '../../../resolver/wire/message.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  type Asked,
  answers,
  FakeUpstream,
  record,
  response,
} from '../../support/fake-upstream.ts';
import { oracle } from '../../support/oracle.ts';
import {
  askUdp,
  brief,
  exchangeTcp,
  metric,
  question,
  startTestResolver,
  type TestResolver,
} from '../../support/resolver.ts';

let cleanup: Cleanup;
let upstream: FakeUpstream;
let resolver: TestResolver;

beforeEach(async () => {
  cleanup = new Cleanup();
  upstream = cleanup.stop(await FakeUpstream.start(answers()));
});
afterEach(() => cleanup.run());

const start = async (settings: object = {}): Promise<void> => {
  resolver = cleanup.stop(await startTestResolver([upstream.endpoint], settings));
};

const framed = (name: string, id: number) => frame(question(name, TYPE.A, { id }));

test('pipelined: answered as they are ready, hits before what must be fetched', async () => {
  await start();
  const held: Asked[] = [];
  await askUdp(resolver.endpoint, question('hit.example', TYPE.A));
  upstream.behaviour = (asked) => {
    held.push(asked);
    // Last asked, first answered.
    if (held.length === 3) for (const one of held.toReversed()) answers()(one);
  };
  const queries = ['a.example', 'b.example', 'c.example', 'hit.example'];
  const octets = Buffer.concat(queries.map((name, id) => framed(name, id)));
  const messages = await exchangeTcp(resolver.endpoint, octets);
  expect(messages.map(idOf)[0]).toBe(3);
  expect(messages.map(idOf).toSorted()).toEqual([0, 1, 2, 3]);
  expect(messages.map((message) => brief(oracle(message)))).toEqual(queries.map(() => 'NOERROR 1'));
});

test('octet by octet', async () => {
  await start();
  const socket = connect(resolver.endpoint.port, resolver.endpoint.address);
  socket.setNoDelay(true);
  for (const octet of framed('slow.example', 9)) {
    socket.write(Uint8Array.of(octet));
    await setImmediate();
  }
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  expect(idOf(chunk.subarray(2))).toBe(9);
  socket.destroy();
});

test('a client that shuts down its sending side still gets answers that take time', async () => {
  await start();
  const held: Asked[] = [];
  upstream.behaviour = (asked) => void held.push(asked);
  const exchange = exchangeTcp(resolver.endpoint, framed('late.example', 5));
  await upstream.arrival(1);
  await setImmediate();
  answers()(held[0]!);
  expect((await exchange).map(idOf)).toEqual([5]);
});

test('an answer larger than any datagram arrives whole', async () => {
  await start();
  upstream.behaviour = (asked) => {
    const many = Array.from({ length: 3_000 }, (_, n) => record(asked, 300, n & 0xff));
    const whole = response(asked, { answers: many });
    if (asked.transport === 'tcp') asked.send(whole);
    else {
      const cut = response(asked);
      cut[2]! |= 0x02;
      asked.send(cut);
    }
  };
  const [message] = await exchangeTcp(resolver.endpoint, framed('big.example', 1));
  expect(oracle(message!).answers.length).toBe(3_000);
});

test('a thousand queries at once on one connection, a quarter of them under way at a time', async () => {
  await start();
  const held: Asked[] = [];
  upstream.behaviour = (asked) => void held.push(asked);
  const octets = Buffer.concat(
    Array.from({ length: 1_000 }, (_, id) => framed(`n${id}.example`, id)),
  );
  const exchange = exchangeTcp(resolver.endpoint, octets);
  await upstream.arrival(256);
  for (let n = 0; n < 20; n += 1) await setImmediate();
  expect(await metric(resolver, 'postilion_dns_waiting')).toBe(256);
  upstream.behaviour = answers();
  for (const asked of held) answers()(asked);
  const messages = await exchange;
  expect(new Set(messages.map(idOf)).size).toBe(1_000);
});

test('idle connections are closed after 20 s, also when single octets drip in', async () => {
  await start();
  const socket = connect(resolver.endpoint.port, resolver.endpoint.address);
  await once(socket, 'connect');
  socket.write(framed('a.example', 1));
  await once(socket, 'data');
  const closed = once(socket, 'close');
  resolver.clock.advance(19_000);
  socket.write(Uint8Array.of(0));
  for (let n = 0; n < 20; n += 1) await setImmediate();
  expect(socket.destroyed).toBe(false);
  resolver.clock.advance(1_100);
  await closed;
});

test('who asks and does not read is closed', async () => {
  await start();
  upstream.behaviour = (asked) => {
    const many = Array.from({ length: 60 }, (_, n) => record(asked, 300, n));
    asked.send(response(asked, { answers: many }));
  };
  const socket = connect(resolver.endpoint.port, resolver.endpoint.address);
  socket.on('error', () => undefined);
  socket.pause();
  await once(socket, 'connect');
  const burst = Buffer.concat(Array.from({ length: 500 }, (_, id) => framed('big.example', id)));
  // The kernel takes some megabytes on both sides; then it is our bound that holds.
  let stuck = false;
  while (!stuck) {
    stuck = !socket.write(burst) && socket.writableLength > 4_000_000;
    await setImmediate();
  }
  while ((await metric(resolver, 'postilion_dns_drops_total{reason="slow"}')) === 0) {
    resolver.clock.advance(1_000);
    await setImmediate();
  }
  socket.destroy();
});

test('over `tcp_clients` a connection is turned away and counted', async () => {
  await start({ tcp_clients: 1 });
  const first = connect(resolver.endpoint.port, resolver.endpoint.address);
  await once(first, 'connect');
  const second = connect(resolver.endpoint.port, resolver.endpoint.address);
  second.on('error', () => undefined);
  second.resume();
  await once(second, 'close');
  expect(await metric(resolver, 'postilion_dns_drops_total{reason="clients"}')).toBe(1);
  first.destroy();
});
