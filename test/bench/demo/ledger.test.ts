import { expect, test } from 'vitest';
import { Ledger } from '../../../bench/demo/ledger.ts';

const SENDER = 'newsletter.example';

test('a letter is accounted for by one acceptance or one bounce, not by both', () => {
  const ledger = new Ledger(6, SENDER);
  const accept = (letter: number) => ledger.accepted(ledger.recipient(letter, 'm', 'a.example'));
  const bounce = (letter: number) => ledger.accepted(ledger.reversePath(letter));
  accept(0);
  bounce(1);
  accept(2);
  accept(2);
  accept(3);
  bounce(3);
  bounce(4);
  bounce(4);
  expect(ledger.balance()).toEqual({
    delivered: 1,
    bounced: 1,
    outstanding: 1,
    contradictory: 3,
  });
  expect(ledger.problems(10)).toEqual([
    'letter 2: accepted 2 times, bounced 0 times',
    'letter 3: accepted 1 times, bounced 1 times',
    'letter 4: accepted 0 times, bounced 2 times',
    'letter 5: accepted 0 times, bounced 0 times',
  ]);
  expect(ledger.problems(2)).toHaveLength(2);
});

test('addresses compare without regard to case', () => {
  const ledger = new Ledger(1, SENDER);
  ledger.accepted('M-0@A.Example');
  expect(ledger.balance().delivered).toBe(1);
});

test.each([
  'm-9@a.example',
  'x-0@a.example',
  'm-0',
  'postmaster@a.example',
  '',
  'bounces-0@a.example',
])('%j is a stranger', (address) => {
  const ledger = new Ledger(1, SENDER);
  ledger.accepted(address);
  expect(ledger.strangers).toEqual([address]);
  expect(ledger.balance().outstanding).toBe(1);
});

test('mail to subscribers at the sender’s own domain is no bounce', () => {
  const ledger = new Ledger(1, SENDER);
  ledger.accepted(ledger.recipient(0, 'm', SENDER));
  expect(ledger.balance().delivered).toBe(1);
});
