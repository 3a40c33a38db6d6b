/** Event records, line by line. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Events } from '../../../mta/report/events.ts';
import { ManualClock } from '../../support/clock.ts';

const NOW = 1_800_000_000_000;
const message = { message: 4096, reversePath: 's@example.org', receivedAtMs: NOW - 5_000 };
const recipient = { index: 2, address: 'r@example.com', domain: 'example.com', attempts: 1 };
const common = {
  atMs: NOW,
  id: '00000000400.2',
  reversePath: 's@example.org',
  recipient: 'r@example.com',
  domain: 'example.com',
  attempts: 1,
  ageMs: 5_000,
};
const reply = { code: 250, enhanced: null, lines: ['ok'] };

test('one line for each outcome', () => {
  const lines: string[] = [];
  const events = new Events({ write: (line) => lines.push(line) }, new ManualClock(0, NOW));
  const failure = {
    recipient,
    status: '5.1.1',
    text: 'no\r\nsuch user',
    host: 'mx',
    reply,
    expired: false,
  };
  events.reception(4096, {
    envelope: {
      reversePath: 's@example.org',
      recipients: [{ index: 0, address: 'r@example.com', domain: 'example.com' }],
      body: '7bit',
      smtpUtf8: false,
    },
    content: new Uint8Array(321),
    receivedAtMs: NOW,
    origin: 'smtp 192.0.2.1',
  });
  events.delivery(message, recipient, 'mx1.example.com', reply);
  events.deferral(message, recipient, { code: 'greylisted', text: 'later' }, NOW + 60_000);
  events.bounce(message, failure);
  events.bounce(message, { ...failure, expired: true, host: null, reply: null });

  expect(lines.every((line) => line.indexOf('\n') === line.length - 1)).toBe(true);
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    {
      event: 'reception',
      atMs: NOW,
      id: '00000000400',
      reversePath: 's@example.org',
      origin: 'smtp 192.0.2.1',
      recipients: ['r@example.com'],
      octets: 321,
    },
    { event: 'delivery', ...common, host: 'mx1.example.com', reply },
    { event: 'deferral', ...common, reason: 'greylisted', text: 'later', dueMs: NOW + 60_000 },
    {
      event: 'bounce',
      ...common,
      status: '5.1.1',
      class: 'bad-mailbox',
      text: 'no\r\nsuch user',
      host: 'mx',
      reply,
    },
    {
      event: 'expiry',
      ...common,
      status: '5.1.1',
      class: 'expired',
      text: 'no\r\nsuch user',
      host: null,
      reply: null,
    },
  ]);
});

test('without a sink nothing is made', () => {
  const events = new Events(null, new ManualClock());
  expect(() => events.delivery(message, recipient, 'mx', reply)).not.toThrow();
});

test('a delivery is written as JSON would write it, whatever peers and clients said', () => {
  const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }));
  const extra = fc.option(
    fc
      .record(
        { envid: fc.string(), metadata: fc.dictionary(fc.string(), fc.jsonValue()) },
        {
          requiredKeys: [],
        },
      )
      .map((value) => JSON.stringify(value)),
    { nil: undefined },
  );
  const reply = fc.record({
    code: fc.integer({ min: 200, max: 599 }),
    enhanced: fc.option(text),
    lines: fc.array(text, { minLength: 1 }),
  });
  fc.assert(
    fc.property(text, text, text, extra, reply, (reversePath, address, host, of, said) => {
      const lines: string[] = [];
      const events = new Events({ write: (line) => lines.push(line) }, new ManualClock(0, NOW));
      const given = { ...message, reversePath, ...(of === undefined ? {} : { extra: of }) };
      events.delivery(given, { ...recipient, address }, host, said);
      const { metadata } = JSON.parse(of ?? '{}') as { metadata?: object };
      const record = {
        event: 'delivery',
        ...common,
        reversePath,
        recipient: address,
        ...(metadata === undefined ? {} : { metadata }),
        host,
        reply: said,
      };
      expect(lines).toEqual([`${JSON.stringify(record)}\n`]);
    }),
  );
});
