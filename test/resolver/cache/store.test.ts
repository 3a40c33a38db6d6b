import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type CacheEntry, failureEntry } from '../../../resolver/cache/entry.ts';
import { formatKey } from '../../../resolver/cache/key.ts';
import { CacheStore } from '../../../resolver/cache/store.ts';
import { CLASS, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { nameKey } from '../../../resolver/wire/names.ts';
import { entryOf, mx, respond, soa } from '../../support/cache.ts';
import { ask, wireName } from '../../support/wire.ts';

const keyName = (text: string): string => nameKey(wireName(text), 0) as string;
const key = (text: string, type: number = TYPE.MX): string =>
  formatKey({ name: keyName(text), type, class: CLASS.IN, dnssecOk: false, cd: false });
const answerOf = (name: string, ...exchanges: string[]): CacheEntry =>
  entryOf(
    respond(name, 'MX', RCODE.NOERROR, { answers: exchanges.map((it) => mx(name, 60, it)) }),
    0,
  );
const addressOf = (name: string): CacheEntry =>
  entryOf(
    respond(name, 'A', RCODE.NOERROR, {
      answers: [{ name, type: 'A', ttl: 60, data: '192.0.2.1' }],
    }),
    0,
  );
const denialOf = (name: string, type = 'A'): CacheEntry =>
  entryOf(respond(name, type, RCODE.NXDOMAIN, { authorities: [soa('org', 60, 60)] }), 0);
const failureOf = (name: string, type: number = TYPE.MX): CacheEntry => {
  const { query, view } = ask(name, type);
  return failureEntry(query, view.questionEnd, 0, 5_000, { code: 22, text: `${name} fails` });
};
const answer = answerOf('a.org', 'mx.a.org');
const failure = failureOf('a.org');
const BYTES = 1_048_576;

describe('what is kept comes back', () => {
  test("with its times, reason and upstream, and is the reader's own", () => {
    const store = new CacheStore(BYTES);
    const entry: CacheEntry = {
      ...answerOf('a.org', 'mx.a.org', 'mx2.b.net'),
      storedAtMs: 1_234_567,
      expiresAtMs: 1_234_567 + 3_600_000,
      staleUntilMs: 1_234_567 + 262_800_000,
      upstream: '192.0.2.53:53',
    };
    const lost = { ...failureOf('a.org'), storedAtMs: 99, expiresAtMs: 5_099, staleUntilMs: 5_099 };
    store.set(key('a.org'), entry);
    store.set(key('a.org'), lost);
    const found = store.get(key('a.org'));
    expect(found).toEqual(entry);
    expect(store.getFailure(key('a.org'))).toEqual(lost);
    store.flushAll();
    for (let index = 0; index < 5_000; index += 1) {
      const name = `n${index}.org`;
      store.set(key(name), answerOf(name, 'other.example'));
    }
    expect(found).toEqual(entry);
  });

  test('whatever else is stored, replaced, dropped or evicted meanwhile', () => {
    const NAMES = 300;
    const step = fc.record({
      what: fc.constantFrom('set', 'set', 'set', 'get', 'delete', 'hits'),
      name: fc.nat(NAMES - 1),
      type: fc.constantFrom('MX', 'A', 'NX'),
      exchanges: fc.integer({ min: 1, max: 400 }),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 200, maxLength: 600 }), fc.nat(), (steps, seed) => {
        const store = new CacheStore(BYTES, { seed });
        const model = new Map<string, CacheEntry>();
        for (const { what, name: number, type, exchanges } of steps) {
          const name = `n${number}.org`;
          const id = key(name, type === 'MX' ? TYPE.MX : TYPE.A);
          if (what === 'set') {
            const hosts = Array.from({ length: exchanges }, (_, at) => `h${at}.${number}.net`);
            const entry =
              type === 'MX'
                ? answerOf(name, ...hosts)
                : type === 'A'
                  ? addressOf(name)
                  : denialOf(name);
            store.set(id, entry);
            model.set(id, entry);
          } else if (what === 'delete') {
            store.delete(id);
            model.delete(id);
          } else if (what === 'hits') {
            store.addHits(id, 3);
          }
          const found = store.get(id);
          if (found !== undefined) expect(found).toEqual(model.get(id));
          else model.delete(id);
          expect(store.bytes).toBeLessThanOrEqual(BYTES);
        }
        const dumped = [...store.dump(10_000)];
        expect(dumped.length).toBe(store.entries);
        for (const [id, entry] of dumped) expect(entry).toEqual(model.get(id));
        expect(new Set(dumped.map(([id]) => id)).size).toBe(dumped.length);
      }),
      { numRuns: 40 },
    );
  });

  test('keys that share a hash tag and a slot are told apart, also when one goes', () => {
    // 4,000 names in a table of 8,192 slots: neighbours and tags collide all the time.
    const store = new CacheStore(BYTES);
    const names = Array.from({ length: 4_000 }, (_, index) => `c${index}.org`);
    for (const name of names) store.set(key(name), answerOf(name, `mx.${name}`));
    const present = names.filter((name) => store.peek(key(name), 'answer') !== undefined);
    expect(present.length).toBe(store.entries);
    for (const [index, name] of present.entries()) if (index % 3 === 0) store.delete(key(name));
    for (const [index, name] of present.entries()) {
      const expected = index % 3 === 0 ? undefined : answerOf(name, `mx.${name}`);
      expect(store.peek(key(name), 'answer')).toEqual(expected);
    }
  });
});

describe('the bound', () => {
  const fill = (
    store: CacheStore,
    count: number,
    entry: (name: string) => [string, CacheEntry],
  ) => {
    for (let index = 0; index < count; index += 1) store.set(...entry(`n${index}.org`));
  };
  const domains = Array.from({ length: 500 }, (_, index) => `domain${index}.com`);
  const survivors = (store: CacheStore): number =>
    domains.filter((name) => store.peek(key(name), 'answer') !== undefined).length;

  test('bytes never exceed it, and what nobody asks for goes first', () => {
    const store = new CacheStore(BYTES);
    for (const name of domains) store.set(key(name), answerOf(name, `mx.${name}`));
    for (let index = 0; index < 40_000; index += 1) {
      const name = `n${index}.org`;
      store.set(key(name), answerOf(name, `mx.${name}`));
      if (index % 1_000 === 0) for (const each of domains) store.get(key(each));
      if (index % 100 === 0) expect(store.bytes).toBeLessThanOrEqual(BYTES);
    }
    expect(store.evicted).toBeGreaterThan(30_000);
    expect(survivors(store)).toBe(500);
    expect(store.peek(key('n1.org'), 'answer')).toBeUndefined();
    expect(store.peek(key('n39999.org'), 'answer')).toBeDefined();
  });

  test.each([
    ['NXDOMAIN', (name: string): [string, CacheEntry] => [key(name, TYPE.A), denialOf(name)]],
    ['NXDOMAIN of MX', (name: string): [string, CacheEntry] => [key(name), denialOf(name, 'MX')]],
    ['a wildcard', (name: string): [string, CacheEntry] => [key(name, TYPE.A), addressOf(name)]],
    ['failures', (name: string): [string, CacheEntry] => [key(name), failureOf(name)]],
  ])('a flood of random names that ends in %s leaves the MX of every domain', (_what, entry) => {
    const store = new CacheStore(BYTES);
    for (const name of domains) store.set(key(name), answerOf(name, `mx.${name}`));
    fill(store, 40_000, entry);
    expect(store.bytes).toBeLessThanOrEqual(BYTES);
    expect(survivors(store)).toBe(500);
  });

  test('a newcomer that was asked for again outlives the flood', () => {
    const store = new CacheStore(BYTES);
    store.set(key('host.com', TYPE.A), addressOf('host.com'));
    store.set(key('once.com', TYPE.A), addressOf('once.com'));
    store.get(key('host.com', TYPE.A));
    fill(store, 10_000, (name) => [key(name, TYPE.A), denialOf(name)]);
    expect(store.peek(key('host.com', TYPE.A), 'answer')).toBeDefined();
    expect(store.peek(key('once.com', TYPE.A), 'answer')).toBeUndefined();
  });

  test('what a front answered counts too', () => {
    const store = new CacheStore(BYTES);
    store.set(key('host.com', TYPE.A), addressOf('host.com'));
    store.addHits(key('host.com', TYPE.A), 7);
    store.addHits(key('unknown.com', TYPE.A), 7);
    expect(store.hits(key('host.com', TYPE.A))).toBe(7);
    store.set(key('host.com', TYPE.A), addressOf('host.com'));
    expect(store.hits(key('host.com', TYPE.A))).toBe(3);
    fill(store, 10_000, (name) => [key(name, TYPE.A), denialOf(name)]);
    expect(store.peek(key('host.com', TYPE.A), 'answer')).toBeDefined();
  });

  test('renewing the same entries for ever evicts none', () => {
    const store = new CacheStore(BYTES);
    for (let round = 0; round < 100; round += 1) {
      for (const name of domains) store.set(key(name), answerOf(name, `mx.${name}`));
    }
    expect([store.evicted, survivors(store), store.entries]).toEqual([0, 500, 500]);
  });

  test('what is larger than half a segment is not kept, nor what it would replace', () => {
    const store = new CacheStore(BYTES);
    store.set(key('n00.org'), answerOf('n00.org', 'mx.n00.org'));
    store.set(key('big.org'), answerOf('big.org', 'mx.big.org'));
    const hosts = Array.from({ length: 2_000 }, (_, at) => `host-with-a-long-name-${at}.a.org`);
    store.set(key('big.org'), answerOf('big.org', ...hosts));
    expect(store.get(key('big.org'))).toBeUndefined();
    expect(store.get(key('n00.org'))).toBeDefined();
  });

  test('replacing counts once', () => {
    const store = new CacheStore(BYTES);
    store.set(key('a.org'), answer);
    store.set(key('a.org'), answer);
    expect(store.entries).toBe(1);
  });
});

describe('answers and failures of one key', () => {
  test('a failure leaves the answer, which may serve stale; an answer ends the failure', () => {
    const store = new CacheStore(BYTES);
    store.set(key('a.org'), answer);
    store.set(key('a.org'), failure);
    expect(store.get(key('a.org'))).toEqual(answer);
    expect(store.getFailure(key('a.org'))).toEqual(failure);
    store.set(key('a.org'), answer);
    expect(store.getFailure(key('a.org'))).toBeUndefined();
  });

  test('delete takes both', () => {
    const store = new CacheStore(BYTES);
    store.set(key('a.org'), answer);
    store.set(key('a.org'), failure);
    expect(store.delete(key('a.org'))).toBe(true);
    expect(store.delete(key('a.org'))).toBe(false);
    expect(store.entries).toBe(0);
  });
});

const filledStore = (): CacheStore => {
  const store = new CacheStore(BYTES);
  for (const name of ['a.org', 'b.a.org', 'ba.org', 'c.net']) {
    store.set(key(name), answerOf(name, 'mx.a.org'));
  }
  store.set(key('a.org', TYPE.A), addressOf('a.org'));
  store.set(key('a.org', TYPE.TXT), failureOf('a.org', TYPE.TXT));
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

  test('by type', () => {
    const store = filledStore();
    expect(store.flushType(TYPE.MX)).toBe(4);
    expect(names(store)).toEqual([keyName('a.org'), keyName('a.org')]);
  });

  test('all', () => {
    const store = filledStore();
    expect(store.flushAll()).toBe(6);
    expect(store.entries).toBe(0);
  });
});

test('a dump is bounded, most recently stored first', () => {
  const store = new CacheStore(BYTES);
  for (const name of ['x.org', 'y.org', 'z.org']) store.set(key(name), answerOf(name, 'mx.a.org'));
  store.get(key('x.org'));
  const dumped = (): string[] => [...store.dump(2)].map(([each]) => each);
  expect(dumped()).toEqual([key('z.org'), key('y.org')]);
  expect(dumped()).toEqual([key('z.org'), key('y.org')]);
  expect([...store.dump(0)]).toEqual([]);
});
