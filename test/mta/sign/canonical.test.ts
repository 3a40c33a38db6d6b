import { hash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bodyHash, type Form, writeField } from '../../../mta/sign/canonical.ts';
import { readHeader } from '../../../mta/sign/header.ts';
import { naiveBody, naiveField } from './reference.ts';

const sha256 = (text: string): string => hash('sha256', Buffer.from(text, 'latin1'), 'base64');
const FORMS: readonly Form[] = ['simple', 'relaxed'];

/** Few pieces, so that every kind of neighbourhood turns up. */
const pieces = (...list: string[]) => fc.constantFrom(...list);
const body = fc
  .array(pieces('a', 'b.', ' ', '  ', '\t', '\r\n', '\r\n', '\xe9', ' \r\n'), { maxLength: 40 })
  .map((parts) => parts.join(''));

describe('the hash of a body', () => {
  // RFC 6376 §3.4.5, and the two hashes of an empty body that §3.4.3 and §3.4.4 print.
  test.each([
    { form: 'simple', body: '', hash: 'frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=' },
    { form: 'relaxed', body: '', hash: '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' },
    { form: 'relaxed', body: '\r\n \t\r\n', hash: sha256('') },
    { form: 'relaxed', body: ' C \r\nD \t E\r\n\r\n\r\n', hash: sha256(' C\r\nD E\r\n') },
    { form: 'simple', body: ' C \r\nD \t E\r\n\r\n\r\n', hash: sha256(' C \r\nD \t E\r\n') },
    { form: 'relaxed', body: 'no end', hash: sha256('no end\r\n') },
    { form: 'simple', body: 'no end', hash: sha256('no end\r\n') },
  ] as const)('$form of $body', ({ form, body, hash: expected }) => {
    expect(bodyHash(Buffer.from(body), form)).toBe(expected);
  });

  test.each(FORMS)('%s is what the RFC words', (form) => {
    fc.assert(
      fc.property(body, (text) => {
        expect(bodyHash(Buffer.from(text, 'latin1'), form)).toBe(sha256(naiveBody(text, form)));
      }),
      { numRuns: 2000 },
    );
  });

  test('white space that straddles or fills whole chunks is still one run', () => {
    const long = fc
      .array(
        fc.tuple(
          pieces('x', ' ', '\t', '\r\n', ' \r\n'),
          fc.constantFrom(1, 3, 32_767, 65_536, 140_000),
        ),
        { minLength: 1, maxLength: 4 },
      )
      .map((runs) => runs.map(([piece, count]) => piece.repeat(count)).join(''));
    fc.assert(
      fc.property(long, (text) => {
        expect(bodyHash(Buffer.from(text), 'relaxed')).toBe(sha256(naiveBody(text, 'relaxed')));
      }),
      { numRuns: 15 },
    );
  });
});

describe('a header field', () => {
  const value = fc
    .array(pieces('a', ':', ' ', '\t', '\r\n ', '\r\n\t', '\xe9', '<x@y>'), { maxLength: 20 })
    .map((parts) => parts.join(''));
  const field = fc
    .tuple(pieces('Subject', 'sUbJeCt', 'X'), pieces('', ' ', '\t'), value)
    .map(([name, gap, text]) => `${name}${gap}:${text}\r\n`);

  test.each(FORMS)('%s is what the RFC words, wherever it stands', (form) => {
    fc.assert(
      fc.property(fc.array(field, { minLength: 1, maxLength: 5 }), (texts) => {
        const message = Buffer.from(`${texts.join('')}\r\nbody`, 'latin1');
        const header = readHeader(message, new Set(['subject', 'x']))!;
        expect(message.subarray(header.bodyStart).toString()).toBe('body');
        const written = header.fields.map((found) => {
          const to = Buffer.alloc(500);
          return to.toString('latin1', 0, writeField(message, found, form, to, 0));
        });
        expect(written).toEqual(texts.map((text) => naiveField(text, form)));
      }),
    );
  });

  test.each(['no colon\r\n\r\n', ' starts with white space: x\r\n', ': no name\r\n', 'cut off'])(
    'what is none is refused: %j',
    (text) => expect(readHeader(Buffer.from(text), new Set(['x']))).toBeNull(),
  );
});
