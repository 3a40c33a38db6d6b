/** Ids of messages as text. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatMessageId, parseMessageId } from '../../mta/envelope.ts';

test('eleven digits of base 32', () => {
  const ids = [0, 31, 32, 2 ** 30 - 1, 2 ** 30, 2 ** 50 + 33, Number.MAX_SAFE_INTEGER];
  expect(ids.map(formatMessageId)).toEqual([
    '00000000000',
    '0000000000z',
    '00000000010',
    '00000zzzzzz',
    '00001000000',
    '10000000011',
    '7zzzzzzzzzz',
  ]);
});

test('what is read is what was written, and texts sort as ids do', () => {
  const id = fc.maxSafeNat();
  fc.assert(
    fc.property(id, id, (one, other) => {
      const [oneText, otherText] = [formatMessageId(one), formatMessageId(other)];
      expect(parseMessageId(oneText)).toBe(one);
      expect(oneText < otherText).toBe(one < other);
    }),
  );
});
