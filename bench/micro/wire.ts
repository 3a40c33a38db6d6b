/**
 * Nanoseconds per call of what a cached answer costs in the core: parse, key, look up, render.
 * `node bench/micro/wire.ts`; CPU time.
 */
import { admit } from '../../resolver/cache/admission.ts';
import { renderAnswer, renderedOctetsMax } from '../../resolver/cache/entry.ts';
import { queryKey } from '../../resolver/cache/key.ts';
import { CacheStore } from '../../resolver/cache/store.ts';
import { FLAG, TYPE } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryView, udpLimitOctets } from '../../resolver/wire/message.ts';
import { nameKey, textToName } from '../../resolver/wire/names.ts';
import { type RecordToWrite, writeQuery, writeResponse } from '../../resolver/wire/write.ts';
import { CALLS, measureCalls } from '../load/calls.ts';
import { benchOptions } from '../load/options.ts';

benchOptions({});
const ENTRIES = 10_000;
const NOW_MS = 1_000_000;
const LIMITS = {
  minTtlMs: 0,
  maxTtlMs: 86_400_000,
  maxNegativeTtlMs: 10_800_000,
  failureTtlMs: 5_000,
  staleMs: 259_200_000,
};

function nameOf(text: string): Uint8Array {
  const name = textToName(text);
  if (typeof name === 'number') throw new Error(`not a name: ${text}`);
  return name;
}

/** Five exchanges, as the large providers have them. */
function mxRecords(owner: Uint8Array): RecordToWrite[] {
  return Array.from({ length: 5 }, (_, index) => ({
    name: owner,
    type: TYPE.MX,
    ttlSeconds: 3600,
    rdata: Uint8Array.from([0, 10 * index, ...nameOf(`alt${index}.aspmx.l.example.com`)]),
  }));
}

const names = Array.from({ length: ENTRIES }, (_, index) => nameOf(`Domain${index}.example.net`));
const queries = names.map((name, index) => writeQuery({ id: index & 0xffff, name, type: TYPE.MX }));
const store = new CacheStore(64 * 1_048_576);
const view = new QueryView();
for (const [index, name] of names.entries()) {
  const response = writeResponse({
    id: index & 0xffff,
    flags: FLAG.RD | FLAG.RA,
    question: { name, type: TYPE.MX },
    answers: mxRecords(name),
    edns: true,
  });
  const admission = admit(response, NOW_MS, LIMITS);
  if (admission.verdict !== 'keep') throw new Error('the sample is not cacheable');
  parseQuery(queries[index]!, view);
  store.set(queryKey(queries[index]!, view), admission.entry);
}

const query = queries[0]!;
parseQuery(query, view);
const entry = store.get(queryKey(query, view))!;
const out = Buffer.alloc(renderedOctetsMax(entry) + 64);
const how = { nowMs: NOW_MS + 5_000, octetsMax: udpLimitOctets(view) };
console.log(`MX response of ${entry.wire.length} octets, ${ENTRIES} entries, ${CALLS} calls\n`);

measureCalls('parseQuery', () => parseQuery(query, view));
measureCalls('nameKey', () => (nameKey(query, 12) as string).length);
const keyNs = measureCalls('queryKey', () => queryKey(query, view).length);
const renderNs = measureCalls('renderAnswer', () => renderAnswer(entry, query, view, how, out));
const hitNs = measureCalls('parse + key + look-up + render', (index) => {
  const asked = queries[index % ENTRIES]!;
  parseQuery(asked, view);
  return renderAnswer(store.get(queryKey(asked, view))!, asked, view, how, out);
});
console.log(
  `\nkey + render ${(keyNs + renderNs).toFixed(0)} ns; a whole hit ${hitNs.toFixed(0)} ns`,
);
