/** The cache and its copies in the answer table. */
import { expect, test } from 'vitest';
import { AnswerTable } from '../../../resolver/cache/answer-table.ts';
import { AnswerTableReader } from '../../../resolver/cache/answer-table-reader.ts';
import { failureEntry } from '../../../resolver/cache/entry.ts';
import { queryKey } from '../../../resolver/cache/key.ts';
import { CacheStore } from '../../../resolver/cache/store.ts';
import { RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { nameKey } from '../../../resolver/wire/names.ts';
import { entryOf, mx, respond } from '../../support/cache.ts';
import { ask, wireName } from '../../support/wire.ts';

const queryOf = (name: string) => ask(name, TYPE.MX).query;
function keyOf(name: string): string {
  const { query, view } = ask(name, TYPE.MX);
  return queryKey(query, view);
}
const entryFor = (name: string) =>
  entryOf(respond(name, 'MX', RCODE.NOERROR, { answers: [mx(name, 60)] }), 0);
const NAMES = ['n0.org', 'n1.org', 'n2.org'];

function createStore() {
  const table = new AnswerTable(1_048_576, 0);
  const memory = new Uint8Array(2_048);
  const reader = new AnswerTableReader(table.memory, memory);
  const store = new CacheStore(1_048_576, { table });
  const hits = (): boolean[] =>
    NAMES.map((name) => {
      const query = queryOf(name);
      memory.set(query);
      return reader.answer(0, query.length, 0) > 0;
    });
  return { table, store, hits };
}

test('answers are in the table while they are in the cache; failures never are', () => {
  const { store, hits } = createStore();
  for (const name of NAMES) store.set(keyOf(name), entryFor(name));
  expect(hits()).toEqual([true, true, true]);
  const { query, view } = ask('n0.org', TYPE.MX);
  store.set(keyOf('n0.org'), failureEntry(query, view.questionEnd, 0, 5_000, null));
  expect(hits()).toEqual([true, true, true]);
  store.delete(keyOf('n0.org'));
  expect(hits()).toEqual([false, true, true]);
  store.flushName(nameKey(wireName('n1.org'), 0) as string);
  expect(hits()).toEqual([false, false, true]);
  store.flushSuffix(nameKey(wireName('org'), 0) as string);
  expect(hits()).toEqual([false, false, false]);
  for (const name of NAMES) store.set(keyOf(name), entryFor(name));
  store.flushAll();
  expect(hits()).toEqual([false, false, false]);
});

test('what fronts serve is used, and stays', () => {
  const { table, store, hits } = createStore();
  for (const name of NAMES) store.set(keyOf(name), entryFor(name));
  table.remove(keyOf('n1.org'));
  expect(hits()).toEqual([true, false, true]);
  const used: string[] = [];
  for (let turn = 0; turn < 4; turn += 1) store.noteHits(4, 99, (key) => used.push(key));
  expect(used.toSorted()).toEqual([keyOf('n0.org'), keyOf('n2.org')]);
  for (let index = 0; index < 8_000; index += 1) {
    store.set(keyOf(`f${index}.org`), entryFor(`f${index}.org`));
  }
  expect(store.evicted).toBeGreaterThan(1_000);
  expect(NAMES.map((name) => store.peek(keyOf(name), 'answer') !== undefined)).toEqual([
    true,
    false,
    true,
  ]);
});

test('an answer that was crowded out of the table comes back when it is offered', () => {
  const { table, store, hits } = createStore();
  for (const name of NAMES) store.set(keyOf(name), entryFor(name));
  table.clear();
  store.offer(keyOf('n2.org'), entryFor('n2.org'));
  expect(hits()).toEqual([false, false, true]);
});
