/** The machine alone: transactions one after another, and what bounds them. */
import { describe, expect, test } from 'vitest';
import {
  actionLines,
  BDAT,
  ENVELOPE_A,
  GROUP_A,
  GROUP_B,
  LOCKSTEP,
  MAIL_A,
  PIPELINED,
  put,
  QUIT,
  ready,
  run,
  start,
} from './session-support.ts';

describe('lockstep', () => {
  test('one command, one reply', () => {
    run({}, [
      ...ready(),
      [start('a', 'x@example.org', 'y@example.org'), MAIL_A],
      ['250 ok', 'RCPT TO:<x@example.org>'],
      ['250 ok', 'RCPT TO:<y@example.org>'],
      ['550 5.1.1 no', 'DATA'],
      ['354 go', '(content, dot)'],
      ['250 2.6.0 taken', 'a: endOfData 250 2.6.0 taken, rcpt 550 5.1.1 no'],
      [QUIT, 'QUIT'],
      ['221 bye', 'close quit'],
    ]);
  });

  test('MAIL refused: no RCPT is sent', () => {
    run({}, [
      ...ready(),
      [start('a', 'x@example.org', 'y@example.org'), MAIL_A],
      ['451 4.7.1 later', 'a: mail 451 4.7.1 later, mail 451 4.7.1 later'],
      [start('b'), MAIL_A],
    ]);
  });

  test('every RCPT refused: RSET before the next MAIL, each after its reply', () => {
    run({}, [
      ...ready(),
      [start('a'), MAIL_A],
      ['250 ok', 'RCPT TO:<a@example.org>'],
      ['550 no', 'a: rcpt 550 no'],
      [start('b'), 'RSET'],
      ['250 ok', MAIL_A],
      ['250 ok', 'RCPT TO:<b@example.org>'],
    ]);
  });

  test('DATA refused', () => {
    run({}, [
      ...ready(),
      [start('a', 'x@example.org', 'y@example.org'), MAIL_A],
      ['250 ok', 'RCPT TO:<x@example.org>'],
      ['450 greylisted', 'RCPT TO:<y@example.org>'],
      ['250 ok', 'DATA'],
      ['554 no', 'a: rcpt 450 greylisted, data 554 no'],
      [start('b'), 'RSET'],
    ]);
  });

  test('the memory of the host outweighs what it offers', () => {
    run({ manners: LOCKSTEP }, [
      ...ready('PIPELINING', 'CHUNKING'),
      [start('a'), MAIL_A],
      ['250 ok', 'RCPT TO:<a@example.org>'],
      ['250 ok', 'DATA'],
    ]);
  });

  test('CHUNKING without PIPELINING', () => {
    run({}, [
      ...ready('CHUNKING'),
      [start('a'), MAIL_A],
      ['250 ok', 'RCPT TO:<a@example.org>'],
      ['250 ok', 'BDAT 25 LAST', '(content)'],
      ['250 ok', 'a: endOfData 250 ok'],
    ]);
  });
});

describe('pipelined DATA', () => {
  const opened = ready('PIPELINING', 'CHUNKING');
  test('one write up to DATA, and nothing beside the content', () => {
    const session = run({ manners: PIPELINED }, [
      ...opened,
      [start('a'), ...GROUP_A],
      ['250 ok\n250 ok\n354 go', '(content, dot)'],
    ]);
    expect(session.canStart).toBe(false);
    put(session, '250 taken');
    expect(actionLines(session.take())).toEqual(['a: endOfData 250 taken']);
    expect(session.canStart).toBe(true);
  });

  test('all recipients refused, DATA too', () => {
    run({ manners: PIPELINED }, [
      ...opened,
      [start('a'), ...GROUP_A],
      ['250 ok\n550 no\n554 no valid recipients', 'a: rcpt 550 no'],
      [start('b'), 'RSET', ...GROUP_B],
      ['250 ok\n250 ok\n250 ok\n354 go', '(content, dot)'],
    ]);
  });

  test('all recipients refused, DATA not: a lone dot, and its reply means nothing', () => {
    run({ manners: PIPELINED }, [
      ...opened,
      [start('a'), ...GROUP_A],
      ['250 ok\n550 no\n354 go', '.', 'a: rcpt 550 no'],
      [start('b'), ...GROUP_B],
      ['554 no recipients'],
      ['250 ok\n250 ok\n354 go', '(content, dot)'],
      ['250 taken', 'b: endOfData 250 taken'],
    ]);
  });

  test('MAIL refused, so is all that follows', () => {
    run({ manners: PIPELINED }, [
      ...opened,
      [start('a'), ...GROUP_A],
      ['452 4.3.1 full\n503 no\n503 no', 'a: mail 452 4.3.1 full'],
      [start('b'), ...GROUP_B],
    ]);
  });

  test('MAIL refused, yet RCPT and DATA accepted: leaves rather than send an empty message', () => {
    run({ manners: PIPELINED }, [
      ...opened,
      [start('a'), ...GROUP_A],
      ['550 no\n250 ok\n354 go', 'stepDown', 'a: mail 550 no', 'close protocol data'],
    ]);
  });
});

describe('overlap with DATA', () => {
  const opened = ready('PIPELINING');
  test('content travels with the commands of the next', () => {
    run({}, [
      ...opened,
      [start('a'), ...GROUP_A],
      ['250 ok\n250 ok\n354 go', '(content, dot)'],
      [start('b'), ...GROUP_B],
      ['250 taken\n250 ok\n250 ok\n354 go', 'a: endOfData 250 taken', '(content, dot)'],
      ['250 taken', 'b: endOfData 250 taken'],
    ]);
  });
});

describe('bounds', () => {
  test('MAILMAX', () => {
    const session = run({}, [
      ...ready('PIPELINING', 'CHUNKING', 'LIMITS MAILMAX=1'),
      [start('a'), ...ENVELOPE_A],
      ['250 ok\n250 ok', ...BDAT],
    ]);
    expect([session.canStart, session.exhausted]).toEqual([false, true]);
  });

  test('RCPTMAX: the recipients beyond it are told without a command', () => {
    const beyond =
      'rcpt local 452 4.5.3 the host takes fewer recipients in one transaction (RCPTMAX)';
    run({}, [
      ...ready('PIPELINING', 'CHUNKING', 'LIMITS RCPTMAX=2'),
      [
        start('a', 'x@example.org', 'y@example.org', 'z@example.org'),
        MAIL_A,
        'RCPT TO:<x@example.org>',
        'RCPT TO:<y@example.org>',
      ],
      ['250 ok\n550 no\n250 ok', ...BDAT],
      ['250 taken', `a: rcpt 550 no, endOfData 250 taken, ${beyond}`],
    ]);
  });

  test('what the host cannot take is told without a command', () => {
    run({}, [
      ...ready('PIPELINING', 'CHUNKING', 'SIZE 20'),
      [start('a'), 'a: mail local 552 5.3.4 the message has 25 octets, the host takes 20'],
    ]);
  });

  test('an address that cannot be written costs only itself', () => {
    run({}, [
      ...ready('PIPELINING', 'CHUNKING'),
      [start('a', 'x y@example.org', 'a@example.org'), ...ENVELOPE_A],
      ['250 ok\n250 ok', ...BDAT],
      [
        '250 taken',
        'a: mail local 553 5.1.3 the address cannot be written in an SMTP command, endOfData 250 taken',
      ],
    ]);
  });
});
