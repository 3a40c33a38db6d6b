import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  formatKey,
  keyHasName,
  keyHasSuffix,
  parseKey,
  queryKey,
} from '../../../resolver/cache/key.ts';
import { CLASS, TYPE } from '../../../resolver/wire/constants.ts';
import { parseQuery, QueryView } from '../../../resolver/wire/message.ts';
import { nameKey } from '../../../resolver/wire/names.ts';
import { type QueryToWrite, writeQuery } from '../../../resolver/wire/write.ts';
import { anyName, wireName } from '../../support/wire.ts';

function keyOf(query: Omit<QueryToWrite, 'id'>): string {
  const message = writeQuery({ id: 1, ...query });
  const view = new QueryView();
  parseQuery(message, view);
  return queryKey(message, view);
}

const name = wireName('a.org');
const keyOfName = (text: string): string => nameKey(wireName(text), 0) as string;

test('name, type, class, DO and CD each make another key; case, ID, AD and RD do not', () => {
  const keys = [
    keyOf({ name, type: TYPE.MX }),
    keyOf({ name: wireName('b.org'), type: TYPE.MX }),
    keyOf({ name, type: TYPE.A }),
    keyOf({ name, type: TYPE.MX + 256 }),
    keyOf({ name, type: TYPE.MX, class: CLASS.CH }),
    keyOf({ name, type: TYPE.MX, dnssecOk: true }),
    keyOf({ name, type: TYPE.MX, cd: true }),
    keyOf({ name, type: TYPE.MX, cd: true, dnssecOk: true }),
  ];
  expect(new Set(keys).size).toBe(keys.length);
  expect(keyOf({ name: wireName('A.oRg'), type: TYPE.MX, ad: true, rd: false })).toBe(keys[0]);
  expect(keyOf({ name, type: TYPE.MX, edns: false })).toBe(keys[0]);
});

test('keys are equal exactly when their parts are', () => {
  const parts = fc.record({
    name: anyName.map((octets) => nameKey(octets, 0) as string),
    type: fc.nat(0xffff),
    class: fc.nat(0xffff),
    dnssecOk: fc.boolean(),
    cd: fc.boolean(),
  });
  fc.assert(
    fc.property(parts, (one) => {
      const key = formatKey(one);
      expect(parseKey(key)).toEqual(one);
      const { cd, dnssecOk, type } = one;
      const asked = { name: Buffer.from(one.name, 'latin1'), type, class: one.class, cd, dnssecOk };
      expect(keyOf(asked)).toBe(key);
    }),
  );
});

describe('flushing', () => {
  test.each([
    ['a.org', 'a.org', true, true],
    ['A.ORG', 'a.org', true, true],
    ['b.a.org', 'a.org', false, true],
    ['c.b.a.org', 'a.org', false, true],
    ['ba.org', 'a.org', false, false],
    ['org', 'a.org', false, false],
    ['a.org', '.', false, true],
    // The length octet of "org" is 3; a label may hold that very octet.
    ['x\\003org', 'org', false, false],
  ])('%s under %s', (asked, flushed, sameName, below) => {
    const key = keyOf({ name: wireName(asked), type: TYPE.MX });
    expect(keyHasName(key, keyOfName(flushed))).toBe(sameName);
    expect(keyHasSuffix(key, keyOfName(flushed))).toBe(below);
  });
});
