import { expect, test } from 'vitest';
import { deliver, letter, startPeer } from '../support.ts';

test('DATA: that one may be delivered', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING');
    await session.linesTo(/^DATA$/);
    session.say('250 ok\n250 ok\n354 go\n');
    await session.linesTo(/^\.$/);
    session.reset();
  });
  const told = await deliver(port, { letters: [letter('a')] });
  expect(told.outcomes).toEqual([['a', 'lost maybe']]);
});

test('BDAT with the next transaction behind it: the next comes back untouched', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING');
    await session.linesTo(/^RCPT/);
    session.say('250 ok\n250 ok\n');
    await session.linesTo(/^RCPT TO:<b@/);
    session.close();
  });
  const told = await deliver(port, { letters: [letter('a'), letter('b')] });
  expect(told.outcomes).toEqual([['a', 'lost maybe']]);
  expect(told.untouched).toEqual(['b']);
});

test('in the middle of content larger than the socket takes: cannot be delivered', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING');
    await session.linesTo(/^RCPT/);
    session.say('250 ok\n250 ok\n');
    await session.octets(100_000);
    session.reset();
  });
  const content = Buffer.alloc(64 * 1024 * 1024, 'x\r\n');
  const told = await deliver(port, { letters: [letter('a', { content })] });
  expect(told.outcomes).toEqual([['a', 'lost']]);
});
