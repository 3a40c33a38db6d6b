/**
 * Nanoseconds per call of what a cached answer costs a front, step by step, and publishing the core: each
 * row does what the one above it does and something more. CPU time.
 */
import { admit } from '../../resolver/cache/admission.ts';
import { AnswerTable } from '../../resolver/cache/answer-table.ts';
import {
  foldQuestion,
  hashQuestion,
  QUESTION_WORDS_MAX,
} from '../../resolver/cache/answer-table-layout.ts';
import { AnswerTableReader } from '../../resolver/cache/answer-table-reader.ts';
import type { CacheEntry } from '../../resolver/cache/entry.ts';
import { queryKey } from '../../resolver/cache/key.ts';
import { FLAG, OPT_FIXED_OCTETS, TYPE } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryView } from '../../resolver/wire/message.ts';
import { textToName } from '../../resolver/wire/names.ts';
import { writeQuery, writeResponse } from '../../resolver/wire/write.ts';
import { measureCalls } from '../load/calls.ts';
import { benchOptions } from '../load/options.ts';

benchOptions({});
const NOW_MS = 1_000_000;
const TABLE_OCTETS = 768 * 1_048_576;
const LIMITS = {
  minTtlMs: 0,
  maxTtlMs: 86_400_000,
  maxNegativeTtlMs: 10_800_000,
  failureTtlMs: 5_000,
  staleMs: 0,
};
/** As a batch has them. */
const PLACES = 64;
const PLACE_OCTETS = 2_112;

const memory = new Uint8Array(PLACES * PLACE_OCTETS);
const view = new QueryView();

function sampleOf(index: number): { query: Uint8Array; key: string; entry: CacheEntry } {
  const name = textToName(`h${index}.hot.example`) as Uint8Array;
  const query = writeQuery({ id: index & 0xffff, name, type: TYPE.A });
  parseQuery(query, view);
  const rdata = Uint8Array.of(192, 0, 2, 1);
  const answers = [{ name, type: TYPE.A, ttlSeconds: 86_400, rdata }];
  const flags = FLAG.RD | FLAG.RA;
  const response = writeResponse({ id: 0, flags, question: { name, type: TYPE.A }, answers });
  const admission = admit(response, NOW_MS, LIMITS);
  if (admission.verdict !== 'keep') throw new Error('the sample is not cacheable');
  return { query, key: queryKey(query, view), entry: admission.entry };
}

for (const names of [1_000, 1_000_000]) {
  const table = new AnswerTable(TABLE_OCTETS, 0x12345678);
  const reader = new AnswerTableReader(table.memory, memory);
  const queries: Uint8Array[] = [];
  for (let index = 0; index < names; index += 1) {
    const { query, key, entry } = sampleOf(index);
    table.publish(key, entry);
    queries.push(query);
  }
  console.log(`\n${names.toLocaleString('en')} entries`);
  const stride = 7_919;
  const put = (index: number): number => {
    const query = queries[(index * stride) % names]!;
    const at = (index % PLACES) * PLACE_OCTETS;
    memory.set(query, at);
    return at;
  };
  const octets = (index: number): number => queries[(index * stride) % names]!.length;
  measureCalls('copy a query into its place', put);
  measureCalls('… and parse: not plain, as QDCOUNT is 2', (index) => {
    const at = put(index);
    memory[at + 5] = 2;
    return reader.answer(at, octets(index), NOW_MS);
  });
  measureCalls('… and parse, hash, probe: another type, not here', (index) => {
    const at = put(index);
    memory[at + octets(index) - OPT_FIXED_OCTETS - 3] = TYPE.NS;
    return reader.answer(at, octets(index), NOW_MS);
  });
  measureCalls('… and parse, hash, probe, render: no TTL to patch', (index) =>
    reader.answer(put(index), octets(index), NOW_MS),
  );
  measureCalls('… and TTLs patched: a hit', (index) =>
    reader.answer(put(index), octets(index), NOW_MS + 5_000),
  );
}

const { query, key, entry } = sampleOf(1);
parseQuery(query, view);
memory.set(query, 0);
const words = new Int32Array(memory.buffer);
const question = new Int32Array(QUESTION_WORDS_MAX);
console.log('');
measureCalls('fold and hash', (index) => {
  words[0] = index;
  const count = foldQuestion(words, 0, view.nameEnd, question);
  return hashQuestion(question, count, index & 3, 7) & 1;
});
const table = new AnswerTable(TABLE_OCTETS, 7);
measureCalls('publish', (index) => {
  table.publish(key, entry);
  return index & 1;
});
