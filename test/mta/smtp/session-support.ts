/** Timetables for the machine alone: what comes in, what goes out. */
import { expect } from 'vitest';
import { LADDER, type Manners } from '../../../mta/smtp/manners.ts';
import type { Action, SessionOptions } from '../../../mta/smtp/phases.ts';
import { ReplyParser } from '../../../mta/smtp/reply.ts';
import { Session } from '../../../mta/smtp/session.ts';
import type { CloseCause } from '../../../mta/smtp/transaction.ts';
import { factText, type Letter, letter } from './support.ts';

export const [WINDOW, OVERLAP, PIPELINED, LOCKSTEP] = LADDER as readonly [
  Manners,
  Manners,
  Manners,
  Manners,
];

/** A line for each command as sent and each other action in words. */
export const actionLines = (actions: readonly Action<Letter>[]): string[] =>
  actions.flatMap((action) => actionText(action).split('\r\n'));

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
export type Input =
  | string
  | { readonly start: Letter }
  | { readonly event: 'connected' | 'secured' | 'quit' }
  | { readonly lost: CloseCause; readonly contentsUnsent?: number };
export type Step = readonly [input: Input, ...actions: readonly string[]];

export const CONNECTED: Input = { event: 'connected' };
export const SECURED: Input = { event: 'secured' };
export const QUIT: Input = { event: 'quit' };
export const EHLO = 'EHLO client.example';
export const start = (name: string, ...recipients: readonly string[]): Input => ({
  start: letter(name, recipients.length === 0 ? {} : { recipients }),
});
export const CLOSED: CloseCause = { kind: 'closed', phase: null, code: null };

export function put(session: Session<Letter>, input: Input): void {
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

export function run(options: Partial<SessionOptions>, steps: readonly Step[]): Session<Letter> {
  const session = new Session<Letter>({
    clientName: 'client.example',
    tls: 'none',
    manners: OVERLAP,
    ...options,
  });
  for (const [input, ...actions] of steps) {
    put(session, input);
    expect(actionLines(session.take()), JSON.stringify(input)).toEqual(actions);
  }
  return session;
}

/** Until ready, in clear. */
export const ready = (...keywords: readonly string[]): Step[] => [
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

export const MAIL_A = 'MAIL FROM:<from@example.net>';
export const ENVELOPE_A = [MAIL_A, 'RCPT TO:<a@example.org>'];
export const ENVELOPE_B = [MAIL_A, 'RCPT TO:<b@example.org>'];
export const ENVELOPE_C = [MAIL_A, 'RCPT TO:<c@example.org>'];
export const GROUP_A = [...ENVELOPE_A, 'DATA'];
export const GROUP_B = [...ENVELOPE_B, 'DATA'];
export const BDAT = ['BDAT 25 LAST', '(content)'];
