import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Capabilities, NO_CAPABILITIES } from '../../../mta/smtp/capabilities.ts';
import * as command from '../../../mta/smtp/commands.ts';
import { formatReply } from '../../../mta/smtp/reply.ts';
import { letter } from './support.ts';

const ALL: Capabilities = {
  ...NO_CAPABILITIES,
  eightBitMime: true,
  smtpUtf8: true,
  size: true,
  sizeMax: 1000,
};

describe('MAIL', () => {
  test.each([
    { fields: {}, offered: NO_CAPABILITIES, line: 'MAIL FROM:<from@example.net>\r\n' },
    { fields: { reversePath: '' }, offered: NO_CAPABILITIES, line: 'MAIL FROM:<>\r\n' },
    { fields: {}, offered: ALL, line: 'MAIL FROM:<from@example.net> SIZE=25\r\n' },
    {
      fields: { body: '8bitmime' as const },
      offered: ALL,
      line: 'MAIL FROM:<from@example.net> SIZE=25 BODY=8BITMIME\r\n',
    },
    {
      fields: { smtpUtf8: true, reversePath: 'grün@example.net' },
      offered: { ...ALL, size: false },
      line: 'MAIL FROM:<grün@example.net> SMTPUTF8\r\n',
    },
    {
      fields: { dsn: { mail: ' RET=FULL', rcpt: [], passedOn: false } },
      offered: { ...NO_CAPABILITIES, dsn: true },
      line: 'MAIL FROM:<from@example.net> RET=FULL\r\n',
    },
    {
      fields: { dsn: { mail: ' RET=FULL', rcpt: [], passedOn: false } },
      offered: NO_CAPABILITIES,
      line: 'MAIL FROM:<from@example.net>\r\n',
    },
    {
      fields: { body: '8bitmime' as const },
      offered: NO_CAPABILITIES,
      line: 'MAIL FROM:<from@example.net>\r\n',
    },
  ])('$line', ({ fields, offered, line }) => {
    expect(command.mail(letter('a', fields), offered)).toBe(line);
  });
});

describe('addresses', () => {
  test.each([
    'a@example.org',
    'a+b=c/d@example.org',
    '"john doe"@example.org',
    String.raw`"a\"b>"@example.org`,
    'a@[192.0.2.1]',
    'a@[IPv6:2001:db8::1]',
    'a..b@example.org',
  ])('%s is written', (address) => {
    expect(command.rcpt(address, false)).toBe(`RCPT TO:<${address}>\r\n`);
  });

  test.each([
    '',
    'a',
    'a@',
    '@example.org',
    'a@example.org\r\nDATA',
    'a@example.org\n',
    'a\0@example.org',
    'a@example.org>',
    'a<b@example.org',
    'a b@example.org',
    'a@exa mple.org',
    '"a"b"@example.org',
    '"a\r\n"@example.org',
    'a@b@example.org',
    '@x:a@example.org',
    'a@[192.0.2.1> x]',
    `${'a'.repeat(500)}@example.org`,
    'grün@example.org',
    'a@grün.example',
  ])('%j is refused', (address) => {
    expect(() => command.rcpt(address, false)).toThrow(
      expect.objectContaining({ code: 'MTA_UNWRITABLE_ARGUMENT' }),
    );
    if (address !== '') {
      expect(() => command.mail(letter('a', { reversePath: address }), ALL)).toThrow(
        expect.objectContaining({ code: 'MTA_UNWRITABLE_ARGUMENT' }),
      );
    }
  });

  test('UTF-8 where the transaction says SMTPUTF8, but no controls and no lone surrogates', () => {
    expect(command.rcpt('grün@grün.example', true)).toBe('RCPT TO:<grün@grün.example>\r\n');
    expect(command.isWritable('gr\u0085n@example.org', true)).toBe(false);
    expect(command.isWritable('gr\u2028n@example.org', true)).toBe(false);
    expect(command.isWritable('"gr\u2028n"@example.org', true)).toBe(false);
    expect(command.isWritable('"gr\\ün"@example.org', true)).toBe(false);
    expect(command.isWritable('"grün d"@example.org', true)).toBe(true);
    expect(command.isWritable('gr\ud800n@example.org', true)).toBe(false);
  });

  const SPECIALS = ['a', '1', '.', '@', '"', '\\', '<', '>', '[', ']', ':', ' '].concat([
    '\r',
    '\n',
    '\0',
    '\x7f',
    'ü',
    '\u0085',
    '\u2028',
    '\ud800',
  ]);

  test('whatever is written is one line with one pair of brackets outside quotes', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...SPECIALS), maxLength: 12 }),
        fc.boolean(),
        (text, smtpUtf8) => {
          for (const address of [
            text,
            `${text}@example.org`,
            `a@${text}`,
            `"${text}"@example.org`,
          ]) {
            if (!command.isWritable(address, smtpUtf8)) continue;
            const line = command.rcpt(address, smtpUtf8);
            const bare = line.replaceAll(/"(?:[^"\\]|\\.)*"/gs, '');
            if (/^[^\r\n\0]*\r\n$/.test(line) && bare.match(/[<>]/g)?.join('') === '<>') continue;
            throw new Error(JSON.stringify(line));
          }
        },
      ),
      { numRuns: 5000 },
    );
  });
});

test.each(['a b', 'a\r\nb', '', 'a>', '[192.0.2.1'])('client name %j is refused', (name) => {
  expect(() => command.ehlo(name)).toThrow(
    expect.objectContaining({ code: 'MTA_UNWRITABLE_ARGUMENT' }),
  );
  expect(command.ehlo('[192.0.2.1]')).toBe('EHLO [192.0.2.1]\r\n');
});

describe('what a host cannot take', () => {
  const eightBit = Buffer.from('grün\r\n');
  test.each([
    { fields: {}, offered: NO_CAPABILITIES, reply: null },
    // Declared 8BITMIME, but plain ASCII: goes anywhere (RFC 6152 §3).
    { fields: { body: '8bitmime' as const }, offered: NO_CAPABILITIES, reply: null },
    {
      fields: { body: '8bitmime' as const, content: eightBit },
      offered: NO_CAPABILITIES,
      reply: '554 5.6.3 the message needs 8BITMIME, which the host does not offer',
    },
    { fields: { body: '8bitmime' as const, content: eightBit }, offered: ALL, reply: null },
    {
      fields: { smtpUtf8: true },
      offered: NO_CAPABILITIES,
      reply: '550 5.6.7 the message needs SMTPUTF8, which the host does not offer',
    },
    { fields: { content: Buffer.alloc(1000, '\r\n') }, offered: ALL, reply: null },
    {
      fields: { content: Buffer.alloc(1001, '\r\n') },
      offered: ALL,
      reply: '552 5.3.4 the message has 1001 octets, the host takes 1000',
    },
    {
      fields: { reversePath: 'a b@example.net' },
      offered: ALL,
      reply: '553 5.1.7 the reverse-path cannot be written in an SMTP command',
    },
  ])('$reply', ({ fields, offered, reply }) => {
    const refusal = command.unfit(letter('a', fields), offered, false);
    expect(refusal === null ? null : formatReply(refusal)).toBe(reply);
  });
});

test('RCPT carries what the host offers to understand', () => {
  expect(command.rcpt('a@example.org', false, ' NOTIFY=NEVER')).toBe(
    'RCPT TO:<a@example.org> NOTIFY=NEVER\r\n',
  );
});
