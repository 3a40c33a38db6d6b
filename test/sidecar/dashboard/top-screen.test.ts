/** `top`, one screen of it, at the widths that terminals have. */
import { expect, test } from 'vitest';
import { topScreen } from '../../../sidecar/commands/top-screen.ts';
import type { Frame } from '../../../sidecar/dashboard/hub.ts';
import { judge } from '../../../sidecar/dashboard/verdicts.ts';
import { SCRIPT } from '../support/programs.ts';
import { DNS_PART, DNS_ROW, MAIL_PART, MAIL_ROW, NOW_MS, snapshotOf } from './fixture.ts';

const LINE = {
  domain: 'gmail.com.',
  lookups: 400,
  lookupsOver: 0,
  packets: 2,
  failures: 1,
  stale: 0,
  upstream: null,
  rttMs: null,
};
const HOLD = { on: 'site', text: 'mx takes no mail now: refused', sinceMs: NOW_MS, untilMs: null };
const SITE = {
  id: 'i',
  alias: 'mx.example~abcd',
  domains: 1,
  buffered: 0,
  connections: 2,
  hold: HOLD,
};

const FRAME: Frame = {
  tick: {
    atMs: NOW_MS,
    verdicts: judge(snapshotOf({})),
    dns: { row: DNS_ROW, lately: DNS_ROW },
    mail: { row: MAIL_ROW, lately: { ...MAIL_ROW, causes: { tls: 0.5 } } },
  },
  state: {
    self: 'mta',
    hostname: 'mta.example.net',
    actions: false,
    dns: { ...DNS_PART, busiest: [LINE] },
    dnsAbsent: null,
    mail: {
      ...MAIL_PART,
      sites: [SITE],
      loads: [{ alias: 'mx.example~abcd', recipients: 12, oldestSeconds: 70 }],
    },
    mailAbsent: null,
  },
};

test('eighty columns', () => {
  expect(topScreen(FRAME, { columns: 80, rows: 40, colour: false })).toEqual([
    'Postilion 0.1.0  mta.example.net  mta + resolver  up 2 h',
    '✓ Mail flows: 40 delivered a second, 3 wait, the oldest for 60 s.',
    '✓ DNS is within budget: 3 of 100 packets/s (3 %); 97 % of answers cost none.',
    '✓ Nothing is wrong.',
    '',
    'Mail  40/s delivered   3 waiting   0 in delivery   0/s put off   0/s bounced',
    '      0 connections   0/s made   put off: tls 0.5/s',
    'DNS   100/s lookups   97 % from memory   3 of 100 packets/s upstream',
    '      █████████████████████████████░   hot 97 %   upstream 3 %',
    '',
    'SITE             WAIT  OLDEST  CONN  STATE',
    'mx.example~abcd    12    70 s     2  mx takes no mail now: refused',
    '',
    'DOMAIN      LOOKUPS  PACKETS  FAILED  STALE',
    'gmail.com.      400        2       1      0',
    '',
    'WAITS           AGE  TRIES  RECIPIENT                           WHY',
    `1hzk3v8q2m0.0  60 s      2  ${SCRIPT}@example…  450 ·[31m${SCRIPT.slice(0, 6)}…`,
  ]);
});

test.each([20, 33, 40, 64, 80, 132, 200])('no line is wider than %i columns', (columns) => {
  for (const rows of [10, 24, 60]) {
    const lines = topScreen(FRAME, { columns, rows, colour: false });
    expect(lines.length).toBeLessThanOrEqual(rows);
    for (const line of lines) expect([...line].length, line).toBeLessThanOrEqual(columns);
  }
});

test('a narrow terminal keeps what matters', () => {
  const lines = topScreen(FRAME, { columns: 40, rows: 40, colour: false });
  expect(lines).toContain('DOMAIN      LOOKUPS  FAILED');
  expect(lines).toContain('Mail  40/s delivered   3 waiting');
});

test('colours are for terminals, and strangers cannot write them', () => {
  const plain = topScreen(FRAME, { columns: 200, rows: 60, colour: false }).join('\n');
  expect(plain).not.toContain('\u001b');
  const painted = topScreen(FRAME, { columns: 200, rows: 60, colour: true }).join('\n');
  expect(painted).toContain('\u001b[32m✓\u001b[0m');
  expect(painted).not.toContain('\u001b[31m<');
});

test.each(['mail', 'dns'] as const)('without %s', (which) => {
  const frame = {
    tick: { ...FRAME.tick, [which]: null, verdicts: judge(snapshotOf({ [which]: null })) },
    state: { ...FRAME.state, [which]: null },
  };
  const text = topScreen(frame, { columns: 80, rows: 40, colour: false }).join('\n');
  expect(text).toContain(which === 'mail' ? 'No mta runs beside' : 'No resolver runs beside');
  expect(text).toContain(which === 'mail' ? 'DOMAIN' : 'SITE');
  expect(text).not.toContain(which === 'mail' ? 'SITE' : 'DOMAIN');
});
