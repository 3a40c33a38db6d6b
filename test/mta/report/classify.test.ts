import { expect, test } from 'vitest';
import { classify } from '../../../mta/report/classify.ts';
import { ReplyParser } from '../../../mta/smtp/reply.ts';

/** As it comes over the wire; the status of a bounce is the host's, or "5.0.0". */
function classOf(text: string): string {
  const parser = new ReplyParser();
  parser.feed(Buffer.from(`${text}\r\n`));
  const reply = parser.next()!;
  return classify(reply.enhanced ?? '5.0.0', reply);
}

test.each([
  ['550 5.1.1 The email account that you tried to reach does not exist.', 'bad-mailbox'],
  ['550 5.2.1 The email account that you tried to reach is inactive.', 'inactive-mailbox'],
  ['552 5.2.2 The recipient is out of storage space', 'mailbox-full'],
  ['554 delivery error: dd This user doesn’t have a yahoo.com account', 'bad-mailbox'],
  [
    '550 5.7.26 This mail has been blocked because the sender is unauthenticated.',
    'authentication',
  ],
  ['550 5.7.1 Our system has detected that this message is likely unsolicited mail', 'spam'],
  ['550 5.7.1 Unfortunately, messages from [192.0.2.1] weren’t sent. (S3150)', 'reputation'],
  [
    '554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org',
    'reputation',
  ],
  ['421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred', 'rate'],
  ['421 4.7.28 Our system has detected an unusual rate of unsolicited mail', 'spam'],
  ['450 4.2.0 Greylisted, see https://example.net/', 'greylisting'],
  ['550 5.4.1 Recipient address rejected: Access denied', 'routing'],
  ['554 5.7.1 Relay access denied', 'relaying'],
  ['552 5.3.4 Message size exceeds fixed limit', 'too-large'],
  ['550 5.7.10 Encryption needed', 'security'],
  ['554 5.6.0 malformed', 'content'],
  ['550 No', 'bad-mailbox'],
  ['503 Bad sequence', 'protocol'],
  ['599 eh', 'unknown'],
] as const)('%s: %s', (text, expected) => {
  expect(classOf(text)).toBe(expected);
});

test.each([
  ['5.4.7', 'expired'],
  ['5.1.2', 'bad-domain'],
  ['5.1.10', 'bad-domain'],
  ['5.4.6', 'routing'],
  ['5.0.0', 'unknown'],
] as const)('what we decide ourselves: %s is %s', (status, expected) => {
  expect(classify(status, null)).toBe(expected);
});

test('a reply is bounded and cannot make it slow', () => {
  const lines = Array.from({ length: 100 }, () => 'account '.repeat(60));
  const started = performance.now();
  for (let n = 0; n < 100; n += 1) classify('5.0.0', { code: 599, enhanced: null, lines });
  expect(performance.now() - started).toBeLessThan(1000);
});
