/** The machine alone: content by BDAT beside the commands of the next transaction. */
import { describe, expect, test } from 'vitest';
import {
  actionLines,
  BDAT,
  CLOSED,
  ENVELOPE_A,
  ENVELOPE_B,
  ENVELOPE_C,
  MAIL_A,
  QUIT,
  ready,
  run,
  type Step,
  start,
} from './session-support.ts';

describe('overlap with BDAT', () => {
  const opened = ready('PIPELINING', 'CHUNKING');
  const underWay: Step[] = [
    ...opened,
    [start('a'), ...ENVELOPE_A],
    ['250 ok\n250 ok', ...BDAT],
    [start('b'), ...ENVELOPE_B],
  ];

  test('one transaction behind the other, one round trip each', () => {
    run({}, [
      ...underWay,
      ['250 taken\n250 ok\n250 ok', 'a: endOfData 250 taken', ...BDAT],
      [start('c'), ...ENVELOPE_C],
      ['550 5.7.1 spam\n250 ok\n250 ok', 'b: endOfData 550 5.7.1 spam', ...BDAT],
      [QUIT],
      ['250 taken', 'c: endOfData 250 taken', 'QUIT'],
      ['221 bye', 'close quit'],
    ]);
  });

  test('no BDAT for a refused recipient: RSET, then on', () => {
    run({}, [
      ...underWay,
      ['250 taken\n250 ok\n550 no', 'a: endOfData 250 taken', 'b: rcpt 550 no'],
      [start('c'), 'RSET', ...ENVELOPE_C],
      ['250 ok\n250 ok\n250 ok', ...BDAT],
    ]);
  });

  test('mixed recipients', () => {
    run({}, [
      ...opened,
      [
        start('a', 'x@example.org', 'y@example.org', 'z@example.org'),
        MAIL_A,
        'RCPT TO:<x@example.org>',
        'RCPT TO:<y@example.org>',
        'RCPT TO:<z@example.org>',
      ],
      ['250 ok\n250 ok\n450 later\n550 no', ...BDAT],
      ['250 taken', 'a: endOfData 250 taken, rcpt 450 later, rcpt 550 no'],
    ]);
  });

  test('only one transaction ahead', () => {
    const session = run({}, underWay);
    expect(session.canStart).toBe(false);
  });

  test('lost after BDAT: that one may be delivered, the next is untouched', () => {
    run({}, [
      ...underWay,
      [{ lost: CLOSED }, 'stepDown', 'a: lost maybe', 'close closed null; untouched b'],
    ]);
  });

  test('lost while the end of the content was not sent yet', () => {
    run({}, [
      ...underWay,
      [
        { lost: CLOSED, contentsUnsent: 1 },
        'stepDown',
        'a: lost',
        'close closed null; untouched b',
      ],
    ]);
  });

  test('lost once MAIL of the next was accepted: that one was tried', () => {
    run({}, [
      ...underWay,
      ['250 taken\n250 ok', 'a: endOfData 250 taken'],
      [{ lost: CLOSED }, 'b: lost', 'close closed null'],
    ]);
  });

  test('421 in place of the reply to BDAT: not delivered, and not maybe', () => {
    run({}, [
      ...underWay,
      ['421 bye', 'a: endOfData 421 bye', 'close goodbye endOfData; untouched b'],
    ]);
  });

  test('421 to MAIL after the session had got somewhere: untouched', () => {
    run({}, [
      ...underWay,
      ['250 taken\n421 enough', 'a: endOfData 250 taken', 'close goodbye mail; untouched b'],
    ]);
  });

  test('421 to the very first MAIL is an answer', () => {
    run({}, [
      ...opened,
      [start('a'), ...ENVELOPE_A],
      ['421 no', 'a: mail 421 no', 'close goodbye mail'],
    ]);
  });

  test('421 to RCPT: what was answered before stays', () => {
    run({}, [
      ...opened,
      [
        start('a', 'x@example.org', 'y@example.org'),
        MAIL_A,
        'RCPT TO:<x@example.org>',
        'RCPT TO:<y@example.org>',
      ],
      ['250 ok\n550 no\n421 bye', 'a: rcpt 550 no, rcpt 421 bye', 'close goodbye rcpt'],
    ]);
  });

  test('421 in the arrival that would have sent content: not sent, not maybe', () => {
    run({}, [
      ...opened,
      [start('a'), ...ENVELOPE_A],
      ['250 ok\n250 ok\n421 bye', 'a: lost', 'close goodbye null'],
    ]);
  });

  test('421 while idle', () => {
    run({}, [...opened, ['421 idle too long', 'close goodbye null']]);
  });

  test('BDAT not understood: goes back, and the host goes down a rung', () => {
    run({}, [...underWay, ['502 what', 'stepDown', 'close protocol endOfData; untouched a b']]);
  });

  test('MAIL refused as out of sequence behind content: goes back, down a rung', () => {
    run({}, [
      ...underWay,
      [
        '250 taken\n503 nested',
        'a: endOfData 250 taken',
        'stepDown',
        'close protocol mail; untouched b',
      ],
    ]);
  });

  test('a doubled reply never makes a delivery of what was refused', () => {
    run({}, [
      ...underWay,
      // 250 250 for a; then MAIL's 250 passes for RCPT's, and RCPT's refusal comes out of turn.
      ['250 taken\n250 taken', 'a: endOfData 250 taken'],
      ['250 ok\n550 no', 'stepDown', 'b: lost', 'close protocol null'],
    ]);
  });

  test('a doubled reply, arriving alone, shows by its enhanced code', () => {
    run({}, [
      ...underWay,
      ['250 taken\n250 taken', 'a: endOfData 250 taken'],
      ['250 2.1.0 ok', ...BDAT],
      ['250 2.1.5 ok', 'stepDown', 'b: lost maybe', 'close protocol endOfData'],
    ]);
  });

  test('a final reply before the content has left is none', () => {
    const session = run({}, [...opened, [start('a'), ...ENVELOPE_A], ['250 ok\n250 ok', ...BDAT]]);
    session.onArrival(1);
    session.onReply({ code: 250, enhanced: null, lines: ['taken'] });
    expect(actionLines(session.take())).toEqual([
      'stepDown',
      'a: lost',
      'close protocol endOfData',
    ]);
  });

  test('an extra reply while idle', () => {
    run({}, [...opened, ['250 ok', 'stepDown', 'close protocol null']]);
  });

  test.each([
    { replies: '354 go', phase: 'mail', told: [] },
    { replies: '250 ok\n354 go', phase: 'rcpt', told: ['a: lost'] },
  ])('354 out of place, phase $phase', ({ replies, phase, told }) => {
    const untouched = told.length === 0 ? '; untouched a' : '';
    run({}, [
      ...opened,
      [start('a'), ...ENVELOPE_A],
      [replies, 'stepDown', ...told, `close protocol ${phase}${untouched}`],
    ]);
  });

  test('a time-out with several replies due steps down, with one it does not', () => {
    const timeout = { kind: 'timeout', phase: 'mail' } as const;
    run({}, [
      ...opened,
      [start('a'), ...ENVELOPE_A],
      [{ lost: timeout }, 'stepDown', 'a: lost', 'close timeout mail'],
    ]);
    run({}, [
      ...opened,
      [start('a'), ...ENVELOPE_A],
      ['250 ok\n250 ok', ...BDAT],
      [{ lost: timeout }, 'a: lost maybe', 'close timeout mail'],
    ]);
  });
});
