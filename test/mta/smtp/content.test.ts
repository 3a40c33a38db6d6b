import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  SLICE_OCTETS_MAX,
  stuffedSlice,
  TERMINATOR,
  TERMINATOR_AFTER_TORN_LINE,
  terminatorFor,
} from '../../../mta/smtp/content.ts';

function stuffed(content: Buffer): Buffer {
  const slices: Buffer[] = [];
  for (let at = 0; at < content.length; at += SLICE_OCTETS_MAX) {
    slices.push(stuffedSlice(content, at));
  }
  return Buffer.concat(slices);
}

/** RFC 5321 §4.5.2, said slowly. */
const oracle = (content: Buffer): Buffer =>
  Buffer.from(
    content.toString('latin1').replaceAll(/(^|\r\n)\./g, (_, before: string) => `${before}..`),
    'latin1',
  );

describe('dot-stuffing', () => {
  test.each([
    { content: 'a\r\nb\r\n', wire: 'a\r\nb\r\n' },
    { content: '.\r\n', wire: '..\r\n' },
    { content: '.a\r\n..b\r\nc.\r\n', wire: '..a\r\n...b\r\nc.\r\n' },
    { content: '\r\n.\r\n.\r\n', wire: '\r\n..\r\n..\r\n' },
    { content: '', wire: '' },
    // Only CRLF ends a line.
    { content: 'a\n.\r.b\r\n', wire: 'a\n.\r.b\r\n' },
  ])('$content', ({ content, wire }) => {
    expect(stuffed(Buffer.from(content)).toString()).toBe(wire);
  });

  test('copies nothing when there is nothing to double', () => {
    const content = Buffer.from('a.\r\nb\r\n');
    expect(stuffedSlice(content, 0).buffer).toBe(content.buffer);
    expect(stuffedSlice(content, 0).byteOffset).toBe(content.byteOffset);
  });

  test.each([-3, -2, -1, 0, 1])('a dot %i octets from the edge of a slice', (distance) => {
    const content = Buffer.alloc(SLICE_OCTETS_MAX + 10, 'x');
    content.write('\r\n.', SLICE_OCTETS_MAX + distance);
    expect(stuffed(content).equals(oracle(content))).toBe(true);
  });

  test('any content', () => {
    const piece = fc.constantFrom('.', '\r\n', '\r', '\n', 'a', 'x'.repeat(70));
    const filler = fc.integer({ min: SLICE_OCTETS_MAX - 8, max: SLICE_OCTETS_MAX + 8 });
    fc.assert(
      fc.property(fc.array(piece), filler, fc.array(piece), (before, length, after) => {
        const content = Buffer.from(before.join('') + '.'.repeat(length) + after.join(''));
        expect(stuffed(content).equals(oracle(content))).toBe(true);
        const short = Buffer.from(before.join('') + after.join(''));
        expect(stuffed(short).equals(oracle(short))).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('nothing but dots, 3 MB, ends soon', () => {
    const content = Buffer.from('.\r\n'.repeat(1_000_000));
    expect(stuffed(content).length).toBe(content.length + 1_000_000);
  });
});

test('the final dot never joins a torn line', () => {
  expect(terminatorFor(Buffer.from('a\r\n'))).toBe(TERMINATOR);
  expect(terminatorFor(Buffer.from(''))).toBe(TERMINATOR);
  expect(terminatorFor(Buffer.from('a'))).toBe(TERMINATOR_AFTER_TORN_LINE);
  expect(terminatorFor(Buffer.from('a\n'))).toBe(TERMINATOR_AFTER_TORN_LINE);
});
