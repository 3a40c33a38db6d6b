/** Replies that are no replies, or are cut in odd places, or are too many. */
import { expect, test } from 'vitest';
import { deliver, letter, newDeps, type PeerSession, startPeer } from '../support.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Says the text in as many segments as it has characters; a line end stays whole. */
async function trickle(session: PeerSession, text: string): Promise<void> {
  for (const character of text) {
    session.say(character);
    await turn();
  }
}

test('replies in many small segments', async () => {
  const port = await startPeer(async (session) => {
    await trickle(session, '220-peer\n220 hi\n');
    await session.linesTo(/^EHLO/);
    await trickle(session, '250-peer.example\n250-PIPELINING\n250 CHUNKING\n');
    await session.linesTo(/^RCPT/);
    await trickle(session, '250-ok\n250 ok\n250 ok\n');
    await session.linesTo(/^RCPT TO:<b@/);
    await trickle(session, '250 2.6.0 taken\n250 ok\n250 ok\n');
    await session.linesTo(/^BDAT/);
    await trickle(session, '250 2.6.0 taken\n');
    await session.linesTo(/^QUIT$/);
    await trickle(session, '221 bye\n');
  });
  const told = await deliver(port, { letters: [letter('a'), letter('b')] });
  expect(told).toMatchObject({
    outcomes: [
      ['a', 'endOfData 250 2.6.0 taken'],
      ['b', 'endOfData 250 2.6.0 taken'],
    ],
    cause: { kind: 'quit' },
  });
});

test.each([
  { title: 'another code in one reply', says: '250-one\n251 two\n' },
  { title: 'no code', says: 'ok\n' },
  { title: 'a line of 5,000 octets', says: `250 ${'x'.repeat(5000)}\n` },
  { title: 'a line without end', says: '2'.repeat(100_000) },
  { title: 'a reply of 1,000 lines', says: '250-x\n'.repeat(1000) },
])('$title to MAIL', async ({ says }) => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING');
    await session.linesTo(/^DATA$/);
    session.say(says);
  });
  const deps = newDeps();
  const told = await deliver(port, { letters: [letter('a')], deps });
  expect(told.outcomes).toEqual([['a', 'lost']]);
  expect(told.cause).toMatchObject({ kind: 'malformed', error: { code: 'MTA_MALFORMED_REPLY' } });
  expect(deps.hosts.mannersOf('sink.example').mode).toBe('pipelined');
});

test('an extra reply, at once: the host is talked to more slowly from then on', async () => {
  const port = await startPeer(async (session, connection) => {
    await session.open('PIPELINING', 'CHUNKING');
    if (connection === 1) {
      await session.linesTo(/^RCPT/);
      session.say('250 ok\n250 ok\n');
      await session.linesTo(/^RCPT TO:<b@/);
      session.say('250 taken\n250 taken\n250 ok\n250 ok\n');
      return;
    }
    await session.linesTo(/^DATA$/);
    session.say('250 ok\n250 ok\n354 go\n');
    await session.linesTo(/^\.$/);
    session.say('250 taken\n');
    await session.bye();
  });
  const deps = newDeps();
  const first = await deliver(port, { letters: [letter('a'), letter('b')], deps });
  expect(first.outcomes).toEqual([
    ['a', 'endOfData 250 taken'],
    ['b', 'lost'],
  ]);
  expect(first.cause).toMatchObject({ kind: 'protocol', phase: null });
  const second = await deliver(port, { letters: [letter('b')], deps });
  expect(second.outcomes).toEqual([['b', 'endOfData 250 taken']]);
  expect(second.cause).toEqual({ kind: 'quit' });
});

test('BDAT not understood though offered: goes back, and goes again with DATA', async () => {
  const port = await startPeer(async (session, connection) => {
    await session.open('PIPELINING', 'CHUNKING');
    if (connection === 1) {
      await session.linesTo(/^RCPT/);
      session.say('250 ok\n250 ok\n');
      await session.linesTo(/^BDAT/);
      session.say('502 5.5.1 not implemented\n');
      return;
    }
    expect(await session.linesTo(/^DATA$/)).toHaveLength(3);
    session.say('250 ok\n250 ok\n354 go\n');
    await session.linesTo(/^\.$/);
    session.say('250 taken\n');
    await session.bye();
  });
  const deps = newDeps();
  const first = await deliver(port, { letters: [letter('a')], deps });
  expect(first).toMatchObject({ outcomes: [], untouched: ['a'], cause: { kind: 'protocol' } });
  const second = await deliver(port, { letters: [letter('a')], deps });
  expect(second.outcomes).toEqual([['a', 'endOfData 250 taken']]);
});
