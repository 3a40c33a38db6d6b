/**
 * What a million cached MX answers cost in memory: resident octets an entry, beside those of the response
 * on the wire. `npm run bench -- dns-memory [--entries N] [--json]`; some seconds.
 */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { admit } from '../../resolver/cache/admission.ts';
import { queryKey } from '../../resolver/cache/key.ts';
import { CacheStore } from '../../resolver/cache/store.ts';
import { FLAG, TYPE } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryView } from '../../resolver/wire/message.ts';
import { textToName } from '../../resolver/wire/names.ts';
import { type RecordToWrite, writeQuery, writeResponse } from '../../resolver/wire/write.ts';
import { benchOptions } from '../load/options.ts';

const ENTRIES_DEFAULT = 1_000_000;
const NOW_MS = 1_000_000;
const LIMITS = {
  minTtlMs: 0,
  maxTtlMs: 86_400_000,
  maxNegativeTtlMs: 10_800_000,
  failureTtlMs: 5_000,
  staleMs: 259_200_000,
};
interface Shape {
  readonly name: string;
  readonly exchanges: readonly string[];
  /** Bound of the cache, an entry. */
  readonly roomOctets: number;
}

/** One host of its own, as small domains have; two at a provider; five, as the largest have. */
const SHAPES: readonly [Shape, Shape, Shape] = [
  { name: 'one exchange', exchanges: ['mx'], roomOctets: 160 },
  {
    name: 'two exchanges',
    exchanges: ['mx1.mail.hoster.example.com', 'mx2.mail.hoster.example.com'],
    roomOctets: 260,
  },
  {
    name: 'five exchanges',
    exchanges: ['aspmx', 'alt1.aspmx', 'alt2.aspmx', 'alt3.aspmx', 'alt4.aspmx'].map(
      (host) => `${host}.l.example.com`,
    ),
    roomOctets: 430,
  },
];

interface Row {
  readonly shape: string;
  readonly entries: number;
  readonly wireOctets: number;
  /** Growth of the process, an entry. */
  readonly residentOctets: number;
  /** What the cache counts, an entry. */
  readonly countedOctets: number;
  readonly ratio: number;
  readonly heapOctets: number;
  /** To write, admit and keep one. */
  readonly cpuMicroseconds: number;
}

function nameOf(text: string): Uint8Array {
  const name = textToName(text);
  if (typeof name === 'number') throw new Error(`not a name: ${text}`);
  return name;
}

/** The host in the domain itself is written with a pointer to it, as servers do. */
const exchangeRdata = (host: string, preference: number): Uint8Array =>
  host.includes('.')
    ? Uint8Array.from([0, preference, ...nameOf(host)])
    : Uint8Array.from([0, preference, ...nameOf(host).subarray(0, -1), 0xc0, 0x0c]);

function response(name: Uint8Array, exchanges: readonly string[]): Uint8Array {
  const answers = exchanges.map(
    (host, index): RecordToWrite => ({
      name,
      type: TYPE.MX,
      ttlSeconds: 3_600,
      rdata: exchangeRdata(host, 10 * index),
    }),
  );
  const flags = FLAG.RD | FLAG.RA;
  return writeResponse({ id: 0, flags, question: { name, type: TYPE.MX }, answers, edns: true });
}

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

/** With nothing on the heap that is garbage. */
function settledMemory(): NodeJS.MemoryUsage {
  for (let round = 0; round < 3; round += 1) collectGarbage();
  return process.memoryUsage();
}

const view = new QueryView();
const perEntry = (octets: number, entries: number): number => Math.round(octets / entries);

/** @returns octets of wire */
function fill(store: CacheStore, shape: Shape, entries: number): number {
  let wireOctets = 0;
  for (let index = 0; index < entries; index += 1) {
    const name = nameOf(`domain${index}.example.net`);
    const query = writeQuery({ id: 0, name, type: TYPE.MX });
    const admission = admit(response(name, shape.exchanges), NOW_MS, LIMITS, '192.0.2.53:53');
    if (admission.verdict !== 'keep') throw new Error('the sample is not cacheable');
    parseQuery(query, view);
    store.set(queryKey(query, view), admission.entry);
    wireOctets += admission.entry.wire.length;
  }
  return wireOctets;
}

function measure(shape: Shape, entries: number): Row {
  const before = settledMemory();
  const store = new CacheStore(entries * shape.roomOctets);
  const start = process.cpuUsage();
  const wireOctets = fill(store, shape, entries);
  const spent = process.cpuUsage(start);
  const after = settledMemory();
  if (store.entries !== entries) throw new Error(`${store.entries} of ${entries} fit`);
  const residentOctets = after.rss - before.rss;
  return {
    shape: shape.name,
    entries,
    wireOctets: perEntry(wireOctets, entries),
    residentOctets: perEntry(residentOctets, entries),
    countedOctets: perEntry(store.bytes, entries),
    ratio: Math.round((residentOctets / wireOctets) * 100) / 100,
    heapOctets: perEntry(after.heapUsed - before.heapUsed, entries),
    cpuMicroseconds: Math.round(((spent.user + spent.system) / entries) * 100) / 100,
  };
}

const values = benchOptions({
  entries: { type: 'string', default: String(ENTRIES_DEFAULT) },
  json: { type: 'boolean', default: false },
});
const entries = Number(values.entries);
// What the process needs to do such work at all, its young generation above all, is not the entries'.
measure(SHAPES[2], entries);
const rows = SHAPES.map((shape) => measure(shape, entries));
if (values.json) process.stdout.write(`${JSON.stringify(rows)}\n`);
else console.table(rows);
