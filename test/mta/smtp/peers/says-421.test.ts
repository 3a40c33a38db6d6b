import { expect, test } from 'vitest';
import { deliver, letter, startPeer } from '../support.ts';

test('unsolicited while idle: seen before reuse', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING');
    session.say('421 4.4.2 idle too long\n');
    session.close();
  });
  const told = await deliver(port, { letters: [], stay: true });
  expect(told.cause).toEqual({
    kind: 'goodbye',
    phase: null,
    reply: { code: 421, enhanced: '4.4.2', lines: ['idle too long'] },
  });
});

test('after enough messages: the next comes back untouched', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING');
    await session.linesTo(/^RCPT/);
    session.say('250 ok\n250 ok\n');
    await session.linesTo(/^RCPT TO:<b@/);
    session.say('250 taken\n421 4.7.0 enough for now\n');
    session.close();
  });
  const told = await deliver(port, { letters: [letter('a'), letter('b')] });
  expect(told).toMatchObject({
    outcomes: [['a', 'endOfData 250 taken']],
    untouched: ['b'],
    cause: { kind: 'goodbye', phase: 'mail' },
  });
});

test('in the middle of the recipients: the rest share it', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING');
    await session.linesTo(/^DATA$/);
    session.say('250 ok\n550 5.1.1 no\n421 4.3.2 down\n');
    session.close();
  });
  const recipients = ['x@example.org', 'y@example.org', 'z@example.org'];
  const told = await deliver(port, { letters: [letter('a', { recipients })] });
  expect(told.outcomes).toEqual([
    ['a', 'rcpt 550 5.1.1 no', 'rcpt 421 4.3.2 down', 'rcpt 421 4.3.2 down'],
  ]);
});

test('as greeting: the session is refused, with the reply', async () => {
  const port = await startPeer(async (session) => {
    session.say('421 4.7.0 try later\n');
    session.close();
  });
  const told = await deliver(port, { letters: [letter('a')] });
  expect(told).toMatchObject({
    outcomes: [],
    cause: { kind: 'refused', phase: 'greeting', reply: { code: 421, enhanced: '4.7.0' } },
  });
});
