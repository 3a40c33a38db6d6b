/** The connection ends, or 421 is said, with whole transactions under way. */
import { expect, test } from 'vitest';
import { HostMemory } from '../../../../mta/smtp/manners.ts';
import { systemClock } from '../../../../runtime/clock.ts';
import { deliver, letter, newDeps, startPeer } from '../support.ts';
import { readContent, readTransaction, serve } from './window-support.ts';

const letters = () => Array.from({ length: 40 }, (_, n) => letter(`l${n}`));

test('421: answers one, and those behind it come back untouched', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING', 'ENHANCEDSTATUSCODES');
    await serve(session, 20);
    await readTransaction(session);
    session.say('250 2.0.0 reset\n250 2.1.0 ok\n421 4.3.2 going down\n');
    session.close();
  });
  const told = await deliver(port, { letters: letters(), stay: true });
  expect(told.cause).toMatchObject({ kind: 'goodbye', phase: 'rcpt' });
  expect(told.outcomes).toHaveLength(21);
  expect(told.outcomes.at(-1)).toEqual(['l20', 'rcpt 421 4.3.2 going down']);
  expect(told.untouched.length).toBeGreaterThanOrEqual(4);
  expect(told.untouched[0]).toBe('l21');
});

test('closed: at most a window of messages may be delivered, and each is told as such', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING', 'ENHANCEDSTATUSCODES');
    await serve(session, 20);
    await readTransaction(session);
    session.say('250 2.0.0 reset\n250 2.1.0 ok\n250 2.1.5 ok\n');
    await readContent(session);
    session.reset();
  });
  const told = await deliver(port, { letters: letters(), stay: true });
  const doubtful = told.outcomes.filter(([, fact]) => fact === 'lost maybe');
  expect(told.outcomes.slice(0, 20).every(([, fact]) => fact!.startsWith('endOfData 250'))).toBe(
    true,
  );
  expect(doubtful.length).toBeGreaterThan(1);
  expect(doubtful.length).toBeLessThanOrEqual(8);
  expect(told.outcomes).toHaveLength(20 + doubtful.length);
});

test('closed after content in vain: the host is not sent anything ahead again', async () => {
  const hosts = new HostMemory(systemClock());
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING', 'ENHANCEDSTATUSCODES');
    await serve(session, 20);
    await readTransaction(session);
    session.say('250 2.0.0 reset\n250 2.1.0 ok\n550 5.1.1 no\n');
    await readContent(session);
    session.say('503 5.5.1 nobody\n');
    await readTransaction(session);
    session.close();
  });
  const told = await deliver(port, { letters: letters(), stay: true, deps: newDeps({ hosts }) });
  expect(told.outcomes[20]).toEqual(['l20', 'rcpt 550 5.1.1 no']);
  expect(hosts.mannersOf('sink.example').mode).toBe('overlap');
});
