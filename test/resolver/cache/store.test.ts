import { describe, expect, test } from 'vitest';
import { failureEntry } from '../../../resolver/cache/entry.ts';
import { formatKey } from '../../../resolver/cache/key.ts';
import { CacheStore, entryBytes } from '../../../resolver/cache/store.ts';
import { CLASS, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { nameKey } from '../../../resolver/wire/names.ts';
import { entryOf, mx, respond } from '../../support/cache.ts';
import { ask, wireName } from '../../support/wire.ts';

const keyName = (text: string): string => nameKey(wireName(text), 0) as string;
const key = (text: string, type: number = TYPE.MX): string =>
  formatKey({ name: keyName(text), type, class: CLASS.IN, dnssecOk: false, cd: false });
const answer = entryOf(respond('a.org', 'MX', RCODE.NOERROR, { answers: [mx('a.org', 60)] }), 0);
const { query, view } = ask('a.org', TYPE.MX);
const failure = failureEntry(query, view.questionEnd, 0, 5_000, null);

const ANSWER_BYTES = entryBytes(answer, key('n00.org'));
const FAILURE_BYTES = entryBytes(failure, key('f00.org'));
const numbered = (letter: string, index: number): string =>
  `${letter}${index.toString().padStart(2, '0')}.org`;

describe('the bound', () => {
  test('least recently used go first, and bytes never exceed it', () => {
    // Fifteen sixteenths are for answers: room for ten of them.
    const bytesMax = Math.ceil((ANSWER_BYTES * 10 * 16) / 15);
    const store = new CacheStore(bytesMax);
    for (let index = 0; index < 10; index += 1) store.set(key(numbered('n', index)), answer);
    expect([store.entries, store.bytes]).toEqual([10, 10 * ANSWER_BYTES]);
    expect(store.get(key('n00.org'))).toBe(answer);
    store.set(key('n10.org'), answer);
    expect([store.entries, store.bytes]).toEqual([10, 10 * ANSWER_BYTES]);
    expect(store.get(key('n00.org'))).toBe(answer);
    expect(store.get(key('n01.org'))).toBeUndefined();
  });

  test('a flood of failures evicts no answer', () => {
    const bytesMax = FAILURE_BYTES * 16 * 5;
    const store = new CacheStore(bytesMax);
    for (let index = 0; index < 20; index += 1) store.set(key(numbered('n', index)), answer);
    for (let index = 0; index < 99; index += 1) store.set(key(numbered('f', index)), failure);
    expect(store.failures).toBe(5);
    expect(store.entries).toBe(25);
    expect(store.bytes).toBeLessThanOrEqual(bytesMax);
    expect(store.getFailure(key('f98.org'))).toBe(failure);
    expect(store.getFailure(key('f93.org'))).toBeUndefined();
  });

  test('what is larger than all the room is not kept, and evicts nothing', () => {
    const store = new CacheStore(Math.ceil((ANSWER_BYTES * 2 * 16) / 15));
    store.set(key('n00.org'), answer);
    const answers = Array.from({ length: 200 }, (_, at) => mx('a.org', 60, `h${at}.a.org`));
    store.set(key('big.org'), entryOf(respond('a.org', 'MX', RCODE.NOERROR, { answers }), 0));
    expect(store.get(key('big.org'))).toBeUndefined();
    expect(store.get(key('n00.org'))).toBe(answer);
  });

  test('replacing counts once', () => {
    const store = new CacheStore(1_048_576);
    store.set(key('n00.org'), answer);
    store.set(key('n00.org'), answer);
    expect([store.entries, store.bytes]).toEqual([1, ANSWER_BYTES]);
  });
});

describe('answers and failures of one key', () => {
  test('a failure leaves the answer, which may serve stale; an answer ends the failure', () => {
    const store = new CacheStore(1_048_576);
    store.set(key('a.org'), answer);
    store.set(key('a.org'), failure);
    expect(store.get(key('a.org'))).toBe(answer);
    expect(store.getFailure(key('a.org'))).toBe(failure);
    store.set(key('a.org'), answer);
    expect(store.getFailure(key('a.org'))).toBeUndefined();
  });

  test('delete takes both', () => {
    const store = new CacheStore(1_048_576);
    store.set(key('a.org'), answer);
    store.set(key('a.org'), failure);
    expect(store.delete(key('a.org'))).toBe(true);
    expect(store.delete(key('a.org'))).toBe(false);
    expect([store.entries, store.bytes]).toEqual([0, 0]);
  });
});

const filledStore = (): CacheStore => {
  const store = new CacheStore(1_048_576);
  for (const name of ['a.org', 'b.a.org', 'ba.org', 'c.net']) store.set(key(name), answer);
  store.set(key('a.org', TYPE.AAAA), answer);
  store.set(key('a.org', TYPE.TXT), failure);
  return store;
};
const names = (store: CacheStore): string[] =>
  [...store.dump(100)].map(([each]) => each.slice(0, -5)).sort();

describe('flushing', () => {
  test('by name: every type and the failures, nothing below', () => {
    const store = filledStore();
    expect(store.flushName(keyName('A.org'))).toBe(3);
    expect(names(store)).toEqual(['b.a.org', 'ba.org', 'c.net'].map(keyName).sort());
  });

  test('by suffix: the name and all below', () => {
    const store = filledStore();
    expect(store.flushSuffix(keyName('a.org'))).toBe(4);
    expect(names(store)).toEqual(['ba.org', 'c.net'].map(keyName).sort());
    expect(store.flushSuffix(keyName('.'))).toBe(2);
  });

  test('all', () => {
    const store = filledStore();
    expect(store.flushAll()).toBe(6);
    expect([store.entries, store.bytes]).toEqual([0, 0]);
  });
});

test('a dump is bounded, most recently used first, and uses nothing', () => {
  const store = new CacheStore(1_048_576);
  for (const name of ['x.org', 'y.org', 'z.org']) store.set(key(name), answer);
  store.get(key('x.org'));
  const dumped = (): string[] => [...store.dump(2)].map(([each]) => each);
  expect(dumped()).toEqual([key('x.org'), key('z.org')]);
  expect(dumped()).toEqual([key('x.org'), key('z.org')]);
  expect([...store.dump(0)]).toEqual([]);
});
