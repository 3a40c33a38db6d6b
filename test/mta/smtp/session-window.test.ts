/** The machine alone: whole transactions ahead of their replies. */
import { describe, expect, test } from 'vitest';
import {
  BDAT,
  CLOSED,
  ENVELOPE_A,
  ENVELOPE_B,
  ENVELOPE_C,
  MAIL_A,
  ready,
  run,
  type Step,
  start,
  WINDOW,
} from './session-support.ts';

describe('window', () => {
  const opened = ready('PIPELINING', 'CHUNKING');
  /** Transaction by transaction until one more may go ahead. */
  const proven: Step[] = [
    ...opened,
    ...[1, 2, 3, 4].flatMap((n): Step[] => [
      [start(`p${n}`), MAIL_A, `RCPT TO:<p${n}@example.org>`],
      ['250 ok\n250 accepted', ...BDAT],
      [`250 taken ${n}`, `p${n}: endOfData 250 taken ${n}`],
    ]),
  ];
  const TAKEN = '250 reset\n250 ok\n250 accepted\n250 taken';
  const started: Step[] = [
    ...proven,
    [start('a'), ...ENVELOPE_A],
    ['250 ok\n250 accepted', ...BDAT],
    [start('b'), 'RSET', ...ENVELOPE_B, ...BDAT],
  ];

  test('opens by one for every transaction that goes through', () => {
    const session = run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      [start('d'), 'RSET', MAIL_A, 'RCPT TO:<d@example.org>', ...BDAT],
    ]);
    expect(session.canStart).toBe(false);
    session.onArrival(0);
    expect(session.canStart).toBe(false);
  });

  test('a refused recipient in the middle costs only itself, and closes the window', () => {
    const session = run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      ['250 reset\n250 ok\n550 no\n503 nobody', 'b: rcpt 550 no'],
      // Behind one that was sent ahead, RSET goes first; but no content goes ahead.
      [start('d'), 'RSET', MAIL_A, 'RCPT TO:<d@example.org>'],
      [TAKEN, 'c: endOfData 250 taken'],
      ['250 reset\n250 ok\n250 accepted', ...BDAT],
    ]);
    expect(session.canStart).toBe(true);
  });

  test('the last one in vain is cleared away before the next', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      ['250 reset\n450 slow down\n503 x\n503 x', 'b: mail 450 slow down'],
      [start('c'), 'RSET', ...ENVELOPE_C],
    ]);
  });

  test('content taken for nobody: out of step', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [
        '250 reset\n250 ok\n550 no\n250 taken',
        'stepDown',
        'b: rcpt 550 no',
        'close protocol endOfData',
      ],
    ]);
  });

  test('a missing reply to content is noticed before that of RSET passes for it', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      [
        '250 reset\n250 ok\n250 accepted\n250 reset',
        'stepDown',
        'b: lost maybe',
        'c: lost maybe',
        'close protocol endOfData',
      ],
    ]);
  });

  test('a doubled reply to content is noticed before that of RCPT passes for the next', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      [
        `${TAKEN}\n250 taken\n250 reset\n250 ok\n250 accepted`,
        'b: endOfData 250 taken',
        'stepDown',
        'c: lost maybe',
        'close protocol endOfData',
      ],
    ]);
  });

  test('421 in mid-window answers one; those behind it were not read', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      ['250 reset\n250 ok\n421 bye', 'b: rcpt 421 bye', 'close goodbye rcpt; untouched c'],
    ]);
  });

  test('421 between two of them answers none', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      ['421 bye', 'close goodbye rset; untouched b'],
    ]);
  });

  test('lost: what was sent to its end may be delivered, what was not is untouched', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      [{ lost: CLOSED, contentsUnsent: 1 }, 'b: lost maybe', 'close closed null; untouched c'],
    ]);
  });

  test('lost after content in vain: the host goes down a rung', () => {
    run({ manners: WINDOW }, [
      ...started,
      ['250 taken', 'a: endOfData 250 taken'],
      [start('c'), 'RSET', ...ENVELOPE_C, ...BDAT],
      ['250 reset\n250 ok\n550 no\n503 nobody', 'b: rcpt 550 no'],
      [{ lost: CLOSED }, 'stepDown', 'c: lost maybe', 'close closed null'],
    ]);
  });

  test('stays shut with a host that says the same to everything', () => {
    const session = run({ manners: WINDOW }, [
      ...opened,
      ...[1, 2, 3, 4, 5, 6].flatMap((n): Step[] => [
        [start(`p${n}`), MAIL_A, `RCPT TO:<p${n}@example.org>`],
        ['250 ok\n250 ok', ...BDAT],
        ['250 ok', `p${n}: endOfData 250 ok`],
      ]),
      [start('a'), ...ENVELOPE_A],
      ['250 ok\n250 ok', ...BDAT],
      [start('b'), ...ENVELOPE_B],
    ]);
    expect(session.canStart).toBe(false);
  });
});
