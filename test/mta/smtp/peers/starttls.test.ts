/** STARTTLS stripped, refused, broken, or abused. */
import { describe, expect, test } from 'vitest';
import { deliver, letter, newDeps, type PeerSession, startPeer } from '../support.ts';

const MODES = ['opportunistic', 'require', 'verify'] as const;

async function takeOne(session: PeerSession): Promise<void> {
  await session.linesTo(/^MAIL/);
  session.say('250 ok\n');
  await session.linesTo(/^RCPT/);
  session.say('250 ok\n');
  await session.linesTo(/^DATA/);
  session.say('354 go\n');
  await session.linesTo(/^\.$/);
  session.say('250 taken\n');
  await session.bye();
}

describe('octets between the 220 and the handshake', () => {
  test.each(MODES)('%s: an attack', async (tls) => {
    const port = await startPeer(async (session) => {
      await session.open('STARTTLS');
      await session.linesTo(/^STARTTLS$/);
      session.say('220 go\n250-injected\n250 AUTH PLAIN\n');
    });
    const told = await deliver(port, { letters: [letter('a')], target: { tls } });
    expect(told).toMatchObject({ outcomes: [], cause: { kind: 'tls', fault: 'injected' } });
  });

  test('half a line', async () => {
    const port = await startPeer(async (session) => {
      await session.open('STARTTLS');
      await session.linesTo(/^STARTTLS$/);
      session.say('220 go\n2');
    });
    const told = await deliver(port, { letters: [], target: { tls: 'require' }, stay: true });
    expect(told.cause).toMatchObject({ kind: 'tls', fault: 'injected' });
  });
});

describe('stripped', () => {
  test.each(['require', 'verify'] as const)('%s: not delivered', async (tls) => {
    const said: string[] = [];
    const port = await startPeer(async (session) => {
      await session.open('PIPELINING');
      said.push(...(await session.linesTo(/^QUIT$/)));
    });
    const told = await deliver(port, { letters: [letter('a')], target: { tls } });
    expect(told).toMatchObject({ outcomes: [], cause: { kind: 'tls', fault: 'not-offered' } });
    expect(said.filter((line) => line !== 'QUIT')).toEqual([]);
  });

  test('opportunistic: in clear', async () => {
    const port = await startPeer(async (session) => {
      await session.open();
      await takeOne(session);
    });
    const told = await deliver(port, { letters: [letter('a')], target: { tls: 'opportunistic' } });
    expect(told.outcomes).toEqual([['a', 'endOfData 250 taken']]);
    expect(told.connection.tls).toBeNull();
  });
});

describe('refused', () => {
  const refusing = () =>
    startPeer(async (session) => {
      await session.open('STARTTLS');
      await session.linesTo(/^STARTTLS$/);
      session.say('454 4.7.0 TLS not available\n');
      await takeOne(session);
    });
  test('require: not delivered', async () => {
    const told = await deliver(await refusing(), {
      letters: [letter('a')],
      target: { tls: 'require' },
    });
    expect(told).toMatchObject({
      outcomes: [],
      cause: { kind: 'tls', fault: 'refused', detail: '454 4.7.0 TLS not available' },
    });
  });
  test('opportunistic: in clear', async () => {
    const told = await deliver(await refusing(), {
      letters: [letter('a')],
      target: { tls: 'opportunistic' },
    });
    expect(told.outcomes).toEqual([['a', 'endOfData 250 taken']]);
  });
});

describe('broken', () => {
  test.each([
    { title: 'closes', act: (session: PeerSession) => session.close() },
    { title: 'resets', act: (session: PeerSession) => session.reset() },
    { title: 'speaks SMTP', act: (session: PeerSession) => session.say('250 what is this\n') },
  ])('$title in place of its handshake', async ({ act }) => {
    const port = await startPeer(async (session) => {
      await session.open('STARTTLS');
      await session.linesTo(/^STARTTLS$/);
      session.say('220 go\n');
      await session.octets(1);
      act(session);
    });
    const deps = newDeps();
    const told = await deliver(port, {
      letters: [letter('a')],
      target: { tls: 'opportunistic' },
      deps,
    });
    expect(told).toMatchObject({ outcomes: [], cause: { kind: 'tls', fault: 'handshake' } });
    expect(deps.counters).toEqual({
      attempted: 1,
      readyFull: 0,
      readyResumed: 0,
      readyClear: 0,
      sentAhead: 0,
    });
  });
});

test('what was offered in clear does not count once TLS is up', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING', 'SIZE 10', 'STARTTLS');
    await session.linesTo(/^STARTTLS$/);
    session.say('220 go\n');
    await session.secure();
    await session.ehlo('8BITMIME');
    await takeOne(session);
  });
  const told = await deliver(port, { letters: [letter('a')], target: { tls: 'require' } });
  expect(told.outcomes).toEqual([['a', 'endOfData 250 taken']]);
  expect(told.connection.tls).toMatchObject({ protocol: 'TLSv1.3', verified: false });
});
