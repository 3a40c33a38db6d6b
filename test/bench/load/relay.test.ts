/** The relay: octets arrive unchanged and in order, and no sooner than a round trip allows. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { startJsonChild } from '../../../bench/load/json-child.ts';
import { Cleanup } from '../../support/cleanup.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

const DELAY_MS = 30;

test('an echo comes back whole, two delays later at the soonest', async () => {
  const echo = createServer((socket) => socket.pipe(socket)).listen(0, '127.0.0.1');
  await once(echo, 'listening');
  cleanup.add(async () => void echo.close());
  const relay = cleanup.stop(
    await startJsonChild<{ port: number }, { connections: number }>('load/relay.ts', {
      to: `127.0.0.1:${(echo.address() as { port: number }).port}`,
      'delay-ms': DELAY_MS,
    }),
  );
  const socket = connect(relay.ready.port, '127.0.0.1');
  await once(socket, 'connect');
  const sent = Buffer.from(Array.from({ length: 200_000 }, (_, index) => index & 0xff));
  const startedMs = performance.now();
  socket.end(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    if (chunks.length === 0) {
      expect(performance.now() - startedMs).toBeGreaterThanOrEqual(2 * DELAY_MS - 2);
    }
    chunks.push(chunk);
  }
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
  expect((await relay.ask()).connections).toBe(1);
});
