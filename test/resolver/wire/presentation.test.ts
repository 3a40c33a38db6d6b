import { expect, test } from 'vitest';
import { CLASS, EXTENDED_ERROR, FLAG, TYPE } from '../../../resolver/wire/constants.ts';
import { readExtendedError } from '../../../resolver/wire/extended-error.ts';
import { RecordCursor } from '../../../resolver/wire/message.ts';
import { recordToText } from '../../../resolver/wire/presentation.ts';
import { writeResponse } from '../../../resolver/wire/write.ts';
import { wireName } from '../../support/wire.ts';

const name = wireName('example.com');
const respond = (type: number, rdata: Uint8Array, more: object = {}): Uint8Array =>
  writeResponse({
    id: 0,
    flags: FLAG.RA,
    question: { name, type, class: CLASS.IN },
    answers: [{ name, type, ttlSeconds: 60, rdata }],
    ...more,
  });

test.each([
  [TYPE.A, [192, 0, 2, 1], 'example.com. A 192.0.2.1'],
  [TYPE.A, [192, 0, 2], 'example.com. A \\# 3 c00002'],
  [TYPE.MX, [0, 10, ...wireName('mx.example.com')], 'example.com. MX 10 mx.example.com.'],
  [TYPE.CNAME, wireName('other.example'), 'example.com. CNAME other.example.'],
  [TYPE.TXT, [3, 0x61, 0x22, 0x07, 1, 0x62], 'example.com. TXT "a\\"\\007" "b"'],
  [TYPE.TLSA, [3, 1, 1, 0xab, 0xcd], 'example.com. TLSA 3 1 1 abcd'],
  [65_280, [1, 2], 'example.com. TYPE65280 \\# 2 0102'],
])('%i', (type, rdata, text) => {
  const cursor = new RecordCursor();
  expect(cursor.begin(respond(type, Uint8Array.from(rdata)))).toBe(1);
  expect(recordToText(cursor)).toBe(text);
});

test('an extended error is read back; every truncation reads as none', () => {
  const extendedError = { code: EXTENDED_ERROR.DNSSEC_BOGUS, text: 'signature — expired' };
  const message = respond(TYPE.A, Uint8Array.of(192, 0, 2, 1), { edns: true, extendedError });
  expect(readExtendedError(message)).toEqual(extendedError);
  for (let length = 0; length < message.length; length += 1) {
    expect(readExtendedError(message.subarray(0, length))).toBe(null);
  }
  expect(readExtendedError(respond(TYPE.A, Uint8Array.of(1, 2, 3, 4)))).toBe(null);
});
