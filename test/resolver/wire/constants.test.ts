import { expect, test } from 'vitest';
import { rcodeName, typeName, typeNumber } from '../../../resolver/wire/constants.ts';

test.each([
  [15, 'MX'],
  [65, 'HTTPS'],
  [1234, 'TYPE1234'],
  [0, 'TYPE0'],
  [65_535, 'TYPE65535'],
])('type %d is %s, both ways', (number, name) => {
  expect(typeName(number)).toBe(name);
  expect(typeNumber(name)).toBe(number);
  expect(typeNumber(name.toLowerCase())).toBe(number);
});

test.each(['', 'MXX', 'TYPE', 'TYPE65536', 'TYPE-1', 'TYPE1.5'])('%j is no type', (text) => {
  expect(typeNumber(text)).toBeNull();
});

test('known types by number too', () => expect(typeNumber('TYPE15')).toBe(15));

test.each([
  [3, 'NXDOMAIN'],
  [16, 'BADVERS'],
  [12, 'RCODE12'],
])('RCODE %d is %s', (rcode, name) => expect(rcodeName(rcode)).toBe(name));
