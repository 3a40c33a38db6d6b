/** What replies condemn, as literal tables from RFC 5321, RFC 7504 and the practice of Postfix and Exim. */
import { describe, expect, test } from 'vitest';
import {
  type Facts,
  isTaken,
  judge,
  milder,
  type Outcome,
  type Phase,
  type Reach,
  type Reason,
} from '../../mta/disposition.ts';
import type { Reply } from '../../mta/smtp/reply.ts';

/** "450 4.7.1" as a reply; "none" is the want of one. */
function replyOf(text: string): Reply | null {
  if (text === 'none') return null;
  const [code, enhanced = null] = text.split(' ');
  return { code: Number(code), enhanced, lines: ['as the peer said'] };
}

const factsOf = (phase: Phase, text: string, more: Partial<Facts> = {}): Facts => ({
  phase,
  reply: replyOf(text),
  maybeDelivered: false,
  ...more,
});

type Row = [phase: Phase, reply: string, verdict: string, reach: Reach, reason: Reason];

const verdictOf = (outcome: Outcome): string =>
  outcome.kind === 'delivered' ? 'delivered' : `${outcome.kind} ${outcome.scope}`;

// biome-ignore format: a table reads by its columns
const TABLE: readonly Row[] = [
  // Nobody there.
  ['connect',   'none',       'deferred destination', 'host', 'connect'],
  ['starttls',  'none',       'deferred destination', 'host', 'tls'],
  ['lost',      'none',       'deferred destination', 'host', 'connection-lost'],

  // Before MAIL: this host, hardly ever for good.
  ['greeting',  '421',        'deferred destination', 'host', 'host-unavailable'],
  ['greeting',  '421 4.3.2',  'deferred destination', 'host', 'host-unavailable'],
  ['greeting',  '421 4.7.0',  'deferred destination', 'site', 'throttled'],
  ['greeting',  '450 4.7.1',  'deferred destination', 'site', 'throttled'],
  ['greeting',  '451 4.7.650', 'deferred destination', 'site', 'throttled'],
  ['greeting',  '450',        'deferred destination', 'host', 'host-unavailable'],
  ['greeting',  '554',        'deferred destination', 'host', 'host-refused'],
  ['greeting',  '554 5.7.1',  'deferred destination', 'host', 'host-refused'],
  ['greeting',  '521',        'bounced destination',  'host', 'no-mail-service'],
  ['greeting',  '521 5.3.2',  'bounced destination',  'host', 'no-mail-service'],
  ['greeting',  '521 4.3.2',  'deferred destination', 'host', 'host-unavailable'],
  ['ehlo',      '556',        'bounced destination',  'host', 'no-mail-service'],
  ['ehlo',      '502',        'deferred destination', 'host', 'host-refused'],
  ['ehlo',      '550 5.7.1',  'deferred destination', 'host', 'host-refused'],
  ['ehlo',      '421',        'deferred destination', 'host', 'host-unavailable'],
  ['starttls',  '454 4.7.0',  'deferred destination', 'site', 'throttled'],
  ['starttls',  '454',        'deferred destination', 'host', 'tls'],
  ['starttls',  '501',        'deferred destination', 'host', 'tls'],

  // MAIL: the transaction, or the host when it speaks of its own state.
  ['mail',      '550 5.7.1',  'bounced transaction',  'none', 'refused'],
  ['mail',      '553',        'bounced transaction',  'none', 'refused'],
  ['mail',      '552 5.3.4',  'bounced transaction',  'none', 'refused'],
  ['mail',      '555',        'bounced transaction',  'none', 'refused'],
  ['mail',      '450 4.1.8',  'deferred transaction', 'none', 'deferred-by-peer'],
  ['mail',      '451',        'deferred transaction', 'none', 'deferred-by-peer'],
  ['mail',      '452 4.3.1',  'deferred destination', 'host', 'host-unavailable'],
  ['mail',      '452 4.3.4',  'deferred transaction', 'none', 'deferred-by-peer'],
  ['mail',      '421 4.4.2',  'deferred destination', 'host', 'host-unavailable'],
  ['mail',      '550 4.7.1',  'deferred transaction', 'none', 'deferred-by-peer'],

  // RCPT: the recipient.
  ['rcpt',      '550',        'bounced recipient',    'none', 'refused'],
  ['rcpt',      '550 5.1.1',  'bounced recipient',    'none', 'refused'],
  ['rcpt',      '551',        'bounced recipient',    'none', 'refused'],
  ['rcpt',      '553 5.1.3',  'bounced recipient',    'none', 'refused'],
  ['rcpt',      '554 5.7.1',  'bounced recipient',    'none', 'refused'],
  ['rcpt',      '556 5.1.10', 'bounced recipient',    'none', 'refused'],
  ['rcpt',      '552 5.2.2',  'bounced recipient',    'none', 'refused'],
  ['rcpt',      '599',        'bounced recipient',    'none', 'refused'],
  ['rcpt',      '552',        'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '450',        'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '450 4.2.1',  'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '452 4.2.2',  'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '499',        'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '450 4.7.1',  'deferred recipient',   'none', 'greylisted'],
  ['rcpt',      '451 4.7.1',  'deferred recipient',   'none', 'greylisted'],
  ['rcpt',      '450 4.2.0',  'deferred recipient',   'none', 'greylisted'],
  ['rcpt',      '421 4.7.0',  'deferred destination', 'site', 'throttled'],

  // Code and enhanced code disagree: doubt defers.
  ['rcpt',      '550 4.7.1',  'deferred recipient',   'none', 'greylisted'],
  ['rcpt',      '550 4.1.1',  'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '450 5.1.1',  'deferred recipient',   'none', 'deferred-by-peer'],
  ['rcpt',      '550 2.1.5',  'bounced recipient',    'none', 'refused'],

  // DATA and the final dot: the transaction.
  ['data',      '451',        'deferred transaction', 'none', 'deferred-by-peer'],
  ['data',      '554 5.5.1',  'bounced transaction',  'none', 'refused'],
  ['data',      '421',        'deferred destination', 'host', 'host-unavailable'],
  ['endOfData', '250',        'delivered',            'none', 'delivered'],
  ['endOfData', '250 2.0.0',  'delivered',            'none', 'delivered'],
  ['endOfData', '299',        'delivered',            'none', 'delivered'],
  ['endOfData', '250 4.0.0',  'delivered',            'none', 'delivered'],
  ['endOfData', '451 4.7.1',  'deferred transaction', 'none', 'greylisted'],
  ['endOfData', '452 4.3.1',  'deferred transaction', 'none', 'deferred-by-peer'],
  ['endOfData', '550 5.7.1',  'bounced transaction',  'none', 'refused'],
  ['endOfData', '554',        'bounced transaction',  'none', 'refused'],
  ['endOfData', '421',        'deferred destination', 'host', 'host-unavailable'],

  // Codes that have no place here.
  ['data',      '250',        'deferred destination', 'host', 'out-of-step'],
  ['rcpt',      '354',        'deferred destination', 'host', 'out-of-step'],
  ['endOfData', '354',        'deferred destination', 'host', 'out-of-step'],
  ['mail',      '199',        'deferred destination', 'host', 'out-of-step'],
  ['rcpt',      '650 5.1.1',  'deferred destination', 'host', 'out-of-step'],
];

describe('judge', () => {
  test.each(TABLE)('%s: %s is %s (%s, %s)', (phase, text, verdict, reach, reason) => {
    expect(isTaken(factsOf(phase, text))).toBe(verdict === 'delivered');
    const judgement = judge(factsOf(phase, text));
    expect(verdictOf(judgement.outcome)).toBe(verdict);
    expect(judgement).toMatchObject({ reach, reason, retryAtOnce: false });
    expect(judgement.outcome.reply).toEqual(replyOf(text));
  });

  test.each(['452', '452 4.5.3', '450 4.5.3', '552', '552 5.5.3', '550 5.5.3'])(
    'RCPT %s after an accepted recipient asks for another transaction, not for patience',
    (text) => {
      const judgement = judge(factsOf('rcpt', text, { recipientsAccepted: 99 }));
      expect(verdictOf(judgement.outcome)).toBe('deferred recipient');
      expect(judgement).toMatchObject({ retryAtOnce: true, reason: 'too-many-recipients' });
    },
  );

  test.each(['452', '452 4.5.3', '552'])(
    'RCPT %s to the first recipient waits, lest it loop',
    (text) => {
      const judgement = judge(factsOf('rcpt', text, { recipientsAccepted: 0 }));
      expect(judgement).toMatchObject({ retryAtOnce: false, reason: 'deferred-by-peer' });
    },
  );

  test('says of the code of a last reply what isTaken() says', () => {
    for (let code = 190; code < 700; code += 1) {
      const facts = factsOf('endOfData', `${code} 2.0.0`);
      expect(isTaken(facts)).toBe(judge(facts).outcome.kind === 'delivered');
    }
  });

  test('what we did not ask for want of room in the transaction goes in the next one', () => {
    const judgement = judge(factsOf('rcpt', '452 4.5.3', { recipientsAccepted: 0, local: true }));
    expect(judgement).toMatchObject({ retryAtOnce: true, reason: 'too-many-recipients' });
  });

  test('a connection lost after the final dot may have delivered', () => {
    const { outcome, reason } = judge(factsOf('lost', 'none', { maybeDelivered: true }));
    expect(outcome).toEqual({
      kind: 'deferred',
      scope: 'destination',
      reply: null,
      maybeDelivered: true,
    });
    expect(reason).toBe('maybe-delivered');
  });

  test('a reply to the final dot leaves no doubt', () => {
    const { outcome } = judge(factsOf('endOfData', '451', { maybeDelivered: true }));
    expect(outcome).toMatchObject({ kind: 'deferred', maybeDelivered: false });
  });
});

describe('milder', () => {
  const bounced: Outcome = { kind: 'bounced', scope: 'destination', reply: replyOf('521') };
  const deferred: Outcome = {
    kind: 'deferred',
    scope: 'destination',
    reply: null,
    maybeDelivered: false,
  };
  const doubtful: Outcome = { ...deferred, maybeDelivered: true };
  test.each([
    [bounced, bounced, bounced],
    [bounced, deferred, deferred],
    [deferred, doubtful, doubtful],
    [bounced, doubtful, doubtful],
  ])('%o and %o', (one, other, expected) => {
    expect(milder(one, other)).toEqual(expected);
    expect(milder(other, one)).toEqual(expected);
  });
});
