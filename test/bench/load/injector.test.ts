import { createServer, type Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { inject, type Letter } from '../../../bench/load/injector.ts';
import { startSink } from '../../../bench/load/sink.ts';
import { waitFor } from '../../support/process.ts';
import { freePort } from '../../support/scratch.ts';

function* letters(count: number, local = 'u'): Generator<Letter> {
  for (let number = 0; number < count; number += 1) {
    yield {
      id: String(number),
      reversePath: 'a@client.example',
      recipients: [`${local}${number}@remote.example`],
      content: [Buffer.from('Subject: x\r\n\r\n'), Buffer.from('hello\r\n')],
    };
  }
}

test('every letter is sent once and acknowledged once', async () => {
  const seen: string[] = [];
  const sink = await startSink({
    onMessage: ({ recipients, octets }) => {
      seen.push(`${recipients} ${octets}`);
      return null;
    },
  });
  onTestFinished(() => sink.close());
  const acknowledged: string[] = [];
  const result = await inject({
    ...sink.endpoints[0]!,
    sessions: 3,
    letters: letters(50),
    onAcknowledged: ({ id }) => void acknowledged.push(id),
  });
  expect(result).toMatchObject({ acknowledged: 50, deferrals: 0, connections: 3 });
  expect([result.failed.size, result.resent.size]).toEqual([0, 0]);
  expect(new Set(acknowledged).size).toBe(50);
  expect(seen.sort()).toEqual([...letters(50)].map(({ recipients }) => `${recipients} 21`).sort());
});

test('refusals for now are repeated, refusals for good are not', async () => {
  const attempts = new Map<string, number>();
  const sink = await startSink({
    onRecipient: (recipient) => {
      const attempt = (attempts.get(recipient) ?? 0) + 1;
      attempts.set(recipient, attempt);
      if (recipient.startsWith('u3@')) return '550 5.1.1 no such user';
      return attempt < 3 ? '450 4.7.1 later' : null;
    },
  });
  onTestFinished(() => sink.close());
  const result = await inject({
    ...sink.endpoints[0]!,
    sessions: 1,
    letters: letters(5),
    retryMs: 1,
  });
  expect(result).toMatchObject({ acknowledged: 4, deferrals: 8 });
  expect([...result.failed]).toEqual([['3', '550 5.1.1 no such user']]);
});

test('a session that dies before the final reply is repeated on a new one, and told', async () => {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    const doomed = ++connections === 1;
    socket.write('220 x\r\n');
    socket.on('data', (chunk) => {
      const text = chunk.toString();
      if (text.startsWith('EHLO')) socket.write('250 x\r\n');
      else if (text.startsWith('MAIL')) socket.write('250 x\r\n250 x\r\n354 x\r\n');
      else if (text.endsWith('\r\n.\r\n')) {
        if (doomed) socket.destroy();
        else socket.write('250 taken\r\n');
      }
    });
    socket.on('error', () => undefined);
  });
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const result = await inject({
    address: '127.0.0.1',
    port,
    sessions: 1,
    letters: letters(2),
    retryMs: 1,
  });
  expect(result).toMatchObject({ acknowledged: 2, connections: 2 });
  expect([...result.resent]).toEqual(['0']);
});

test('a server that is not there fails the letters in the end', async () => {
  const result = await inject({
    address: '127.0.0.1',
    port: await freePort(),
    sessions: 2,
    letters: letters(2),
    retryMs: 1,
    attemptsMax: 3,
  });
  expect(result.acknowledged).toBe(0);
  expect([...result.failed.values()].every((reason) => reason.includes('ECONNREFUSED'))).toBe(true);
});

test('an abort ends it, also while a reply is awaited', async () => {
  const abort = new AbortController();
  const sink = await startSink({
    delayMs: 60_000,
  });
  onTestFinished(() => sink.close());
  const run = inject({
    ...sink.endpoints[0]!,
    sessions: 2,
    letters: letters(10),
    signal: abort.signal,
  });
  await waitFor(() => sink.connections() === 2, 'both sessions to wait for EHLO’s reply');
  abort.abort();
  expect((await run).acknowledged).toBe(0);
});
