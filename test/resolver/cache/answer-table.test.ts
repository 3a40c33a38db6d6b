import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { AnswerTable } from '../../../resolver/cache/answer-table.ts';
import {
  foldQuestion,
  hashQuestion,
  QUESTION_WORDS_MAX,
  RING_OCTETS_MIN,
  tableOctetsOf,
} from '../../../resolver/cache/answer-table-layout.ts';
import {
  AnswerTableReader,
  ASK_CORE,
  HOT_ANSWER_OCTETS_MAX,
} from '../../../resolver/cache/answer-table-reader.ts';
import {
  type CacheEntry,
  isFresh,
  renderAnswer,
  renderedOctetsMax,
} from '../../../resolver/cache/entry.ts';
import { queryKey } from '../../../resolver/cache/key.ts';
import { FLAG, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import {
  parseQuery,
  QueryVerdict,
  QueryView,
  udpLimitOctets,
} from '../../../resolver/wire/message.ts';
import { writeQuery, writeResponse } from '../../../resolver/wire/write.ts';
import { entryOf } from '../../support/cache.ts';
import { anyName, ask, wireName } from '../../support/wire.ts';

const SMALLEST = tableOctetsOf(RING_OCTETS_MIN / 16);
const QUERY_AT = 8;
const NOW_MS = 50_000;

/** A table with its reader, and the memory that the reader answers in. */
function createTable(octetsMax = SMALLEST): {
  table: AnswerTable;
  ask: (query: Uint8Array, nowMs?: number) => Uint8Array | null;
} {
  const table = new AnswerTable(octetsMax, 0x12345678);
  const memory = new Uint8Array(4_096);
  const reader = new AnswerTableReader(table.memory, memory);
  return {
    table,
    ask(query, nowMs = NOW_MS) {
      memory.fill(0xee);
      memory.set(query, QUERY_AT);
      reader.lookAhead(QUERY_AT, query.length, 0);
      reader.readAhead(1);
      const octets = reader.answer(QUERY_AT, query.length, nowMs);
      if (octets === ASK_CORE) {
        expect(memory.slice(QUERY_AT, QUERY_AT + query.length)).toEqual(query.slice());
        return null;
      }
      expect(memory.subarray(0, QUERY_AT).every((octet) => octet === 0xee)).toBe(true);
      expect(
        memory
          .subarray(QUERY_AT + Math.max(HOT_ANSWER_OCTETS_MAX, query.length))
          .every((octet) => octet === 0xee),
      ).toBe(true);
      return memory.slice(QUERY_AT, QUERY_AT + octets);
    },
  };
}

/** What the core answers from its cache; null where it would not from this entry. */
function coreAnswer(entry: CacheEntry, key: string, query: Uint8Array, nowMs: number) {
  const view = new QueryView();
  if (parseQuery(query, view) !== QueryVerdict.ok || queryKey(query, view) !== key) return null;
  if (!isFresh(entry, nowMs)) return null;
  const out = new Uint8Array(renderedOctetsMax(entry));
  const how = { nowMs, octetsMax: udpLimitOctets(view) };
  return out.slice(0, renderAnswer(entry, query, view, how, out));
}

function entryFor(name: string, ttlSeconds = 300, nowMs = NOW_MS): [string, CacheEntry] {
  const { query, view } = ask(name, TYPE.A);
  const response = writeResponse({
    id: 0,
    flags: FLAG.RD | FLAG.RA,
    question: { name: wireName(name), type: TYPE.A },
    answers: [
      { name: wireName(name), type: TYPE.A, ttlSeconds, rdata: Uint8Array.of(192, 0, 2, 1) },
    ],
  });
  return [queryKey(query, view), entryOf(response, nowMs)];
}

const flags = fc.constantFrom(0, FLAG.AD, FLAG.TC, FLAG.AA, FLAG.AD | FLAG.AA);
const rdata = fc.uint8Array({ maxLength: 60 });

const seldom = <Value>(arbitrary: fc.Arbitrary<Value>): fc.Arbitrary<Value | null> =>
  fc.oneof({ arbitrary: fc.constant(null), weight: 6 }, { arbitrary, weight: 1 });

/** A client's datagram about a name, mostly plain, sometimes not, in any case of letters. */
const client = fc.record({
  id: fc.nat(0xffff),
  rd: fc.boolean(),
  ad: fc.boolean(),
  cd: fc.boolean(),
  edns: fc.boolean(),
  dnssecOk: fc.boolean(),
  udpOctets: fc.oneof(fc.constantFrom(0, 512, 1232, 4096), fc.nat(0xffff)),
  upper: fc.infiniteStream(fc.boolean()),
  /** Any octet of the datagram changed, or octets behind it. */
  damage: seldom(fc.tuple(fc.nat(400), fc.nat(255))),
  behind: seldom(fc.uint8Array({ minLength: 1, maxLength: 20 })),
});

const response = fc.record({
  name: anyName,
  flags,
  rcode: fc.constantFrom(RCODE.NOERROR, RCODE.NXDOMAIN),
  type: fc.constantFrom(TYPE.A, TYPE.MX, TYPE.TXT, TYPE.TLSA, TYPE.HTTPS),
  answers: fc.array(fc.tuple(fc.nat(100_000), rdata), { maxLength: 30, size: 'max' }),
  authorities: fc.array(fc.tuple(fc.nat(100_000), rdata), { maxLength: 3 }),
  dnssecOk: fc.boolean(),
  cd: fc.boolean(),
});

test('front and core give the same octets, or the front leaves it to the core', () => {
  let hits = 0;
  const property = fc.property(
    response,
    client,
    fc.nat(320_000),
    fc.boolean(),
    (said, asked, laterMs, sameKey) => {
      const name = said.name;
      const record = ([ttlSeconds, data]: [number, Uint8Array]) =>
        ({ name, type: said.type, ttlSeconds, rdata: data }) as const;
      const wire = writeResponse({
        id: 0,
        flags: said.flags,
        rcode: said.rcode,
        question: { name, type: said.type },
        answers: said.answers.map(record),
        authorities: said.authorities.map(record),
      });
      // Admission has tests of its own; here the lifetime is whatever it is.
      const entry: CacheEntry = {
        ...entryOf(wire, NOW_MS),
        expiresAtMs: NOW_MS + 300_000,
        staleUntilMs: NOW_MS + 600_000,
      };
      const view = new QueryView();
      const { dnssecOk } = said;
      const published = writeQuery({ id: 0, name, type: said.type, cd: said.cd, dnssecOk });
      expect(parseQuery(published, view)).toBe(QueryVerdict.ok);
      const key = queryKey(published, view);
      const { table, ask: askFront } = createTable();
      table.publish(key, entry);

      const cased = name.map((octet) => {
        const isLetter = octet >= 0x61 && octet <= 0x7a;
        return isLetter && asked.upper.next().value === true ? octet - 0x20 : octet;
      });
      const wanted = sameKey ? { cd: said.cd, edns: asked.edns || dnssecOk, dnssecOk } : {};
      const plain = writeQuery({ ...asked, name: cased, type: said.type, ...wanted });
      const opt = plain.length - 11;
      if (plain[11] === 1) plain.set([asked.udpOctets >>> 8, asked.udpOctets & 0xff], opt + 3);
      const query = Uint8Array.from([...plain, ...(asked.behind ?? [])]);
      if (asked.damage !== null) query[asked.damage[0] % query.length] = asked.damage[1];

      const nowMs = NOW_MS + laterMs;
      const front = askFront(query, nowMs);
      const core = coreAnswer(entry, key, query, nowMs);
      if (front !== null) {
        hits += 1;
        expect(front).toEqual(core);
      } else if (core !== null) {
        // It may leave only what is not plain, or not to be sent whole.
        const isPlain = asked.behind === null && asked.damage === null;
        const isCut = (core[2]! & 0x02) !== 0;
        expect(isPlain && !isCut).toBe(false);
      }
    },
  );
  fc.assert(property, { numRuns: 3_000 });
  expect(hits).toBeGreaterThan(500);
});

test('two questions of one hash stay two questions', () => {
  const { table, ask: askFront } = createTable();
  /** Ten letters, different for each index. */
  const labelOf = (index: number): string => {
    let state = index;
    return Array.from({ length: 10 }, () => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      return String.fromCharCode(0x61 + ((state >>> 16) % 26));
    }).join('');
  };
  const nameOf = (index: number): string => `${labelOf(index)}.example`;
  const { query: message, view } = ask(nameOf(0), TYPE.A, { edns: false });
  const memory = new Uint8Array(64);
  memory.set(message);
  const memoryWords = new Int32Array(memory.buffer);
  const question = new Int32Array(QUESTION_WORDS_MAX);
  const seen = new Map<number, number>();
  let collisions = 0;
  for (let index = 0; index < 200_000; index += 1) {
    memory.set(Buffer.from(labelOf(index), 'latin1'), 13);
    const count = foldQuestion(memoryWords, 0, view.nameEnd, question);
    const hash = hashQuestion(question, count, 0, table.memory.seed);
    const other = seen.get(hash);
    seen.set(hash, index);
    if (other === undefined) continue;
    collisions += 1;
    const queries = [other, index].map((it) => ask(nameOf(it), TYPE.A).query);
    table.publish(...entryFor(nameOf(other)));
    expect(queries.map((query) => askFront(query) !== null)).toEqual([true, false]);
    table.publish(...entryFor(nameOf(index)));
    expect(queries.map((query) => askFront(query) !== null)).toEqual([true, true]);
  }
  expect(collisions).toBeGreaterThan(0);
});

test('random octets are the core’s, and stay as they were', () => {
  const { table, ask: askFront } = createTable();
  table.publish(...entryFor('a.example'));
  const property = fc.property(fc.uint8Array({ maxLength: 600 }), (octets) => {
    expect(askFront(octets)).toBeNull();
  });
  fc.assert(property, { numRuns: 2_000 });
});

test('a query cut short anywhere is the core’s', () => {
  const { table, ask: askFront } = createTable();
  table.publish(...entryFor('a.example'));
  const { query } = ask('a.example', TYPE.A);
  expect(askFront(query)).not.toBeNull();
  for (let octets = 0; octets < query.length; octets += 1) {
    expect(askFront(query.subarray(0, octets))).toBeNull();
  }
});

describe('what is published', () => {
  const { query } = ask('a.example', TYPE.A);

  test('serves until its time, and no longer', () => {
    const { table, ask: askFront } = createTable();
    table.publish(...entryFor('a.example', 30));
    const ttls = [0, 999, 1_000, 29_999].map((ageMs) => askFront(query, NOW_MS + ageMs)!);
    const ttlAt = query.length - 11 + 6;
    expect(ttls.map((octets) => octets[ttlAt + 3])).toEqual([30, 30, 29, 1]);
    expect(askFront(query, NOW_MS + 30_000)).toBeNull();
  });

  test('is replaced, removed, cleared', () => {
    const { table, ask: askFront } = createTable();
    const [key, entry] = entryFor('a.example', 30);
    table.publish(key, entry);
    table.publish(key, entryFor('a.example', 60)[1]);
    expect([table.entries, askFront(query, NOW_MS + 40_000) === null]).toEqual([1, false]);
    expect([table.remove(key), table.remove(key), table.entries]).toEqual([true, false, 0]);
    expect(askFront(query)).toBeNull();
    table.publish(key, entry);
    table.clear();
    expect([table.entries, askFront(query)]).toEqual([0, null]);
    table.publish(key, entry);
    expect(askFront(query)).not.toBeNull();
  });

  test('is not what is too large; an older answer goes all the same', () => {
    const { table, ask: askFront } = createTable();
    const [key, entry] = entryFor('a.example');
    table.publish(key, entry);
    table.publish(key, { ...entry, wire: new Uint8Array(1_222) });
    expect([table.entries, askFront(query)]).toEqual([0, null]);
  });
});

describe('bounds', () => {
  const names = (count: number, prefix: string) =>
    Array.from({ length: count }, (_, index) => `${prefix}${index}.example`);

  test('the oldest goes first; what is asked for stays, however much passes by', () => {
    const { table, ask: askFront } = createTable();
    table.publish(...entryFor('popular.example'));
    const popular = ask('popular.example', TYPE.A).query;
    for (const name of names(20_000, 'n')) {
      table.publish(...entryFor(name));
      if (name.endsWith('7.example')) expect(askFront(popular)).not.toBeNull();
    }
    expect(table.entries).toBeLessThanOrEqual(512);
    expect(table.entries).toBeGreaterThan(400);
    expect(askFront(ask('n0.example', TYPE.A).query)).toBeNull();
    expect(askFront(ask('n19999.example', TYPE.A).query)).not.toBeNull();
  });

  test('the memory asked for is never exceeded', () => {
    for (const octetsMax of [SMALLEST, 1_000_000, 89_478_485]) {
      expect(new AnswerTable(octetsMax, 0).octets).toBeLessThanOrEqual(octetsMax);
    }
  });

  test('whatever is published and removed, a hit is the last that was published', () => {
    const step = fc.tuple(fc.constantFrom('publish', 'remove', 'ask'), fc.nat(700), fc.nat(9));
    const property = fc.property(fc.array(step, { minLength: 500, maxLength: 3_000 }), (steps) => {
      const { table, ask: askFront } = createTable();
      const model = new Map<string, CacheEntry>();
      for (const [verb, index, ttl] of steps) {
        const name = `n${index}.x${'x'.repeat(index % 50)}.example`;
        const [key, entry] = entryFor(name, 100 + ttl);
        if (verb === 'publish') {
          table.publish(key, entry);
          model.set(key, entry);
        } else if (verb === 'remove') {
          table.remove(key);
          model.delete(key);
        }
        const { query } = ask(name, TYPE.A);
        const front = askFront(query);
        const known = model.get(key);
        if (verb === 'publish') expect(front).not.toBeNull();
        if (front !== null) expect(front).toEqual(coreAnswer(known!, key, query, NOW_MS));
      }
    });
    fc.assert(property, { numRuns: 20, endOnFailure: true });
  });
});

describe('popularity', () => {
  test('hits are counted per key, told once, and fade', () => {
    const { table, ask: askFront } = createTable();
    const [key, entry] = entryFor('a.example');
    table.publish(key, entry);
    table.publish(...entryFor('b.example'));
    for (let hit = 0; hit < 300; hit += 1) askFront(ask('a.example', TYPE.A).query);
    expect(table.hitsOf(key)).toBe(255);
    const told: [string, number][] = [];
    const round = () => table.sweep(table.slotCount, 9, (...popular) => told.push(popular));
    round();
    round();
    expect([told, table.hitsOf(key)]).toEqual([[[key, 255]], 63]);
    for (let hit = 0; hit < 5; hit += 1) askFront(ask('a.example', TYPE.A).query);
    round();
    expect([told.slice(1), table.hitsOf(key)]).toEqual([[[key, 5]], 34]);
  });

  test('a published entry that is offered again keeps its place', () => {
    const { table, ask: askFront } = createTable();
    const [key, entry] = entryFor('a.example');
    table.ensure(key, entry);
    askFront(ask('a.example', TYPE.A).query);
    table.ensure(key, entry);
    expect([table.entries, table.hitsOf(key)]).toEqual([1, 1]);
  });
});
