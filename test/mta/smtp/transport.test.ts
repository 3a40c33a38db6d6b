/** What the socket is handed at once. */
import { expect, onTestFinished, test } from 'vitest';
import { createClientContext, TicketCache } from '../../../mta/smtp/tickets.ts';
import { Transport } from '../../../mta/smtp/transport.ts';
import { WINDOW_MAX } from '../../../mta/smtp/window.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { startPeer } from './support.ts';

const ignore = (): void => undefined;

test('a window of usual messages leaves in one write, a larger one waits for the socket', async () => {
  const port = await startPeer(async (peer) => {
    await peer.secure();
    peer.pause();
  });
  const transport = await new Promise<Transport>((resolve) => {
    const made = new Transport('127.0.0.1', port, {
      onConnected: () =>
        made.secure({
          context: createClientContext(''),
          tickets: new TicketCache(systemClock()),
          ticketKey: 'peer',
          host: 'sink.example',
          mustVerify: false,
          dane: null,
        }),
      onSecured: () => resolve(made),
      onData: ignore,
      onDrain: ignore,
      onClosed: ignore,
    });
  });
  onTestFinished(() => transport.destroy());
  const content = Buffer.alloc(10_240, 'x');
  for (let messages = 1; messages <= WINDOW_MAX; messages += 1) {
    transport.command(`BDAT ${content.length} LAST\r\n`);
    transport.content(content, false);
  }
  transport.flush();
  expect([transport.contentsUnsent, transport.backlogged]).toEqual([0, false]);
  for (let messages = 1; messages <= 40; messages += 1) transport.content(content, false);
  transport.flush();
  expect(transport.backlogged).toBe(true);
  expect(transport.contentsUnsent).toBeGreaterThan(20);
});
