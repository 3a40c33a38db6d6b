import { expect, test } from 'vitest';
import { deliver, letter, type PeerSession, startPeer } from '../support.ts';

const EHLO = '250-peer.example\n250 8BITMIME\n';

/** The peer says `says[n]` to the n-th command, then closes instead of the next reply. */
async function sayThenClose(session: PeerSession, says: readonly string[], reset: boolean) {
  session.say('220 hi\n');
  for (const text of says) {
    if ((await session.line()).startsWith('Subject')) await session.linesTo(/^\.$/);
    session.say(text);
  }
  await session.line();
  if (reset) session.reset();
  else session.close();
}

const STEPS = [
  { phase: 'ehlo', says: [], outcomes: [] },
  { phase: 'mail', says: [EHLO], outcomes: [['a', 'lost']] },
  { phase: 'rcpt', says: [EHLO, '250 ok\n'], outcomes: [['a', 'lost']] },
  { phase: 'data', says: [EHLO, '250 ok\n', '250 ok\n'], outcomes: [['a', 'lost']] },
  {
    phase: 'endOfData',
    says: [EHLO, '250 ok\n', '250 ok\n', '354 go\n'],
    outcomes: [['a', 'lost maybe']],
  },
] as const;

test.each(STEPS)('closes instead of a reply, phase $phase', async ({ phase, says, outcomes }) => {
  const port = await startPeer((session) => sayThenClose(session, says, false));
  const told = await deliver(port, { letters: [letter('a')] });
  expect(told.outcomes).toEqual(outcomes);
  expect(told.cause).toEqual({ kind: 'closed', phase, code: null });
});

test.each(STEPS)('resets instead of a reply, phase $phase', async ({ phase, says, outcomes }) => {
  const port = await startPeer((session) => sayThenClose(session, says, true));
  const told = await deliver(port, { letters: [letter('a')] });
  expect(told.outcomes).toEqual(outcomes);
  expect(told.cause).toEqual({ kind: 'closed', phase, code: 'ECONNRESET' });
});

test('closes before the greeting', async () => {
  const port = await startPeer(async (session) => session.close());
  const told = await deliver(port, { letters: [letter('a')] });
  expect(told).toMatchObject({
    outcomes: [],
    untouched: [],
    cause: { kind: 'closed', phase: 'greeting', code: null },
  });
});

test('nobody listens', async () => {
  const port = await startPeer(async () => undefined);
  const told = await deliver(port, {
    letters: [letter('a')],
    target: { address: '127.255.255.254' },
  });
  expect(told).toMatchObject({ outcomes: [], cause: { kind: 'connect', code: 'ECONNREFUSED' } });
});

test('closes while idle: seen before reuse', async () => {
  const port = await startPeer(async (session) => {
    await session.open();
    session.close();
  });
  const told = await deliver(port, { letters: [], stay: true });
  expect(told.cause).toEqual({ kind: 'closed', phase: null, code: null });
  expect(told.connection.state).toBe('closed');
});
