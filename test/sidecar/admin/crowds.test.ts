/** Clients that come in crowds, dawdle, or never read, over real sockets. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { listenAt } from '../../../sidecar/admin/server.ts';
import { CLIENTS_MAX } from '../../../sidecar/dashboard/live.ts';
import { waitFor } from '../../support/process.ts';
import { CONTEXT, fakeMta } from '../support/programs.ts';

const CAP = 1_024;
const OVER = 300;
/** Fewer than the kernel keeps for a listener that has not accepted them yet. */
const WAVE = 100;

let admin: FastifyInstance;
let port: number;
let sockets: Socket[];

beforeEach(async () => {
  admin = createMtaAdmin(fakeMta(), { ...CONTEXT, clock: systemClock() });
  port = (await listenAt(admin, { address: '127.0.0.1', port: 0 })).port;
  sockets = [];
});
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  await admin.close();
});

function open(): Socket {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

const request = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

/** @returns the status code */
async function ask(socket: Socket, path: string): Promise<number> {
  socket.write(request(path));
  const [head] = (await once(socket, 'data')) as [Buffer];
  return Number(head.toString('latin1').split(' ')[1]);
}

test('connections beyond the cap are dropped; those within it work, and leave room when they go', async () => {
  const first = open();
  await once(first, 'connect');
  let closed = 0;
  for (let left = CAP + OVER - 1; left > 0; left -= WAVE) {
    const wave = Array.from({ length: Math.min(WAVE, left) }, () => {
      const socket = open().on('close', () => {
        closed += 1;
      });
      return once(socket, 'connect');
    });
    await Promise.all(wave);
  }
  await waitFor(
    () => closed >= OVER,
    () => `${OVER} to be dropped, not ${closed}`,
  );
  expect(closed).toBe(OVER);
  expect(await ask(first, '/healthz')).toBe(200);
  for (const socket of sockets.splice(1)) socket.destroy();
  await waitFor(async () => {
    const late = open();
    return (await Promise.race([ask(late, '/healthz'), once(late, 'close').then(() => 0)])) === 200;
  }, 'room for one more');
});

test('who dawdles over a request is bounded', () => {
  const { requestTimeout, headersTimeout, keepAliveTimeout } = admin.server;
  expect({ requestTimeout, keepAliveTimeout }).toEqual({
    requestTimeout: 30_000,
    keepAliveTimeout: 30_000,
  });
  expect(headersTimeout).toBeLessThanOrEqual(60_000);
});

test.each([
  ['a head without end', `GET / HTTP/1.1\r\nHost: x\r\nX: ${'x'.repeat(20_000)}`, 431],
  ['what is no HTTP', '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n', 400],
  [
    'a body of unknown length twice',
    'POST /v1/drain HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
    400,
  ],
  ['a line break in a header', 'GET / HTTP/1.1\r\nHost: x\r\nX: a\nb: c\0\r\n\r\n', 400],
])('%s is refused', async (_what, octets, status) => {
  const socket = open();
  socket.write(octets);
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(Number(answer.toString('latin1').split(' ')[1])).toBe(status);
});

describe('those who watch', () => {
  const watch = async (): Promise<Socket> => {
    const socket = open();
    socket.write(request('/v1/dashboard/live'));
    await once(socket, 'data');
    return socket;
  };

  test('so many and no more, and one who leaves makes room', async () => {
    const watchers = await Promise.all(Array.from({ length: CLIENTS_MAX }, watch));
    const late = open();
    expect(await ask(late, '/v1/dashboard/live')).toBe(503);
    watchers[0]!.destroy();
    await waitFor(async () => (await ask(open(), '/v1/dashboard/live')) === 200, 'room');
  });

  test('a stop does not wait for them', async () => {
    const watcher = await watch();
    const ended = once(watcher, 'close');
    await admin.close();
    await ended;
  });
});
