/** The machine alone, as timetables: what comes in, what goes out. */
import { describe, expect, test } from 'vitest';
import { LADDER, type Manners } from '../../../mta/smtp/manners.ts';
import type { Action, SessionOptions } from '../../../mta/smtp/phases.ts';
import { ReplyParser } from '../../../mta/smtp/reply.ts';
import { Session } from '../../../mta/smtp/session.ts';
import type { CloseCause } from '../../../mta/smtp/transaction.ts';
import { factText, type Letter, letter } from './support.ts';

const [WINDOW, OVERLAP, PIPELINED, LOCKSTEP] = LADDER as readonly [
  Manners,
  Manners,
  Manners,
  Manners,
];

/** One line per action: commands as sent, the rest in words. */
function actionText(action: Action<Letter>): string {
  switch (action.kind) {
    case 'command':
      return action.text.trimEnd();
    case 'content':
      return action.stuffed ? '(content, dot)' : '(content)';
    case 'outcome':
      return `${action.transaction.name}: ${action.facts.map(factText).join(', ')}`;
    case 'close': {
      const phase = 'phase' in action.cause ? ` ${action.cause.phase}` : '';
      const names = action.untouched.map(({ name }) => name).join(' ');
      return `close ${action.cause.kind}${phase}${names === '' ? '' : `; untouched ${names}`}`;
    }
    default:
      return action.kind;
  }
}

/** What may come in: replies of one arrival (separated by LF), or an event. */
type Input =
  | string
  | { readonly start: Letter }
  | { readonly event: 'connected' | 'secured' | 'quit' }
  | { readonly lost: CloseCause; readonly contentsUnsent?: number };
type Step = readonly [input: Input, ...actions: readonly string[]];

const CONNECTED: Input = { event: 'connected' };
const SECURED: Input = { event: 'secured' };
const QUIT: Input = { event: 'quit' };
const EHLO = 'EHLO client.example';
const start = (name: string, ...recipients: readonly string[]): Input => ({
  start: letter(name, recipients.length === 0 ? {} : { recipients }),
});
const CLOSED: CloseCause = { kind: 'closed', phase: null, code: null };

function put(session: Session<Letter>, input: Input): void {
  if (typeof input === 'string') {
    session.onArrival(0);
    const parser = new ReplyParser();
    parser.feed(Buffer.from(`${input}\n`));
    for (let reply = parser.next(); reply !== null; reply = parser.next()) session.onReply(reply);
  } else if ('start' in input) {
    expect(session.canStart).toBe(true);
    session.start(input.start);
  } else if ('lost' in input) session.onLost(input.lost, input.contentsUnsent ?? 0);
  else if (input.event === 'connected') session.onConnected();
  else if (input.event === 'secured') session.onSecured();
  else session.quit();
}

function run(options: Partial<SessionOptions>, steps: readonly Step[]): Session<Letter> {
  const session = new Session<Letter>({
    clientName: 'client.example',
    tls: 'none',
    manners: OVERLAP,
    ...options,
  });
  for (const [input, ...actions] of steps) {
    put(session, input);
    expect(session.take().map(actionText), JSON.stringify(input)).toEqual(actions);
  }
  return session;
}

/** Until ready, in clear. */
const ready = (...keywords: readonly string[]): Step[] => [
  [CONNECTED],
  ['220 hi', EHLO],
  [
    ['mx', ...keywords]
      .map((text) => `250-${text}`)
      .join('\n')
      .concat('\n250 HELP'),
    'ready',
  ],
];

const MAIL_A = 'MAIL FROM:<from@example.net>';

describe('opening', () => {
  test.each<{ title: string; options: Partial<SessionOptions>; steps: Step[] }>([
    {
      title: 'STARTTLS, and what was offered before is forgotten',
      options: { tls: 'require' },
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['250-mx\n250-PIPELINING\n250 STARTTLS', 'STARTTLS'],
        ['220 go', 'secure'],
        [SECURED, EHLO],
        ['250 mx', 'ready'],
        [start('a', 'x@example.org', 'y@example.org'), MAIL_A],
      ],
    },
    {
      title: 'none: no STARTTLS though offered',
      options: { tls: 'none' },
      steps: [[CONNECTED], ['220 hi', EHLO], ['250-mx\n250 STARTTLS', 'ready']],
    },
    {
      title: 'opportunistic, not offered',
      options: { tls: 'opportunistic' },
      steps: [[CONNECTED], ['220 hi', EHLO], ['250 mx', 'ready']],
    },
    {
      title: 'opportunistic, refused: goes on in clear (RFC 3207 §4)',
      options: { tls: 'opportunistic' },
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['250-mx\n250 STARTTLS', 'STARTTLS'],
        ['454 no', 'ready'],
      ],
    },
    {
      title: 'require, not offered',
      options: { tls: 'require' },
      steps: [[CONNECTED], ['220 hi', EHLO], ['250 mx', 'close tls']],
    },
    {
      title: 'verify, refused',
      options: { tls: 'verify' },
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['250-mx\n250 STARTTLS', 'STARTTLS'],
        ['454 no', 'close tls'],
      ],
    },
    {
      title: 'HELO when EHLO is refused for good',
      options: {},
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['502 what', 'HELO client.example'],
        ['250-mx\n250 PIPELINING', 'ready'],
        [start('a'), MAIL_A],
      ],
    },
    {
      title: 'HELO refused too',
      options: {},
      steps: [
        [CONNECTED],
        ['220 hi', EHLO],
        ['502 what', 'HELO client.example'],
        ['550 no', 'close refused ehlo'],
      ],
    },
    {
      title: 'EHLO refused for now',
      options: {},
      steps: [[CONNECTED], ['220 hi', EHLO], ['421 busy', 'close refused ehlo']],
    },
    {
      title: 'greeting refused',
      options: {},
      steps: [[CONNECTED], ['554 no', 'close refused greeting']],
    },
    {
      title: 'greeting with another positive code',
      options: {},
      steps: [[CONNECTED], ['250 hi', 'stepDown', 'close protocol greeting']],
    },
    {
      title: 'a reply to EHLO before EHLO was sent',
      options: {},
      steps: [[CONNECTED], ['220 hi\n250 mx', 'stepDown', 'close protocol null']],
    },
  ])('$title', ({ options, steps }) => {
    run(options, steps);
  });
});

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

const GROUP_A = [MAIL_A, 'RCPT TO:<a@example.org>', 'DATA'];
const GROUP_B = [MAIL_A, 'RCPT TO:<b@example.org>', 'DATA'];

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
    expect(session.take().map(actionText)).toEqual(['a: endOfData 250 taken']);
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

const BDAT = ['BDAT 25 LAST', '(content)'];
const ENVELOPE_A = [MAIL_A, 'RCPT TO:<a@example.org>'];
const ENVELOPE_B = [MAIL_A, 'RCPT TO:<b@example.org>'];
const ENVELOPE_C = [MAIL_A, 'RCPT TO:<c@example.org>'];

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
    expect(session.take().map(actionText)).toEqual([
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
