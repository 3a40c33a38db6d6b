/** The sentences at the top, by what is the case. */
import { describe, expect, test } from 'vitest';
import { judge } from '../../../sidecar/dashboard/verdicts.ts';
import { DNS_ROW, type Given, NOW_MS, snapshotOf } from './fixture.ts';

const held = (on: string, text: string) => ({
  on,
  text,
  sinceMs: NOW_MS - 1_000,
  untilMs: NOW_MS + 90_000,
});

const SITE = { id: 'i', alias: 'mx.example~abcd', domains: 1, buffered: 0, connections: 0 };

describe('is mail flowing', () => {
  const CASES: readonly (readonly [string, Given, string, string, RegExp])[] = [
    [
      'it flows',
      {},
      'good',
      'Mail flows: 40 delivered a second, 3 wait, the oldest for 60 s.',
      /^Nothing to do/,
    ],
    [
      'nothing waits',
      { mail: { queued: 0, waiting: [] }, mailRow: { delivered: 0 } },
      'good',
      'Nothing waits: all mail is out.',
      /^Nothing to do/,
    ],
    [
      'some is under way',
      { mail: { leased: 2 }, mailRow: { delivered: 0 } },
      'good',
      '2 recipients under way, 3 wait.',
      /^Nothing to do/,
    ],
    [
      'all waits for a retry',
      {
        mail: {
          waiting: [
            {
              ...snapshotOf({}).mail.part!.waiting[0]!,
              wait: held('retry', 'mx said: 450 later'),
            },
          ],
        },
        mailRow: { delivered: 0 },
      },
      'good',
      '3 recipients wait for another try; the next try is in 90 s.',
      /^Longest waits: mx said: 450 later\.$/,
    ],
    [
      'most is put off',
      { mailRow: { delivered: 2, deferred: 9, causes: { connect: 2, throttled: 7 } } },
      'warn',
      'Mail flows, but most attempts are put off: 2 delivered and 9 put off a second, mostly because hosts ask for fewer messages.',
      /slow down by themselves/,
    ],
    [
      'all is put off',
      { mailRow: { delivered: 0, deferred: 9, causes: { connect: 9 } } },
      'bad',
      'Mail is tried and put off: none delivered and 9 put off a second, mostly because hosts cannot be reached.',
      /postilion doctor/,
    ],
    [
      'delivery is suspended',
      { mail: { suspendedAtMs: NOW_MS - 300_000 } },
      'bad',
      'Delivery is suspended for 5 min; 3 recipients wait.',
      /^Resume delivery/,
    ],
    [
      'no mail is taken',
      { mail: { unready: 'the disk is full' } },
      'bad',
      'No mail is taken: the disk is full.',
      /safe in the spool/,
    ],
    [
      'draining',
      { mail: { draining: true, unready: 'draining: no mail is taken' } },
      'warn',
      'Draining: no mail is taken, 3 recipients left to deliver.',
      /a restart takes mail again/,
    ],
    ['the first second', { mailRow: null }, 'none', 'Mail: measuring…', /second/],
    [
      'the resolver runs alone',
      { mail: null },
      'none',
      'No mta runs beside this one.',
      /postilion up/,
    ],
    [
      'the mta is down that should be up',
      { mail: null, expected: true },
      'bad',
      'The mta does not answer: nothing answers at 127.0.0.1:1.',
      /log/,
    ],
  ];
  test.each(CASES)('%s', (_what, given, level, text, next) => {
    const { mail } = judge(snapshotOf(given));
    expect([mail.level, mail.text]).toEqual([level, text]);
    expect(mail.next).toMatch(next);
  });
});

describe('is DNS within budget', () => {
  const CASES: readonly (readonly [string, Given, string, string])[] = [
    [
      'within',
      {},
      'good',
      'DNS is within budget: 3 of 100 packets/s (3 %); 97 % of answers cost none.',
    ],
    [
      'no budget',
      { dnsRow: { budget: null } },
      'good',
      'No DNS budget is set: 3 packets a second go upstream; 97 % of answers cost none.',
    ],
    [
      'nobody asks',
      { dnsRow: { answers: { ...DNS_ROW.answers, hot: 0, upstream: 0 }, sent: 0, spent: 0 } },
      'good',
      'DNS is within budget: 0 of 100 packets/s (0 %); nobody asks just now.',
    ],
    [
      'nearly spent',
      { dnsRow: { spent: 85 } },
      'warn',
      'The DNS budget is nearly spent: 85 of 100 packets/s (85 %).',
    ],
    [
      'spent',
      { dnsRow: { spent: 100, waiting: 1, delayed: 4 } },
      'warn',
      'The DNS budget of 100 packets/s is spent: 1 question waits for a turn.',
    ],
    [
      'a burst',
      { dnsRow: { spent: 5, waiting: 2, delayed: 4 } },
      'good',
      'DNS is within budget: 5 of 100 packets/s (5 %); 97 % of answers cost none. A burst was spread over a moment.',
    ],
    [
      'spent a moment ago',
      { dnsRow: { spent: 90, waiting: 0, delayed: 4 } },
      'warn',
      'The DNS budget of 100 packets/s is spent: 4 packets a second had to wait for a turn.',
    ],
    [
      'over',
      { dnsRow: { spent: 100, waiting: 40, refused: 12 } },
      'bad',
      'The DNS budget of 100 packets/s is spent: 12 questions a second fail for want of it.',
    ],
    [
      'no upstream',
      { dns: { unready: 'no upstream answers (192.0.2.53:53: timed out)' } },
      'bad',
      'DNS: no upstream answers (192.0.2.53:53: timed out).',
    ],
    ['the mta runs alone', { dns: null }, 'none', 'No resolver runs beside this one.'],
    [
      'the resolver is down that should be up',
      { dns: null, expected: true },
      'bad',
      'The resolver does not answer: nothing answers at 127.0.0.1:1.',
    ],
    ['the first second', { dnsRow: null }, 'none', 'DNS: measuring…'],
  ];
  test.each(CASES)('%s', (_what, given, level, text) => {
    const { dns } = judge(snapshotOf(given));
    expect([dns.level, dns.text]).toEqual([level, text]);
    expect(dns.next).not.toBe('');
  });
});

describe('what is wrong', () => {
  const CASES: readonly (readonly [string, Given, readonly string[]])[] = [
    ['nothing', {}, []],
    ['a program alone', { dns: null }, []],
    [
      'one of several upstreams',
      {
        dns: {
          upstreams: [
            { address: 'a', up: true, rttMs: 1, failuresInSuccession: 0, lastFailure: null },
            {
              address: 'b',
              up: false,
              rttMs: 1,
              failuresInSuccession: 3,
              lastFailure: 'timed out',
            },
          ],
        },
      },
      ['warn Upstream b does not answer: timed out'],
    ],
    [
      'stale answers and failures',
      { dnsRow: { answers: { ...DNS_ROW.answers, stale: 4, failure: 2 } } },
      [
        'warn 4 answers a second are past their time, for want of an upstream that answers',
        'warn 2 lookups a second fail',
      ],
    ],
    [
      'the worst comes first, and once',
      {
        mail: {
          unready: 'the disk is full',
          troubles: ['the disk is full', 'a webhook is behind'],
          sites: [{ ...SITE, hold: held('site', 'mx takes no mail now: <b>refused</b>') }],
        },
      },
      [
        'bad The mta is not ready: the disk is full',
        'bad a webhook is behind',
        'warn 1 site held: mx takes no mail now: <b>refused</b>',
      ],
    ],
    [
      'DNS holds domains',
      { mail: { heldDomains: [{ domain: 'x.example', wait: held('dns', 'SERVFAIL') }] } },
      ['warn 1 domain waits for DNS: x.example: SERVFAIL'],
    ],
    [
      'a site was slowed lately, another long ago',
      {
        mail: {
          changes: [
            { atMs: NOW_MS - 60_000, site: 'mx~1', kind: 'slow', text: '421 slow down' },
            { atMs: NOW_MS - 6_000_000, site: 'mx~2', kind: 'slow', text: 'long ago' },
          ],
        },
      },
      ['warn mx~1 was slowed down 60 s ago: 421 slow down'],
    ],
    [
      'operators hold mail back',
      { mail: { suspensions: [{ scope: 'domain', name: 'x.example', sinceMs: NOW_MS - 1_000 }] } },
      ['warn 1 suspension by operators: domain x.example, for 1 s'],
    ],
    [
      'old mail',
      {
        mail: {
          waiting: [
            {
              ...snapshotOf({}).mail.part!.waiting[0]!,
              receivedAtMs: NOW_MS - 18_000_000,
              wait: held('retry', '450 later'),
            },
          ],
        },
      },
      ['warn The oldest message waits for 5 h: 450 later'],
    ],
  ];
  test.each(CASES)('%s', (_what, given, expected) => {
    const { wrong } = judge(snapshotOf(given));
    expect(wrong.troubles.map(({ level, text }) => `${level} ${text}`)).toEqual(expected);
    for (const { next } of wrong.troubles) expect(next).not.toBe('');
  });

  test('the sentence is the worst of them, and how many more there are', () => {
    const troubles = ['one thing', 'another'];
    expect(judge(snapshotOf({ mail: { troubles } })).wrong).toMatchObject({
      level: 'bad',
      text: 'one thing. And 1 more thing.',
    });
    expect(judge(snapshotOf({})).wrong).toMatchObject({
      level: 'good',
      text: 'Nothing is wrong.',
      next: 'Nothing to do.',
    });
  });
});
