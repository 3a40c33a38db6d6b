/** REQUIRETLS (RFC 8689) towards hosts: offered and proven, or the message is returned. */
import { describe, expect, test } from 'vitest';
import { judge } from '../../../mta/disposition.ts';
import { readCapabilities } from '../../../mta/smtp/capabilities.ts';
import * as command from '../../../mta/smtp/commands.ts';
import { formatReply } from '../../../mta/smtp/reply.ts';
import { letter } from './support.ts';

const offered = (...lines: string[]) =>
  readCapabilities({ code: 250, enhanced: null, lines: ['mx.example', ...lines] });

describe('a message that asks for it', () => {
  const message = letter('a', { requireTls: true });

  test.each([
    { offers: ['REQUIRETLS'], proven: true, reply: null },
    {
      offers: ['REQUIRETLS'],
      proven: false,
      reply:
        '550 5.7.30 the message asks for REQUIRETLS (RFC 8689), and the host has not proven its name',
    },
    {
      offers: [],
      proven: true,
      reply: '550 5.7.30 the message asks for REQUIRETLS (RFC 8689), which the host does not offer',
    },
  ])('$offers, proven: $proven', ({ offers, proven, reply }) => {
    const refusal = command.unfit(message, offered(...offers), proven);
    expect(refusal === null ? null : formatReply(refusal)).toBe(reply);
  });

  test('is returned rather than sent otherwise', () => {
    const reply = command.unfit(message, offered(), true);
    const { outcome } = judge({ phase: 'mail', reply, maybeDelivered: false, local: true });
    expect(outcome.kind).toBe('bounced');
  });

  test('says so to the host', () => {
    expect(command.mail(message, offered('REQUIRETLS'))).toBe(
      'MAIL FROM:<from@example.net> REQUIRETLS\r\n',
    );
  });
});

test('a notice under it goes on where it is not offered, and then without it (RFC 8689 §5)', () => {
  const notice = letter('a', { requireTls: true, reversePath: '' });
  expect(command.unfit(notice, offered(), false)).toBeNull();
  expect(command.mail(notice, offered())).toBe('MAIL FROM:<>\r\n');
  expect(command.mail(notice, offered('REQUIRETLS'))).toBe('MAIL FROM:<> REQUIRETLS\r\n');
});

test('a message that does not ask for it never says it', () => {
  expect(command.unfit(letter('a'), offered(), false)).toBeNull();
  expect(command.mail(letter('a'), offered('REQUIRETLS'))).toBe('MAIL FROM:<from@example.net>\r\n');
});
