import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  copyName,
  equalNames,
  faultName,
  keyToName,
  nameKey,
  nameToText,
  skipName,
  textToName,
  WireFault,
} from '../../../resolver/wire/names.ts';
import { anyName, filled, plainNameText, wireName } from '../../support/wire.ts';

const HEADER = filled(12, 0);

/** A header and then these octets, so that pointers have somewhere to point. */
const message = (...octets: number[]): Uint8Array => Uint8Array.from([...HEADER, ...octets]);

const labels = (count: number, length: number): number[] =>
  Array.from({ length: count }, () => [length, ...filled(length, 0x61)]).flat();

describe('following a name', () => {
  test.each([
    ['the root', message(0), 12, '.'],
    ['labels', message(1, 0x41, 3, 0x6f, 0x72, 0x67, 0), 12, 'A.org.'],
    ['a pointer', message(3, 0x6f, 0x72, 0x67, 0, 1, 0x61, 0xc0, 12), 17, 'a.org.'],
    ['a pointer to a pointer', message(1, 0x61, 0, 0xc0, 12, 0xc0, 15), 17, 'a.'],
    ['a dot and a zero in a label', message(3, 0x61, 0x2e, 0, 0), 12, 'a\\.\\000.'],
    ['63 octets in a label', message(...labels(1, 63), 0), 12, `${'a'.repeat(63)}.`],
  ])('%s', (_, octets, offset, text) => {
    expect(nameToText(octets, offset)).toBe(text);
  });

  test.each([
    ['nothing', message(), 12, 'truncated'],
    ['a label cut short', message(3, 0x61), 12, 'truncated'],
    ['no root', message(1, 0x61), 12, 'truncated'],
    ['half a pointer', message(0xc0), 12, 'truncated'],
    ['a pointer to itself', message(0xc0, 12), 12, 'badPointer'],
    ['a pointer to its own labels', message(1, 0x61, 0xc0, 12), 12, 'badPointer'],
    ['two pointers to each other', message(0xc0, 14, 0xc0, 12), 12, 'badPointer'],
    ['a pointer forward', message(0xc0, 15, 0, 0), 12, 'badPointer'],
    ['a pointer past the end', message(0xff, 0xff), 12, 'badPointer'],
    ['a pointer into the header', message(0xc0, 0), 12, 'badPointer'],
    ['a label of type 01', message(0x41, 0), 12, 'reservedLabel'],
    ['a label of type 10', message(0x81, 0), 12, 'reservedLabel'],
    ['256 octets', message(...labels(1, 2), ...labels(126, 1), 0), 12, 'nameTooLong'],
    ['257 octets', message(...labels(128, 1), 0), 12, 'nameTooLong'],
  ])('%s', (_, octets, offset, fault) => {
    for (const read of [nameToText, nameKey, copyName]) {
      expect(faultName(read(octets, offset) as number)).toBe(fault);
    }
    expect(equalNames(octets, offset, octets, offset)).toBe(false);
  });

  test('255 octets are a name', () => {
    const longest = message(...labels(127, 1), 0);
    expect(nameKey(longest, 12)).toHaveLength(255);
    expect(skipName(longest, 12)).toBe(267);
  });

  test('a name that only compression makes too long', () => {
    // 129 octets, then 128 more that end in a pointer to them.
    const octets = message(...labels(64, 1), 0, ...labels(64, 1), 0xc0, 12);
    expect(nameKey(octets, 12)).toHaveLength(129);
    expect(nameKey(octets, 141)).toBe(WireFault.nameTooLong);
    expect(skipName(octets, 141)).toBe(octets.length);
  });

  test('half a pointer equals nothing, whatever stands where its upper bits lead', () => {
    const octets = message(...filled(300, 0), 0xc1);
    expect(equalNames(octets, 12, octets, octets.length - 1)).toBe(false);
  });

  test('a ladder of pointers ends at its bound', () => {
    const octets = [0];
    for (let rung = 0; rung < 200; rung += 1) {
      const target = rung === 0 ? 12 : 12 + octets.length - 2;
      octets.push(0xc0 | (target >> 8), target & 0xff);
    }
    const ladder = message(...octets);
    expect(nameKey(ladder, 12 + 1 + 2 * 126)).toBe('\0');
    expect(nameKey(ladder, 12 + 1 + 2 * 127)).toBe(WireFault.tooManyPointers);
    expect(equalNames(message(0), 12, ladder, 12 + 1 + 2 * 127)).toBe(false);
  });
});

describe('skipName', () => {
  test.each([
    ['stops behind the root', message(1, 0x61, 0, 9), 15],
    ['stops behind a pointer', message(1, 0x61, 0xc0, 0xff, 9), 16],
    ['cut short', message(5, 0x61), WireFault.truncated],
    ['half a pointer', message(0xc0), WireFault.truncated],
    ['reserved label', message(0x40), WireFault.reservedLabel],
    ['256 octets', message(...labels(128, 1), 0), WireFault.nameTooLong],
  ])('%s', (_, octets, end) => expect(skipName(octets, 12)).toBe(end));
});

describe('text', () => {
  test.each([
    ['.', [0]],
    ['a', [1, 0x61, 0]],
    ['a.', [1, 0x61, 0]],
    ['A.b.', [1, 0x41, 1, 0x62, 0]],
    ['a\\.b', [3, 0x61, 0x2e, 0x62, 0]],
    ['\\000\\255.', [2, 0, 255, 0]],
    ['\\ \\@', [2, 0x20, 0x40, 0]],
    ['a'.repeat(63), [63, ...filled(63, 0x61), 0]],
  ])('%s', (text, octets) => expect(textToName(text)).toEqual(Uint8Array.from(octets)));

  test.each([
    '',
    '..',
    '.a',
    'a..b',
    'a\\',
    'a\\25',
    'a\\256',
    'a b',
    'bücher.example',
    'a\\ü',
    'a'.repeat(64),
    'a\0b',
  ])('%j is no name', (text) => expect(textToName(text)).toBe(WireFault.badText));

  test('255 octets, and one more', () => {
    expect(textToName('a.'.repeat(127))).toHaveLength(255);
    expect(textToName(`${'a.'.repeat(126)}a`)).toHaveLength(255);
    expect(textToName(`${'a.'.repeat(126)}ab`)).toBe(WireFault.nameTooLong);
    expect(textToName('a.'.repeat(128))).toBe(WireFault.nameTooLong);
  });

  test('any name survives the way to text and back', () => {
    fc.assert(
      fc.property(anyName, (name) => {
        const text = nameToText(name, 0);
        expect(textToName(text as string)).toEqual(name);
      }),
    );
  });
});

const fold = (name: Uint8Array): string => Buffer.from(name).toString('latin1').toLowerCase();

describe('keys', () => {
  test('equal exactly when the names are equal but for case', () => {
    fc.assert(
      fc.property(anyName, anyName, (left, right) => {
        const sameKey = nameKey(left, 0) === nameKey(right, 0);
        expect(equalNames(left, 0, right, 0)).toBe(sameKey);
        // latin1 letters above ASCII have cases too, but not in DNS.
        if (left.every((octet) => octet < 0x80) && right.every((octet) => octet < 0x80)) {
          expect(sameKey).toBe(fold(left) === fold(right));
        }
      }),
    );
  });

  test('the case of ASCII is nothing, every other octet counts', () => {
    expect(nameKey(wireName('A.ORG'), 0)).toBe(nameKey(wireName('a.org'), 0));
    expect(nameKey(wireName('\\196.org'), 0)).not.toBe(nameKey(wireName('\\228.org'), 0));
    expect(nameKey(wireName('a\\.b'), 0)).not.toBe(nameKey(wireName('a.b'), 0));
    // Folding by an OR with 0x20 would make these one.
    expect(nameKey(wireName('\\@'), 0)).not.toBe(nameKey(wireName('`'), 0));
  });

  test('a key becomes the name again, in lower case', () => {
    fc.assert(
      fc.property(plainNameText, (text) => {
        expect(keyToName(nameKey(wireName(text), 0) as string)).toEqual(
          wireName(text.toLowerCase()),
        );
      }),
    );
  });

  test('compressed and plain spellings are equal', () => {
    const octets = message(
      3,
      0x6f,
      0x72,
      0x67,
      0,
      1,
      0x61,
      0xc0,
      12,
      1,
      0x41,
      3,
      0x4f,
      0x52,
      0x47,
      0,
    );
    expect(nameKey(octets, 17)).toBe(nameKey(octets, 21));
    expect(equalNames(octets, 17, octets, 21)).toBe(true);
    expect(equalNames(octets, 21, octets, 17)).toBe(true);
    expect(equalNames(octets, 12, octets, 17)).toBe(false);
  });
});

test('what is copied out does not change when the message does', () => {
  const octets = message(1, 0x41, 0);
  const copy = copyName(octets, 12);
  octets.fill(0xff);
  expect(copy).toEqual(Uint8Array.of(1, 0x41, 0));
});
