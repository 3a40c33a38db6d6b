/** All recipients refused, some of them, and content refused after 354. */
import { expect, test } from 'vitest';
import { deliver, letter, startPeer } from '../support.ts';

const two = (name: string) =>
  letter(name, { recipients: [`x${name}@example.org`, `y${name}@example.org`] });

test('all refused but 354 all the same: a lone dot, then on', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING');
    await session.linesTo(/^DATA$/);
    session.say('250 ok\n550 5.1.1 no\n450 4.2.1 later\n354 go\n');
    expect(await session.line()).toBe('.');
    expect(await session.line()).toBe('MAIL FROM:<from@example.net>');
    session.say('554 5.5.1 no valid recipients\n');
    await session.linesTo(/^DATA$/);
    session.say('250 ok\n250 ok\n250 ok\n354 go\n');
    await session.linesTo(/^\.$/);
    session.say('250 taken\n');
    await session.bye();
  });
  const told = await deliver(port, { letters: [two('a'), two('b')] });
  expect(told.outcomes).toEqual([
    ['a', 'rcpt 550 5.1.1 no', 'rcpt 450 4.2.1 later'],
    ['b', 'endOfData 250 taken', 'endOfData 250 taken'],
  ]);
});

test('BDAT: all refused, so RSET and no BDAT', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING', 'CHUNKING');
    await session.linesTo(/^RCPT TO:<y/);
    session.say('250 ok\n550 no\n550 no\n');
    expect(await session.linesTo(/^RCPT TO:<y/)).toEqual([
      'RSET',
      'MAIL FROM:<from@example.net>',
      'RCPT TO:<xb@example.org>',
      'RCPT TO:<yb@example.org>',
    ]);
    session.say('250 ok\n250 ok\n250 ok\n550 no\n');
    expect(await session.line()).toBe('BDAT 25 LAST');
    session.say('250 taken\n');
    await session.bye();
  });
  const told = await deliver(port, { letters: [two('a'), two('b')] });
  expect(told.outcomes).toEqual([
    ['a', 'rcpt 550 no', 'rcpt 550 no'],
    ['b', 'endOfData 250 taken', 'rcpt 550 no'],
  ]);
});

test('354, then the content is refused: that decides for all accepted', async () => {
  const port = await startPeer(async (session) => {
    await session.open('PIPELINING');
    await session.linesTo(/^DATA$/);
    session.say('250 ok\n250 ok\n550 5.1.1 no\n354 go\n');
    await session.linesTo(/^\.$/);
    session.say('554 5.7.1 spam\n');
    await session.bye();
  });
  const told = await deliver(port, { letters: [two('a')] });
  expect(told.outcomes).toEqual([['a', 'endOfData 554 5.7.1 spam', 'rcpt 550 5.1.1 no']]);
});
