/** Reports as hosts write them: each sample whole, cut short at every octet, and with its line ends changed. */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { classify } from '../../../../mta/report/classify.ts';
import { type InboundReport, readReport } from '../../../../mta/report/inbound/report.ts';

const sample = (name: string): Buffer =>
  readFileSync(new URL(`../../../corpus/feedback/${name}.eml`, import.meta.url));

const original = (number: number, to: string, more: object = {}) => ({
  messageId: `<november-${number}@sender.example>`,
  reversePath: 'list@sender.example',
  subject: 'November',
  recipients: [to],
  ...more,
});

const SAMPLES: Record<string, unknown> = {
  postfix: {
    kind: 'delivery',
    delivery: {
      reportingMta: 'mx.remote.example',
      envelopeId: null,
      arrivedAtMs: Date.UTC(2026, 10, 24, 9, 14, 1),
      recipients: [
        {
          originalRecipient: 'bob@remote.example',
          finalRecipient: 'bob@remote.example',
          action: 'failed',
          status: '5.1.1',
          remoteMta: 'store.remote.example',
          reply: {
            code: 550,
            enhanced: '5.1.1',
            lines: [
              '<bob@remote.example>: Recipient address rejected: User unknown in virtual mailbox table',
            ],
          },
          diagnostic:
            '550 5.1.1 <bob@remote.example>: Recipient address rejected: User unknown in virtual mailbox table',
        },
      ],
    },
    original: original(1, 'bob@remote.example'),
  },
  exim: {
    kind: 'delivery',
    delivery: {
      reportingMta: 'exim.remote.example',
      envelopeId: null,
      arrivedAtMs: null,
      recipients: [
        {
          originalRecipient: null,
          finalRecipient: 'carol@remote.example',
          action: 'failed',
          status: '5.0.0',
          remoteMta: 'store.remote.example',
          reply: { code: 552, enhanced: '5.2.2', lines: ['mailbox is full'] },
          diagnostic: '552 5.2.2 mailbox is full',
        },
      ],
    },
    original: original(2, 'carol@remote.example'),
  },
  exchange: {
    kind: 'delivery',
    delivery: {
      reportingMta: 'AB1PR01MB0001.corp.example',
      recipients: [
        {
          finalRecipient: 'dave@corp.example',
          action: 'failed',
          status: '5.1.10',
          remoteMta: null,
          reply: { code: 550, enhanced: '5.1.10' },
        },
      ],
    },
    original: original(3, 'dave@corp.example'),
  },
  gmail: {
    kind: 'delivery',
    delivery: {
      reportingMta: 'bigmail.example',
      recipients: [
        {
          finalRecipient: 'erin@corp.example',
          action: 'failed',
          status: '5.1.1',
          remoteMta: expect.stringMatching(/^mx\.corp\.example\./),
          reply: { code: 550, enhanced: '5.1.1' },
        },
      ],
    },
    original: original(4, 'erin@corp.example'),
  },
  'gmail-delay': {
    kind: 'delivery',
    delivery: {
      recipients: [
        {
          finalRecipient: 'frank@slow.example',
          action: 'delayed',
          status: '4.4.1',
          reply: null,
          diagnostic: 'The recipient server did not accept our requests to connect.',
        },
      ],
    },
    original: null,
  },
  yahoo: {
    kind: 'delivery',
    delivery: {
      recipients: [
        {
          finalRecipient: 'grace@webmail.example',
          action: 'failed',
          status: '5.0.0',
          reply: { code: 554, enhanced: null },
        },
      ],
    },
    original: original(5, 'grace@webmail.example', { reversePath: null }),
  },
  'success-of-two': {
    kind: 'delivery',
    delivery: {
      envelopeId: 'QQ314159',
      reportingMta: 'mx.remote.example',
      recipients: [
        {
          originalRecipient: 'heidi@remote.example',
          finalRecipient: 'heidi.b@remote.example',
          action: 'delivered',
          status: '2.0.0',
        },
        { finalRecipient: 'ivan@elsewhere.example', action: 'relayed', status: '2.0.0' },
      ],
    },
  },
  international: {
    kind: 'delivery',
    delivery: {
      recipients: [{ finalRecipient: 'jürgen@remote.example', action: 'failed', status: '5.1.1' }],
    },
  },
  nested: {
    kind: 'delivery',
    delivery: {
      reportingMta: 'mx.corp.example',
      recipients: [{ finalRecipient: 'judy@corp.example', action: 'failed', status: '5.7.1' }],
    },
  },
  'arf-abuse': {
    kind: 'complaint',
    complaint: {
      type: 'abuse',
      userAgent: 'SomeGenerator/1.0',
      originalReversePath: 'list@sender.example',
      originalRecipients: ['mallory@webmail.example'],
      envelopeId: null,
      sourceIp: '192.0.2.7',
      reportingMta: 'mail.webmail.example',
      arrivedAtMs: Date.UTC(2026, 10, 24, 11, 58),
      reportedDomains: ['sender.example'],
      incidents: 1,
    },
    original: original(6, 'mallory@webmail.example'),
  },
  'arf-minimal': {
    kind: 'complaint',
    complaint: { type: 'opt-out', userAgent: 'webmail/2', originalRecipients: [], incidents: 3 },
    original: { messageId: '<november-7@sender.example>', recipients: [] },
  },
  'out-of-office': {
    kind: 'unrecognised',
    from: 'niaj@corp.example',
    subject: 'Automatic reply: November',
    automatic: true,
  },
  qmail: {
    kind: 'unrecognised',
    from: 'MAILER-DAEMON@qmail.example',
    subject: 'failure notice',
    automatic: false,
  },
};
const NAMES = Object.keys(SAMPLES);

describe('samples', () => {
  test.each(NAMES)('%s', (name) => {
    expect(readReport(sample(name))).toMatchObject(SAMPLES[name] as object);
  });

  test.each(NAMES)('%s, with bare LF', (name) => {
    const text = sample(name).toString('latin1').replaceAll('\r\n', '\n');
    expect(readReport(Buffer.from(text, 'latin1'))).toMatchObject(SAMPLES[name] as object);
  });

  test.each(NAMES)('%s, cut short anywhere, tells less and nothing else', (name) => {
    const whole = sample(name);
    const complete = readReport(whole);
    for (let end = 0; end < whole.length; end += 1) {
      const read = readReport(whole.subarray(0, end));
      expect(['unrecognised', complete.kind]).toContain(read.kind);
      if (read.kind === 'delivery' && complete.kind === 'delivery') {
        expect(read.delivery.recipients.length).toBeLessThanOrEqual(
          complete.delivery.recipients.length,
        );
      }
    }
  });

  test('what it kept does not change with the buffer', () => {
    const buffer = Buffer.from(sample('postfix'));
    const read = readReport(buffer);
    const kept = structuredClone(read);
    buffer.fill(0x2a);
    expect(read).toEqual(kept);
  });

  test.each([
    ['postfix', 'bad-mailbox'],
    ['exim', 'mailbox-full'],
    ['exchange', 'bad-mailbox'],
    ['gmail', 'bad-mailbox'],
    ['yahoo', 'inactive-mailbox'],
  ])('%s is classed %s', (name, kind) => {
    const read = readReport(sample(name)) as InboundReport & { kind: 'delivery' };
    const { status, reply } = read.delivery.recipients[0]!;
    expect(classify(status, reply)).toBe(kind);
  });
});

const report = (status: string): Buffer =>
  Buffer.from(
    [
      'Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n',
      '--b\r\nContent-Type: message/delivery-status\r\n\r\n',
      `${status}\r\n--b--\r\n`,
    ].join(''),
  );
const recipientsOf = (status: string) => {
  const read = readReport(report(status));
  return read.kind === 'delivery' ? read.delivery.recipients : [];
};

describe('what reporters get wrong', () => {
  test('no Action: a status of class 5 says enough, others do not', () => {
    expect(recipientsOf('Final-Recipient: rfc822; a@b.example\r\nStatus: 5.2.1')).toMatchObject([
      { action: 'failed', status: '5.2.1' },
    ]);
    expect(recipientsOf('Final-Recipient: rfc822; a@b.example\r\nStatus: 4.2.1')).toEqual([]);
  });

  test('no Status: that of the reply, or of the action', () => {
    const block = 'Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\n';
    expect(recipientsOf(`${block}Diagnostic-Code: smtp; 550 5.7.26 no SPF`)).toMatchObject([
      { status: '5.7.26' },
    ]);
    expect(recipientsOf(block)).toMatchObject([{ status: '5.0.0', reply: null }]);
  });

  test('recipients of other types than rfc822 are none, and the report still counts', () => {
    expect(recipientsOf('Final-Recipient: x400; /G=A/\r\nAction: failed')).toMatchObject([
      { finalRecipient: null, action: 'failed' },
    ]);
  });

  test('a boundary counts at the beginning of a line alone, and as a whole', () => {
    const block = 'Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\n';
    const odd = 'Diagnostic-Code: smtp; 550 see --b\r\nX-Mark: 1\r\n--bb\r\nStatus: 5.1.1';
    expect(recipientsOf(block + odd)).toMatchObject([
      { status: '5.1.1', diagnostic: '550 see --b' },
    ]);
  });

  test('more than a thousand recipients are cut', () => {
    const block = 'Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\n\r\n';
    expect(recipientsOf(block.repeat(1_500)).length).toBe(1_000);
  });

  test('line ends and control characters do not get into what is kept', () => {
    const [recipient] = recipientsOf(
      'Final-Recipient: rfc822; a@b.example\r\nAction: failed\r\nDiagnostic-Code: smtp; 550 x\u0000\u001b[31m\u2028y\r\n z',
    );
    expect(recipient!.diagnostic).toBe('550 x [31m y z');
  });
});

describe('bounds', () => {
  test('a part without end, ten thousand parts, parts within parts', () => {
    const parts = '--b\r\nContent-Type: text/plain\r\n\r\nx\r\n'.repeat(10_000);
    const head = 'Content-Type: multipart/report; boundary=b\r\n\r\n';
    expect(readReport(Buffer.from(head + parts)).kind).toBe('unrecognised');
    let nested = 'Content-Type: text/plain\r\n\r\nx';
    for (let depth = 0; depth < 500; depth += 1) {
      nested = `Content-Type: multipart/mixed; boundary=b${depth}\r\n\r\n--b${depth}\r\n${nested}\r\n--b${depth}--\r\n`;
    }
    expect(readReport(Buffer.from(nested)).kind).toBe('unrecognised');
  });

  test('a megabyte of header, of fold, of boundary-like lines: read in time', () => {
    const startedMs = performance.now();
    readReport(Buffer.from(`X: ${' y\r\n'.repeat(300_000)}\r\n\r\n`));
    readReport(Buffer.from(`X: 1\r\n${' folded\r\n'.repeat(100_000)}\r\n\r\n`));
    readReport(
      Buffer.from(
        `Content-Type: multipart/report; boundary=b\r\n\r\n${'--bb\r\n'.repeat(200_000)}`,
      ),
    );
    readReport(report(`Diagnostic-Code: ${'('.repeat(500_000)}`));
    readReport(report('Final-Recipient: rfc822; '.repeat(40_000)));
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });

  test('anything at all is read without an error', () => {
    const pieces = fc.constantFrom(
      '\r\n',
      '\n',
      '\r\n\r\n',
      '--b',
      '--b--',
      ':',
      ' ',
      ';',
      '"',
      '=?',
      '\\x{',
      '\u0000',
      'Content-Type: ',
      'multipart/report',
      'message/delivery-status',
      'boundary=b',
      'message/feedback-report',
      'Feedback-Type: abuse',
      'Final-Recipient: rfc822; a@b',
      'Action: failed',
      'Status: 5.1.1',
      'Content-Transfer-Encoding: base64',
      'quoted-printable',
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(pieces, fc.string({ maxLength: 8 })), { maxLength: 60 }),
        (all) => {
          const octets = Buffer.from(all.join(''));
          expect(['delivery', 'complaint', 'unrecognised']).toContain(readReport(octets).kind);
        },
      ),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...NAMES),
        fc.nat(),
        fc.uint8Array({ maxLength: 8 }),
        (name, at, junk) => {
          const octets = sample(name);
          octets.set(junk, Math.min(at % octets.length, octets.length - junk.length));
          readReport(octets);
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
