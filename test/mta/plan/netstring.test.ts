/** Netstrings: whole, an octet at a time, cut off anywhere, and what is none. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { NetstringReader, netstring } from '../../../mta/plan/netstring.ts';

const OCTETS_MAX = 64;

/** Strings read from the chunks, or null from the first fault on. */
function read(chunks: readonly Buffer[]): readonly string[] | null {
  const reader = new NetstringReader(OCTETS_MAX);
  const strings: string[] = [];
  for (const chunk of chunks) {
    const more = reader.push(chunk);
    if (more === null) return null;
    strings.push(...more.map((each) => each.toString('latin1')));
    chunk.fill(0x2a); // The receive buffer is used again.
  }
  return strings;
}

const octetsOf = (text: string): Buffer[] =>
  [...Buffer.from(text, 'latin1')].map((octet) => Buffer.from([octet]));

const CASES: readonly [string, readonly string[] | null][] = [
  ['', []],
  ['0:,', ['']],
  ['5:hello,', ['hello']],
  ['5:hello,3:a,b,', ['hello', 'a,b']],
  ['1::,', [':']],
  ['5:hello;', null],
  [':,', null],
  ['05:hello,', null],
  ['00:,', null],
  ['-1:,', null],
  [' 1:a,', null],
  ['65:', null],
  ['65', null],
  ['9999999999', null],
  ['GET / HTTP/1.1\r\n', null],
  ['0:,x', null],
];

test.each(CASES)('%j is %j, at once and by octets', (text, strings) => {
  expect(read([Buffer.from(text, 'latin1')])).toEqual(strings);
  expect(read(octetsOf(text))).toEqual(strings);
});

test('every truncation is only not complete yet', () => {
  const text = '5:hello,0:,12:hello world!,';
  for (let length = 0; length < text.length; length += 1) {
    const strings = read([Buffer.from(text.slice(0, length))]);
    expect(strings).toEqual(['hello', '', 'hello world!'].slice(0, strings?.length));
    expect(strings?.length).toBeLessThan(3);
  }
});

test('after a fault nothing is read any more', () => {
  const reader = new NetstringReader(OCTETS_MAX);
  expect(reader.push(Buffer.from('x'))).toBe(null);
  expect(reader.push(Buffer.from('1:a,'))).toBe(null);
});

test('what is written is read, however it is cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ maxLength: OCTETS_MAX, unit: 'grapheme-ascii' }), { maxLength: 5 }),
      fc.array(fc.nat(400), { maxLength: 6 }),
      (strings, cuts) => {
        const all = Buffer.from(strings.map(netstring).join(''));
        const edges = [0, ...cuts.filter((cut) => cut < all.length).sort((a, b) => a - b)];
        const chunks = edges.map((from, index) =>
          Buffer.from(all.subarray(from, edges[index + 1] ?? all.length)),
        );
        expect(read(chunks)).toEqual(strings);
      },
    ),
  );
});
