/** What peers say when they ask for patience, in the wordings of common greylisters. */
import { expect, test } from 'vitest';
import { retryHintMs } from '../../mta/retry-hint.ts';

test.each([
  [451, 'Greylisted, please try again in 300 seconds', 300_000],
  [450, 'Recipient address rejected: Greylisted for 5 minutes', 300_000],
  [451, 'Greylisting in action, please come back in 00:05:00', 300_000],
  [451, 'Please retry after 90s', 90_000],
  [421, 'Too many connections, wait 2 m', 120_000],
  [451, 'deferred: try again in at least 1 hour', 3_600_000],
  [451, 'TRY AGAIN IN 10 MINS', 600_000],
  [450, 'Try again later', null],
  [451, 'You sent 300 seconds of audio', null],
  [451, 'blocked for 17 months', null],
  [451, 'try again in 99999999999 seconds', null],
  [550, 'Go away, try again in 300 seconds', null],
  [250, 'ok, in 3 seconds', null],
])('%d %s', (code, text, expected) => {
  expect(retryHintMs({ code, enhanced: null, lines: [text] })).toBe(expected);
});

test('a hint may be broken over lines', () => {
  expect(
    retryHintMs({
      code: 450,
      enhanced: '4.7.1',
      lines: ['Greylisted, try again in', '60 seconds'],
    }),
  ).toBe(60_000);
});

test('a long text costs no more than a short one', () => {
  expect(
    retryHintMs({ code: 450, enhanced: null, lines: Array(128).fill('in '.repeat(170)) }),
  ).toBeNull();
});
