/** Peers that say nothing, or take nothing, on a clock that the test owns. */
import { describe, expect, test } from 'vitest';
import type { WaitPhase } from '../../../../mta/smtp/transaction.ts';
import { ManualClock } from '../../../support/clock.ts';
import { deliver, type Letter, letter, newDeps, type PeerSession, startPeer } from '../support.ts';

const MINUTE_MS = 60_000;
const EHLO = '250-peer.example\n250 STARTTLS\n';

/** What the peer has said before it falls silent, and what it has then heard. */
const STEPS: readonly {
  readonly phase: WaitPhase;
  readonly minutes: number;
  readonly says: readonly string[];
  readonly hears: RegExp;
  readonly tls?: 'require';
  readonly outcomes: readonly string[][];
}[] = [
  { phase: 'ehlo', minutes: 5, says: [], hears: /^EHLO/, outcomes: [] },
  { phase: 'starttls', minutes: 2, says: [EHLO], hears: /^STARTTLS/, tls: 'require', outcomes: [] },
  { phase: 'mail', minutes: 5, says: [EHLO], hears: /^MAIL/, outcomes: [['a', 'lost']] },
  {
    phase: 'rcpt',
    minutes: 5,
    says: [EHLO, '250 ok\n'],
    hears: /^RCPT/,
    outcomes: [['a', 'lost']],
  },
  {
    phase: 'data',
    minutes: 2,
    says: [EHLO, '250 ok\n', '250 ok\n'],
    hears: /^DATA/,
    outcomes: [['a', 'lost']],
  },
  {
    phase: 'endOfData',
    minutes: 10,
    says: [EHLO, '250 ok\n', '250 ok\n', '354 go\n'],
    hears: /^\.$/,
    outcomes: [['a', 'lost maybe']],
  },
];

describe('silence', () => {
  test.each(STEPS)('phase $phase: $minutes minutes', async (step) => {
    const { phase, minutes, says, hears, tls = 'none', outcomes } = step;
    const clock = new ManualClock();
    let isSilent: () => void;
    const silent = new Promise<void>((resolve) => {
      isSilent = resolve;
    });
    const port = await startPeer(async (session: PeerSession) => {
      session.say('220 hi\n');
      for (const text of says) {
        await session.line();
        session.say(text);
      }
      await session.linesTo(hears);
      isSilent();
    });
    const delivery = deliver(port, {
      letters: [letter('a')],
      target: { tls },
      deps: newDeps({ clock }),
    });
    let closed = false;
    void delivery.then(() => {
      closed = true;
    });
    await silent;
    clock.advance(minutes * MINUTE_MS - 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(closed).toBe(false);
    expect(clock.timers).toBe(1);
    clock.advance(1);
    const told = await delivery;
    expect(told.cause).toEqual({ kind: 'timeout', phase });
    expect(told.outcomes).toEqual(outcomes);
    expect(clock.timers).toBe(0);
  });

  test('no greeting', async () => {
    const clock = new ManualClock();
    let connected: () => void;
    const accepted = new Promise<void>((resolve) => {
      connected = resolve;
    });
    const port = await startPeer(async () => connected());
    const delivery = deliver(port, { letters: [], deps: newDeps({ clock }), stay: true });
    await accepted;
    // The client's own connect event may come a turn later than the server's.
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    clock.advance(5 * MINUTE_MS);
    expect((await delivery).cause).toEqual({ kind: 'timeout', phase: 'greeting' });
  });

  test('the handshake', async () => {
    const clock = new ManualClock();
    let isSilent: () => void;
    const silent = new Promise<void>((resolve) => {
      isSilent = resolve;
    });
    const port = await startPeer(async (session) => {
      await session.open('STARTTLS');
      await session.linesTo(/^STARTTLS$/);
      session.say('220 go\n');
      await session.octets(1);
      isSilent();
    });
    const delivery = deliver(port, {
      letters: [],
      target: { tls: 'require' },
      deps: newDeps({ clock }),
      stay: true,
    });
    await silent;
    clock.advance(MINUTE_MS);
    expect((await delivery).cause).toEqual({ kind: 'timeout', phase: 'handshake' });
  });
});

test('a peer that does not read: three minutes, and the message cannot be there', async () => {
  const clock = new ManualClock();
  let isFull: () => void;
  const full = new Promise<void>((resolve) => {
    isFull = resolve;
  });
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING');
    await session.linesTo(/^RCPT/);
    session.pause();
    session.say('250 ok\n250 ok\n');
    isFull();
  });
  const content = Buffer.alloc(64 * 1024 * 1024, 'x\r\n');
  let waiting: string | undefined;
  const delivery = deliver(port, {
    letters: [letter('a', { content })],
    deps: newDeps({ clock }),
    onReady: (connection) => {
      void full.then(async () => {
        while (connection.waiting?.awaits !== 'socket to drain') {
          await new Promise((resolve) => setImmediate(resolve));
        }
        // Until the kernel's buffers are full, there is progress.
        for (let turn = 0; turn < 200; turn += 1) {
          await new Promise((resolve) => setImmediate(resolve));
        }
        waiting = connection.waiting?.awaits;
        clock.advance(3 * MINUTE_MS);
      });
    },
  });
  const told = await delivery;
  expect(waiting).toBe('socket to drain');
  expect(told.cause).toEqual({ kind: 'timeout', phase: 'body' });
  expect(told.outcomes).toEqual([['a', 'lost']]);
});

test('an idle connection has no deadline; one that wakes has all of it', async () => {
  const clock = new ManualClock();
  const port = await startPeer(async (session) => {
    await session.open();
    await session.linesTo(/^MAIL/);
    clock.advance(4 * MINUTE_MS);
    session.say('550 no\n');
    await session.bye();
  });
  const letters: Letter[] = [];
  const told = await deliver(port, {
    letters,
    deps: newDeps({ clock }),
    onReady(connection) {
      setImmediate(() => {
        expect(connection.state).toBe('idle');
        expect(connection.idleSinceMs).toBe(clock.monotonicMs());
        expect(connection.waiting).toBeNull();
        clock.advance(60 * MINUTE_MS);
        expect(connection.state).toBe('idle');
        letters.push(letter('a'));
        connection.wake();
      });
    },
  });
  expect(told.outcomes).toEqual([['a', 'mail 550 no']]);
});
