import { describe, expect, test } from 'vitest';
import { checkLines, inspect } from '../../../mta/intake/content.ts';

const look = (text: string) => inspect(Buffer.from(text, 'latin1'));

describe('inspect', () => {
  test.each([
    [
      'Date: x\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n',
      { hasDate: true, hasMessageId: true, hasHeader: true },
    ],
    ['DATE : x\r\nmessage-id: y\r\n\r\n', { hasDate: true, hasMessageId: true }],
    ['Subject: x\r\n\r\nDate: in the body\r\n', { hasDate: false, hasMessageId: false }],
    ['Subject: x\r\n Date: folded\r\n', { hasDate: false, hasHeader: true }],
    ['\r\nbody\r\n', { hasHeader: true, hasDate: false }],
    ['', { hasHeader: true, hasDate: false }],
    ['just a body\r\n', { hasHeader: false }],
    [' a continuation of nothing\r\n', { hasHeader: false }],
    ['X: 1\r\n\r\nascii\r\n', { body: '7bit', headerAscii: true }],
    ['X: 1\r\n\r\n\xe4\r\n', { body: '8bitmime', headerAscii: true }],
    ['X: \xe4\r\n\r\nascii\r\n', { body: '8bitmime', headerAscii: false }],
    ['Received: x\r\n'.repeat(100), { hasHeader: true }],
    [
      `X: ${'y'.repeat(900)}\r\n`.repeat(100).concat('Date: late\r\n\r\nbody\r\n'),
      { hasDate: true },
    ],
  ])('case %#', (text, expected) => {
    expect(look(text)).toMatchObject({ fault: null, ...expected });
  });

  test.each([
    ['Received: x\r\n'.repeat(101), 'loop'],
    ['Received: x\r\n'.repeat(80_000), 'loop'],
    ['Subject: x\r\nno field\r\n\r\nbody\r\n', 'header'],
    ['Subject: x\r\n: no name\r\n\r\n', 'header'],
    ['X: \0\r\n\r\n', 'nul'],
    ['X: 1\r\n\r\n\0\r\n', 'nul'],
    [`X: ${'y'.repeat(900)}\r\n`.repeat(1200), 'header-size'],
  ])('refusal %#: ', (text, fault) => {
    expect(look(text)).toEqual({ fault });
  });
});

describe('checkLines', () => {
  test.each([
    ['', null],
    ['a\r\n\r\nb', null],
    [`${'x'.repeat(998)}\r\n`, null],
    ['a\nb', 'bare-lf'],
    ['\n', 'bare-lf'],
    ['a\rb\r\n', 'bare-cr'],
    ['a\r', 'bare-cr'],
    ['a\r\r\n', 'bare-cr'],
    [`${'x'.repeat(999)}\r\n`, 'line-length'],
    [`a\r\n${'x'.repeat(999)}`, 'line-length'],
  ])('case %#: ', (text, fault) => {
    expect(checkLines(Buffer.from(text, 'latin1'))).toBe(fault);
  });
});
