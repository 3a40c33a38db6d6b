import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { activatedSockets, describeSocket } from '../../runtime/activation.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

/** Descriptors of sockets, so that those opened since can be told. */
const sockets = (): number[] =>
  readdirSync('/proc/self/fd')
    .map(Number)
    .filter((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`).startsWith('socket:');
      } catch {
        return false;
      }
    });

test.skipIf(process.platform !== 'linux')('tells what a descriptor is bound to', async () => {
  const before = new Set(sockets());
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const udp = createSocket('udp6').bind(0, '::1');
  await once(udp, 'listening');
  closers.push(
    () => server.close(),
    () => udp.close(),
  );
  const found = sockets()
    .filter((fd) => !before.has(fd))
    .map(describeSocket)
    .filter((socket) => socket !== null);
  const { port } = server.address() as { port: number };
  expect(found).toContainEqual({ protocol: 'tcp', endpoint: { address: '127.0.0.1', port } });
  expect(found).toContainEqual({
    protocol: 'udp',
    endpoint: { address: '::1', port: udp.address().port },
  });
});

test('what is no socket is none', () => {
  const fd = openSync('/dev/null', 'r');
  closers.push(() => closeSync(fd));
  expect(describeSocket(fd)).toBe(null);
  expect(describeSocket(999_999)).toBe(null);
});

test.each([
  [{}, 'nothing was handed'],
  [{ LISTEN_PID: '1', LISTEN_FDS: '1' }, 'for another process'],
  [{ LISTEN_PID: String(process.pid), LISTEN_FDS: 'x' }, 'no number'],
  [{ LISTEN_PID: String(process.pid), LISTEN_FDS: '-3' }, 'below zero'],
])('%j: %s', (environment, _why) => expect(activatedSockets(environment)).toEqual([]));
