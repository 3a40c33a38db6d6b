/** One reply to content too many, or too few, in the middle of a window: nobody's verdict is another's. */
import { expect, test } from 'vitest';
import { HostMemory } from '../../../../mta/smtp/manners.ts';
import { systemClock } from '../../../../runtime/clock.ts';
import { deliver, letter, newDeps, startPeer } from '../support.ts';
import { readContent, readTransaction, serve } from './window-support.ts';

test.each([
  { title: 'doubled', replies: '250 2.0.0 taken as 20\n250 2.0.0 taken as 20\n', trusted: 21 },
  { title: 'missing', replies: '', trusted: 20 },
])('$title', async ({ replies, trusted }) => {
  const hosts = new HostMemory(systemClock());
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING', 'ENHANCEDSTATUSCODES');
    await serve(session, 20);
    await readTransaction(session);
    session.say('250 2.0.0 reset\n250 2.1.0 ok\n250 2.1.5 ok\n');
    await readContent(session);
    session.say(replies);
    // Each refused, had its verdict been heard.
    for (let number = 0; number < 5; number += 1) {
      await readTransaction(session);
      session.say('250 2.0.0 reset\n250 2.1.0 ok\n250 2.1.5 ok\n');
      await readContent(session);
      session.say('550 5.7.1 not this\n');
    }
  });
  const letters = Array.from({ length: 40 }, (_, n) => letter(`l${n}`));
  const told = await deliver(port, { letters, stay: true, deps: newDeps({ hosts }) });
  const taken = told.outcomes.filter(([, fact]) => fact!.startsWith('endOfData 250'));
  expect(taken.map(([name]) => name)).toEqual(letters.slice(0, trusted).map(({ name }) => name));
  expect(told.cause).toMatchObject({ kind: 'protocol' });
  expect(hosts.mannersOf('sink.example').mode).not.toBe('window');
});
