/** The socketmap protocol over a real connection. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { SocketmapDoor } from '../../../mta/plan/socketmap.ts';
import { silentLog } from '../../../runtime/log.ts';
import { type Endpoint, parseNetwork } from '../../../runtime/settings.ts';
import { ManualClock } from '../../support/clock.ts';

let door: SocketmapDoor;
let at: Endpoint;
let clock: ManualClock;
const sockets: Socket[] = [];

async function open(allow: string): Promise<void> {
  clock = new ManualClock();
  door = new SocketmapDoor({
    maps: { route: async (key) => (key === 'a.example' ? ':[mx.example]' : null) },
    allow: [parseNetwork(allow)!],
    clock,
    log: silentLog,
  });
  at = await door.listen({ address: '127.0.0.1', port: 0 });
}
beforeEach(() => open('127.0.0.0/8'));
afterEach(() => {
  door.stop();
  for (const socket of sockets.splice(0)) socket.destroy();
});

function dial(): Socket {
  const socket = connect(at.port, at.address);
  socket.on('error', () => undefined);
  sockets.push(socket);
  return socket;
}

/** Reads until it has as much as is expected, or the other side closed. */
async function talk(text: string, octets: number): Promise<string> {
  const socket = dial();
  socket.write(text);
  let heard = '';
  for await (const chunk of socket) {
    heard += String(chunk);
    if (heard.length >= octets) break;
  }
  return heard;
}

test.each([
  ['15:route a.example,', '16:OK :[mx.example],'],
  ['15:route b.example,', '9:NOTFOUND ,'],
  [
    '15:route a.example,6:route ,15:route a.example,',
    '16:OK :[mx.example],9:NOTFOUND ,16:OK :[mx.example],',
  ],
  ['5:route,', '39:PERM no such map here; there is "route",'],
  ['8:virtual ,', '39:PERM no such map here; there is "route",'],
  ['12:constructor ,', '39:PERM no such map here; there is "route",'],
])('%j is answered %j', async (request, reply) => {
  expect(await talk(request, reply.length)).toBe(reply);
});

test.each(['GET / HTTP/1.1\r\n\r\n', '2000:', '3:abcd'])('%j is hung up on', async (text) => {
  expect(await talk(text, 1)).toBe('');
});

test('strangers are hung up on', async () => {
  door.stop();
  await open('192.0.2.0/24');
  expect(await talk('15:route a.example,', 1)).toBe('');
});

test('the silent are hung up on after a minute', async () => {
  const socket = dial();
  socket.write('15:route a.example,');
  await once(socket, 'data');
  socket.write('15:rou');
  // The second piece has been read once a timer stands anew; a whole request proves it.
  socket.write('te a.example,');
  await once(socket, 'data');
  while (clock.timers === 0) await new Promise((resolve) => setImmediate(resolve));
  const closed = once(socket, 'close');
  clock.advance(60_000);
  await closed;
});

test('stop() closes what is open and takes nothing more', async () => {
  const socket = dial();
  socket.write('15:route a.example,');
  await once(socket, 'data');
  const closed = once(socket, 'close');
  door.stop();
  await closed;
  await expect(talk('15:route a.example,', 1)).rejects.toThrow('ECONNREFUSED');
});
