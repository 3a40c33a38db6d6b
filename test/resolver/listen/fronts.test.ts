import { execFileSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { AnswerTable } from '../../../resolver/cache/answer-table.ts';
import { queryKey } from '../../../resolver/cache/key.ts';
import { Counters } from '../../../resolver/counters.ts';
import { ListenFailed } from '../../../resolver/errors.ts';
import { FrontsListener } from '../../../resolver/listen/fronts.ts';
import { MISSED, type Service } from '../../../resolver/service.ts';
import { FLAG, TYPE } from '../../../resolver/wire/constants.ts';
import { parseQuery, QueryView } from '../../../resolver/wire/message.ts';
import { writeResponse } from '../../../resolver/wire/write.ts';
import { systemClock } from '../../../runtime/clock.ts';
import type { Log } from '../../../runtime/log.ts';
import type { Endpoint } from '../../../runtime/settings.ts';
import { clockHandle } from '../../../runtime/thread-clock.ts';
import { TimerWheel } from '../../../runtime/timer-wheel.ts';
import { entryOf } from '../../support/cache.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { requirePeer } from '../../support/peers.ts';
import { askOctets, question, UdpClient } from '../../support/resolver.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const clock = systemClock();
const HOT = question('hot.example', TYPE.A);
const MISS = question('miss.example', TYPE.A);
/** Last octets of the address in an answer: who gave it. */
const FROM_TABLE = 1;
const FROM_CORE = 2;

function answerWith(query: Uint8Array, lastOctet: number, edns: boolean): Uint8Array {
  const view = new QueryView();
  parseQuery(query, view);
  const name = query.subarray(12, view.nameEnd);
  const rdata = Uint8Array.of(192, 0, 2, lastOctet);
  return writeResponse({
    id: view.id,
    flags: FLAG.RD | FLAG.RA,
    question: { name, type: view.qtype },
    answers: [{ name, type: TYPE.A, ttlSeconds: 3_600, rdata }],
    edns,
  });
}

const whoAnswered = (answer: Uint8Array): number => answer.at(-12)!;

interface World {
  readonly listener: FrontsListener;
  readonly counters: Counters;
  /** Queries that reached the core. */
  readonly asked: { readonly query: Uint8Array; readonly address: string }[];
  readonly said: string[];
}

interface WorldOptions {
  readonly endpoint?: Endpoint;
  readonly fronts?: number;
  readonly allow?: readonly string[];
  /** Whether the core needs time for its answers. */
  readonly slow?: boolean;
}

/** Fronts, one hot answer, and a core that answers all else. */
async function startFronts(options: WorldOptions = {}): Promise<World> {
  const wheel = new TimerWheel(clock);
  const counters = new Counters();
  const table = new AnswerTable(1_048_576, 7);
  const view = new QueryView();
  parseQuery(HOT, view);
  table.publish(
    queryKey(HOT, view),
    entryOf(answerWith(HOT, FROM_TABLE, false), clock.monotonicMs()),
  );
  const asked: World['asked'] = [];
  const service: Pick<Service, 'answer' | 'resolve'> = {
    answer(query, _transport, address, out) {
      asked.push({ query: query.slice(), address });
      if (options.slow === true) return MISSED;
      const answer = answerWith(query, FROM_CORE, true);
      out.set(answer);
      return answer.length;
    },
    resolve(query, client) {
      const answer = answerWith(query.slice(), FROM_CORE, true);
      setImmediate(() => client.send(answer));
    },
  };
  const said: string[] = [];
  const note = (_fields: object, message: string): void => void said.push(message);
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const listener = await FrontsListener.open(
    options.endpoint ?? { address: '127.0.0.1', port: 0 },
    {
      fronts: options.fronts ?? 1,
      ipv6Only: false,
      table: table.memory,
      clock: clockHandle(clock),
      allow: options.allow ?? ['127.0.0.0/8', '::1'],
      service,
      counters,
      wheel,
      log,
    },
  );
  cleanup.add(async () => {
    await listener.close();
    wheel.stop();
  });
  return { listener, counters, asked, said };
}

describe('hits and misses', () => {
  test('a hit comes from the table, a miss from the core; both are counted once', async () => {
    const { listener, counters, asked } = await startFronts();
    const { endpoint } = listener;
    expect(whoAnswered(await askOctets(endpoint, HOT))).toBe(FROM_TABLE);
    expect(whoAnswered(await askOctets(endpoint, MISS))).toBe(FROM_CORE);
    expect(asked.map(({ address }) => address)).toEqual(['127.0.0.1']);
    expect(asked[0]!.query).toEqual(MISS);
    counters.gather();
    counters.gather();
    expect([counters.answers.hot, counters.rcodes[0], counters.queries[0]![1]]).toEqual([1, 1, 1]);
  });

  test('answers that take time reach who asked', async () => {
    const { listener } = await startFronts({ slow: true });
    const clients = Array.from({ length: 20 }, () => new UdpClient(listener.endpoint));
    for (const [index, client] of clients.entries()) {
      for (let id = 0; id < 10; id += 1) {
        client.send(question('miss.example', TYPE.A, { id: 100 * index + id }));
      }
    }
    for (const [index, client] of clients.entries()) {
      await client.answer(10);
      const ids = client.received.map((answer) => answer.readUInt16BE(0)).sort((a, b) => a - b);
      expect(ids).toEqual(Array.from({ length: 10 }, (_, id) => 100 * index + id));
      client.close();
    }
  });

  test('clients that may not ask get nothing from the table', async () => {
    const { listener } = await startFronts({ allow: ['192.0.2.0/24', '::1'] });
    expect(whoAnswered(await askOctets(listener.endpoint, HOT))).toBe(FROM_CORE);
  });

  test('what is too long for a question is dropped and counted', async () => {
    const { listener, counters, asked } = await startFronts();
    const client = new UdpClient(listener.endpoint);
    client.send(Buffer.concat([MISS, Buffer.alloc(4_000)]));
    client.send(Buffer.concat([MISS, Buffer.alloc(2_048 - MISS.length)]));
    await client.answer(1);
    client.close();
    counters.gather();
    expect([asked.map(({ query }) => query.length), counters.drops.long]).toEqual([[2_048], 1]);
  });
});

describe('addresses', () => {
  /** Takes answers only from where it asked. */
  async function askConnected(server: Endpoint, query: Uint8Array): Promise<Buffer> {
    const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4');
    socket.connect(server.port, server.address);
    await once(socket, 'connect');
    socket.send(query);
    const [answer] = (await once(socket, 'message')) as [Buffer];
    socket.close();
    return answer;
  }

  test.each([
    ['0.0.0.0', '127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '127.9.8.7', '127.0.0.1'],
    ['::1', '::1', '0:0:0:0:0:0:0:1'],
    ['::', '::1', '0:0:0:0:0:0:0:1'],
    ['::', '127.9.8.7', '0:0:0:0:0:ffff:7f00:1'],
  ])('bound to %s, asked at %s, answers from there', async (bound, server, client) => {
    const world = await startFronts({ endpoint: { address: bound, port: 0 } });
    const { port } = world.listener.endpoint;
    const endpoint = { address: server, port };
    expect(whoAnswered(await askConnected(endpoint, HOT))).toBe(FROM_TABLE);
    expect(whoAnswered(await askConnected(endpoint, MISS))).toBe(FROM_CORE);
    expect(world.asked.map(({ address }) => address)).toEqual([client]);
  });

  test('an address in use is refused and free again after closing', async () => {
    const { listener } = await startFronts();
    const { endpoint } = listener;
    const second = startFronts({ endpoint });
    await expect(second).rejects.toBeInstanceOf(ListenFailed);
    await expect(second).rejects.toMatchObject({ systemCode: 'EADDRINUSE' });
    await listener.close();
    await startFronts({ endpoint });
    expect(whoAnswered(await askOctets(endpoint, HOT))).toBe(FROM_TABLE);
  });

  test('several fronts share one', async () => {
    const { listener, counters } = await startFronts({ fronts: 3 });
    expect(listener.workers).toHaveLength(3);
    for (let client = 0; client < 30; client += 1) {
      expect(whoAnswered(await askOctets(listener.endpoint, HOT))).toBe(FROM_TABLE);
    }
    counters.gather();
    expect(counters.answers.hot).toBe(30);
  });
});

describe('trouble', () => {
  test.each([
    ['terminated', (world: World) => void world.listener.workers[0]!.terminate()],
    [
      'failed',
      (world: World) => {
        world.listener.fronts[0]!.memory.order = 99;
      },
    ],
  ])('a front that was %s is replaced, and what came meanwhile is answered', async (_how, end) => {
    const world = await startFronts();
    const { listener, counters, said } = world;
    const [first] = listener.workers;
    await askOctets(listener.endpoint, HOT);
    const ended = new Promise<void>((resolve) => first!.once('exit', () => resolve()));
    end(world);
    await ended;
    const client = new UdpClient(listener.endpoint);
    for (let id = 1; id <= 100; id += 1) client.send(question('hot.example', TYPE.A, { id }));
    await client.answer(100);
    client.close();
    expect(listener.workers).toHaveLength(1);
    expect(listener.workers[0]).not.toBe(first);
    expect(said).toEqual(['a front died; replacing it']);
    counters.gather();
    expect(counters.answers.hot).toBe(101);
  });
});

requirePeer('dig')('a core that is stuck', () => {
  test('delays no hit', async () => {
    const { listener } = await startFronts();
    const { address, port } = listener.endpoint;
    // The core's thread stands still until dig is done.
    const args = [`@${address}`, '-p', String(port), '+nocookie', '+short', '+time=5', '+tries=1'];
    const answer = execFileSync('dig', [...args, 'hot.example', 'A'], { encoding: 'utf8' });
    expect(answer).toBe('192.0.2.1\n');
  });
});
