import { expect, test } from 'vitest';
import { NO_CAPABILITIES, readCapabilities } from '../../../mta/smtp/capabilities.ts';

const read = (...keywords: string[]) =>
  readCapabilities({ code: 250, enhanced: null, lines: ['mx.example', ...keywords] });

test('a large provider', () => {
  expect(
    read(
      'SIZE 157286400',
      '8BITMIME',
      'STARTTLS',
      'ENHANCEDSTATUSCODES',
      'PIPELINING',
      'CHUNKING',
      'SMTPUTF8',
    ),
  ).toEqual({
    pipelining: true,
    startTls: true,
    requireTls: false,
    eightBitMime: true,
    smtpUtf8: true,
    chunking: true,
    dsn: false,
    enhancedStatusCodes: true,
    size: true,
    sizeMax: 157_286_400,
    transactionsMax: null,
    recipientsMax: null,
  });
});

test.each([
  { keywords: ['pipelining'], capabilities: { pipelining: true } },
  { keywords: ['SIZE'], capabilities: { size: true, sizeMax: null } },
  { keywords: ['SIZE 0'], capabilities: { size: true, sizeMax: null } },
  { keywords: ['SIZE lots'], capabilities: { size: true, sizeMax: null } },
  { keywords: ['SIZE=1000'], capabilities: { size: true, sizeMax: null } },
  {
    keywords: ['LIMITS MAILMAX=5 RCPTMAX=20'],
    capabilities: { transactionsMax: 5, recipientsMax: 20 },
  },
  { keywords: ['LIMITS RCPTMAX=x MAILMAX=0'], capabilities: {} },
  { keywords: ['', '-', 'XXXXXXXA', ' PIPELINING'], capabilities: {} },
])('$keywords', ({ keywords, capabilities }) => {
  expect(read(...keywords)).toEqual({ ...NO_CAPABILITIES, ...capabilities });
});

test('the greeting line names nothing', () => {
  expect(readCapabilities({ code: 250, enhanced: null, lines: ['PIPELINING'] })).toEqual(
    NO_CAPABILITIES,
  );
});
