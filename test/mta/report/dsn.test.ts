/** Bounces, as literal text and as Python's email module reads them. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Submission } from '../../../mta/envelope.ts';
import { DsnWriter, type FailedRecipient, type ReturnedMessage } from '../../../mta/report/dsn.ts';
import { ManualClock } from '../../support/clock.ts';
import { requirePeer } from '../../support/peers.ts';

const RECEIVED = Date.UTC(2026, 10, 24, 7, 0, 0);
const NOW = Date.UTC(2026, 10, 24, 7, 40, 0);

const writer = new DsnWriter({
  hostname: 'mta.example.net',
  clock: new ManualClock(0, NOW),
  random: { integer: () => 0xabcdef, fraction: () => 0 },
  domainOf: (address) => (address === 'postmaster' ? null : (address.split('@')[1] ?? '')),
});

const message = (more: Partial<ReturnedMessage> = {}): ReturnedMessage => ({
  message: 123_456_789,
  reversePath: 'sender@example.org',
  receivedAtMs: RECEIVED,
  content: Buffer.from('From: sender@example.org\r\nSubject: hello\r\n\r\nbody\r\n'),
  ...more,
});

const refused = (more: Partial<FailedRecipient> = {}): FailedRecipient => ({
  recipient: { address: 'nobody@example.com' },
  status: '5.1.1',
  text: 'mx1.example.com said: 550 5.1.1 no such user',
  reply: { code: 550, enhanced: '5.1.1', lines: ['no such user'] },
  host: 'mx1.example.com',
  ...more,
});

const expired: FailedRecipient = {
  recipient: { address: 'slow@example.com' },
  status: '5.4.7',
  text: 'Delivery time expired. Last: mx2.example.com: could not connect (ECONNREFUSED)',
  reply: null,
  host: null,
};

function noticeOf(returned: ReturnedMessage, ...failures: readonly FailedRecipient[]): Submission {
  const notice = writer.bounce(returned, failures);
  if (notice === null) throw new Error('no notice');
  return notice;
}

const textOf = ({ content }: Submission): string => Buffer.from(content).toString();

test('reads as it should, line by line', () => {
  const notice = noticeOf(message(), refused(), expired);
  expect(notice).toMatchObject({
    envelope: {
      reversePath: '',
      recipients: [{ index: 0, address: 'sender@example.org', domain: 'example.org' }],
      body: '7bit',
      smtpUtf8: false,
    },
    receivedAtMs: NOW,
    origin: 'dsn',
  });
  expect(textOf(notice).split('\r\n')).toEqual([
    'Date: Tue, 24 Nov 2026 07:40:00 +0000',
    'From: Mail Delivery System <MAILER-DAEMON@mta.example.net>',
    'To: <sender@example.org>',
    'Subject: Undelivered mail returned to sender',
    'Message-ID: <00abcdef00abcdef00abcdef@mta.example.net>',
    'Auto-Submitted: auto-replied',
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status;',
    ' boundary="=_00abcdef00abcdef00abcdef"',
    '',
    'This is a delivery status notification in MIME format.',
    '',
    '--=_00abcdef00abcdef00abcdef',
    'Content-Description: Notification',
    'Content-Type: text/plain; charset=utf-8',
    'Content-Transfer-Encoding: 7bit',
    '',
    'This is the mail system at mta.example.net.',
    '',
    'The message that it took from you on Tue, 24 Nov 2026 07:00:00 +0000 could',
    'not be delivered to the following recipients. It will not try again.',
    '',
    '<nobody@example.com>',
    '    mx1.example.com said: 550 5.1.1 no such user',
    '',
    '<slow@example.com>',
    '    Delivery time expired. Last: mx2.example.com: could not connect',
    '    (ECONNREFUSED)',
    '',
    '--=_00abcdef00abcdef00abcdef',
    'Content-Description: Delivery report',
    'Content-Type: message/delivery-status',
    'Content-Transfer-Encoding: 7bit',
    '',
    'Reporting-MTA: dns; mta.example.net',
    'X-Postilion-Message-Id: 000003nqk8n',
    'Arrival-Date: Tue, 24 Nov 2026 07:00:00 +0000',
    '',
    'Final-Recipient: rfc822; nobody@example.com',
    'Action: failed',
    'Status: 5.1.1',
    'Remote-MTA: dns; mx1.example.com',
    'Diagnostic-Code: smtp; 550 5.1.1 no such user',
    'Last-Attempt-Date: Tue, 24 Nov 2026 07:40:00 +0000',
    '',
    'Final-Recipient: rfc822; slow@example.com',
    'Action: failed',
    'Status: 5.4.7',
    'Diagnostic-Code: x-postilion; Delivery time expired. Last: mx2.example.com:',
    ' could not connect (ECONNREFUSED)',
    'Last-Attempt-Date: Tue, 24 Nov 2026 07:40:00 +0000',
    '',
    '--=_00abcdef00abcdef00abcdef',
    'Content-Description: Header of the message',
    'Content-Type: text/rfc822-headers',
    'Content-Transfer-Encoding: 7bit',
    '',
    'From: sender@example.org',
    'Subject: hello',
    '',
    '--=_00abcdef00abcdef00abcdef--',
    '',
  ]);
});

describe('no notice', () => {
  test.each([
    ['for the null reverse-path', { reversePath: '' }, [refused()]],
    ['for a reverse-path that leads nowhere', { reversePath: 'postmaster' }, [refused()]],
    ['when nothing failed', {}, []],
  ])('%s', (_, more, failures) => {
    expect(writer.bounce(message(more), failures)).toBeNull();
  });
});

test('a status that is none, or not permanent, becomes 5.0.0', () => {
  for (const status of ['4.2.2', '5', '', '5.1.1\r\nX: y']) {
    expect(textOf(noticeOf(message(), refused({ status })))).toContain('\r\nStatus: 5.0.0\r\n');
  }
});

test('the original header is bounded, at the end of a line', () => {
  const line = `X-Long: ${'x'.repeat(62)}\r\n`;
  const content = Buffer.from(`${line.repeat(2_000)}\r\nbody\r\n`);
  const [, , , part] = textOf(noticeOf(message({ content }), refused())).split('--=_');
  const header = part!.split('\r\n\r\n')[1]!;
  const octets = Math.floor(65_536 / line.length) * line.length;
  expect(`${header}\r\n`).toBe(line.repeat(octets / line.length));
});

test.each([
  ['no header at all', '\r\nbody\r\n', ''],
  ['a header and nothing else', 'Subject: x\r\n', 'Subject: x\r\n'],
  ['one line without end', 'x'.repeat(70_000), ''],
])('%s', (_, content, header) => {
  const text = textOf(noticeOf(message({ content: Buffer.from(content) }), refused()));
  expect(text).toContain(
    `text/rfc822-headers\r\nContent-Transfer-Encoding: 7bit\r\n\r\n${header}\r\n--`,
  );
});

test('whatever peers and addresses say, no field is added and no line is over-long', () => {
  const names = (text: string): string[] =>
    text
      .split('\r\n')
      .filter((line) => !line.startsWith(' '))
      .map((line) => line.split(':')[0]!);
  const expected = names(textOf(noticeOf(message(), refused())).split('\r\n\r\n')[0]!);
  const anyText = fc.string({
    unit: fc.constantFrom(
      '\r',
      '\n',
      '\0',
      ' ',
      '\u2028',
      'é',
      '😀',
      ':',
      '-',
      'a',
      'bcc: x@y\r\n',
      'x'.repeat(1_200),
    ),
  });
  fc.assert(
    fc.property(anyText, anyText, anyText, fc.boolean(), (address, said, host, international) => {
      const reversePath = international ? `${address}é@example.org` : 'sender@example.org';
      const failure = refused({
        recipient: { address: `${address}@example.com` },
        text: said,
        host,
        reply: { code: 550, enhanced: null, lines: [said, said] },
      });
      const whole = textOf(noticeOf(message({ reversePath }), failure));
      expect(names(whole.split('\r\n\r\n')[0]!)).toEqual(expected);
      for (const line of whole.split('\r\n')) {
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(998);
        expect(line).not.toMatch(/[\r\n\0]/);
      }
      if (!international) expect(whole).toMatch(/^[\x20-\x7e\r\n]*$/);
      const report = whole.split('--=_')[2]!.split('\r\n\r\n');
      expect(names(report[2]!)).toEqual([
        'Final-Recipient',
        'Action',
        'Status',
        'Remote-MTA',
        'Diagnostic-Code',
        'Last-Attempt-Date',
      ]);
    }),
  );
});

interface Told {
  readonly type: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly defects: readonly string[];
  readonly parts?: readonly Told[];
  readonly text?: string;
}

function parse(notice: Submission): Told {
  const script = fileURLToPath(new URL('parse.py', import.meta.url));
  const run = spawnSync('python3', [script], {
    input: Buffer.from(notice.content),
    encoding: 'utf8',
  });
  if (run.status !== 0) throw new Error(run.stderr);
  return JSON.parse(run.stdout) as Told;
}

const fieldsOf = (told: Told): Record<string, string> => Object.fromEntries(told.headers);

requirePeer('python3')('as the email module of Python reads it', () => {
  test('a multipart/report of three parts, without defects', () => {
    const told = parse(noticeOf(message(), refused(), expired));
    expect(told).toMatchObject({ type: 'multipart/report', defects: [] });
    expect(fieldsOf(told)['Content-Type']).toContain('report-type="delivery-status"');
    const [human, report, original] = told.parts!;
    expect(human!.type).toBe('text/plain');
    expect(human!.text).toContain('<nobody@example.com>');
    expect(report!.type).toBe('message/delivery-status');
    expect(report!.parts).toHaveLength(3);
    expect(fieldsOf(report!.parts![1]!)).toMatchObject({
      'Final-Recipient': 'rfc822; nobody@example.com',
      Action: 'failed',
      Status: '5.1.1',
    });
    expect(fieldsOf(report!.parts![2]!)['Diagnostic-Code']).toBe(
      'x-postilion; Delivery time expired. Last: mx2.example.com: could not connect (ECONNREFUSED)',
    );
    expect(original).toMatchObject({
      type: 'text/rfc822-headers',
      text: 'From: sender@example.org\r\nSubject: hello\r\n',
    });
  });

  test('an international recipient in an ASCII notice (RFC 6533 §3)', () => {
    const content = Buffer.from('Subject: Grüße\r\n\r\nbody\r\n');
    const notice = noticeOf(
      message({ content }),
      refused({ recipient: { address: 'jürgen+x@example.com' }, text: 'kein Benutzer „jürgen“' }),
    );
    expect(notice.envelope).toMatchObject({ smtpUtf8: false, body: '7bit' });
    expect(textOf(notice)).toMatch(/^[\x20-\x7e\r\n]*$/);
    const told = parse(notice);
    const [human, report, original] = told.parts!;
    expect(human!.text).toContain('<jürgen+x@example.com>\r\n    kein Benutzer „jürgen“');
    expect(report!.type).toBe('message/delivery-status');
    expect(fieldsOf(report!.parts![1]!)['Final-Recipient']).toBe(
      'utf-8; j\\x{FC}rgen\\x{2B}x@example.com',
    );
    expect(original!.type).toBe('message/global-headers');
    expect(textOf(notice)).toContain(content.subarray(0, 18).toString('base64'));
  });

  test('an international reverse-path gets an international notice', () => {
    const notice = noticeOf(
      message({ reversePath: 'jürgen@example.org' }),
      refused({
        recipient: { address: '用户@example.com' },
        reply: { code: 550, enhanced: null, lines: ['没有用户'] },
      }),
    );
    expect(notice.envelope).toMatchObject({ smtpUtf8: true, body: '8bitmime' });
    const told = parse(notice);
    expect(fieldsOf(told).To).toBe('jürgen@example.org');
    expect(told.parts![1]!.type).toBe('message/global-delivery-status');
    const text = textOf(notice);
    expect(text).toContain('\r\nFinal-Recipient: utf-8; 用户@example.com\r\n');
    expect(text).toContain('\r\nDiagnostic-Code: smtp; 550 没有用户\r\n');
  });

  test('a header in no known charset is still returned', () => {
    const content = Buffer.from([
      ...Buffer.from('Subject: Gr'),
      0xfc,
      0xdf,
      0x65,
      0x0d,
      0x0a,
      0x0d,
      0x0a,
    ]);
    const told = parse(noticeOf(message({ content }), refused()));
    expect(told.parts![2]).toMatchObject({
      type: 'text/rfc822-headers',
      text: 'Subject: Gr��e\r\n',
    });
  });
});
