import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatKey } from '../../../resolver/cache/key.ts';
import { NAMES_MAX, NxdomainCuts } from '../../../resolver/cache/nxdomain-cut.ts';
import { CacheStore } from '../../../resolver/cache/store.ts';
import { CLASS, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { nameKey } from '../../../resolver/wire/names.ts';
import { cname, entryOf, respond, soa } from '../../support/cache.ts';
import { oracle } from '../../support/oracle.ts';
import { wireName } from '../../support/wire.ts';

const BYTES = 1_048_576;
const nameOf = (text: string): string => nameKey(wireName(text), 0) as string;
const keyOf = (text: string, type: number, flags = 0): string =>
  formatKey({
    name: nameOf(text),
    type,
    class: CLASS.IN,
    dnssecOk: (flags & 1) !== 0,
    cd: (flags & 2) !== 0,
  });
const denial = (name: string, type: 'A' | 'MX', ttl: number, nowMs: number) =>
  entryOf(respond(name, type, RCODE.NXDOMAIN, { authorities: [soa('z', ttl, ttl)] }), nowMs);
const answer = (name: string, nowMs: number) =>
  entryOf(
    respond(name, 'A', RCODE.NOERROR, {
      answers: [{ name, type: 'A', ttl: 60, data: '192.0.2.1' }],
    }),
    nowMs,
  );

/** Few labels, so that names are often above and below each other. */
const name = fc
  .array(fc.constantFrom('a', 'b'), { maxLength: 3 })
  .map((labels) => [...labels, 'z'].join('.'));
/** Mostly the same, so that steps concern each other. */
const flags = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(3));
const step = fc.oneof(
  fc.record({
    kind: fc.constant('deny' as const),
    name,
    flags,
    ttl: fc.integer({ min: 1, max: 9 }),
  }),
  fc.record({ kind: fc.constant('exist' as const), name, flags }),
  fc.record({ kind: fc.constant('wait' as const), seconds: fc.integer({ min: 1, max: 5 }) }),
  fc.record({
    kind: fc.constant('ask' as const),
    name,
    flags,
    apex: fc.constantFrom(null, 'z', 'a.z'),
  }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

const isWithin = (below: string, above: string): boolean =>
  below === above || below.endsWith(`.${above}`);

/** By the letter: some name at or above, and in the zone, was denied last, and that is not over. */
function isDenied(
  past: readonly { readonly step: Step; readonly atMs: number }[],
  asked: Extract<Step, { kind: 'ask' }>,
  nowMs: number,
): boolean {
  const { apex } = asked;
  const bound = apex !== null && isWithin(asked.name, apex) ? apex : 'z';
  return past.some(({ step, atMs }, index) => {
    if (step.kind !== 'deny' || step.flags !== asked.flags) return false;
    if (!isWithin(asked.name, step.name) || !isWithin(step.name, bound)) return false;
    const isOver = past
      .slice(index + 1)
      .some(
        ({ step: later }) =>
          (later.kind === 'exist' && isWithin(later.name, step.name)) ||
          (later.kind === 'deny' && later.name === step.name && later.flags === step.flags),
      );
    return !isOver && nowMs < atMs + step.ttl * 1_000;
  });
}

test('denies what a fresh denial at or above it denies, in its zone and with its flags, and nothing else', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 40 }), (steps) => {
      const store = new CacheStore(BYTES, { cuts: new NxdomainCuts() });
      const past: { step: Step; atMs: number }[] = [];
      let nowMs = 1_000;
      for (const each of steps) {
        if (each.kind === 'wait') nowMs += each.seconds * 1_000;
        else if (each.kind === 'deny') {
          store.set(keyOf(each.name, TYPE.A, each.flags), denial(each.name, 'A', each.ttl, nowMs));
        } else if (each.kind === 'exist') {
          store.set(keyOf(each.name, TYPE.A, each.flags), answer(each.name, nowMs));
        } else {
          const isInZone = each.apex !== null && isWithin(each.name, each.apex);
          const apexOctets = isInZone ? nameOf(each.apex!).length : 0;
          const found = store.denialAbove(keyOf(each.name, TYPE.MX, each.flags), apexOctets, nowMs);
          expect(found !== null).toBe(isDenied(past, each, nowMs));
          if (found === null) continue;
          expect(oracle(found.wire)).toMatchObject({
            rcode: 'NXDOMAIN',
            questions: [{ name: each.name, type: 'MX' }],
            authorities: [soa('z', 1, 1)].map(({ name: owner, type }) => ({ name: owner, type })),
          });
        }
        past.push({ step: each, atMs: nowMs });
      }
    }),
    { numRuns: 300 },
  );
});

test('the end of a chain of CNAMEs says nothing of its beginning', () => {
  const store = new CacheStore(BYTES, { cuts: new NxdomainCuts() });
  const sections = { answers: [cname('a.z', 60, 'gone.z')], authorities: [soa('z', 60, 60)] };
  store.set(keyOf('a.z', TYPE.A), entryOf(respond('a.z', 'A', RCODE.NXDOMAIN, sections), 0));
  expect(store.denialAbove(keyOf('b.a.z', TYPE.A), 0, 1)).toBe(null);
});

test('what is flushed or evicted denies nothing any more', () => {
  const store = new CacheStore(BYTES, { cuts: new NxdomainCuts() });
  store.set(keyOf('a.z', TYPE.A), denial('a.z', 'A', 60, 0));
  expect(store.denialAbove(keyOf('b.a.z', TYPE.A), 0, 1)?.kind).toBe('nxdomain');
  store.flushName(nameOf('a.z'));
  expect(store.denialAbove(keyOf('b.a.z', TYPE.A), 0, 1)).toBe(null);
  expect(store.cuts?.names).toBe(0);
});

test('a flood of names that do not exist forgets the oldest, not what is in use', () => {
  const cuts = new NxdomainCuts();
  const entry = denial('a.z', 'A', 60, 0);
  const isDeniedYet = (text: string) =>
    cuts.find(keyOf(`x.${text}`, TYPE.A), 0, 1, () => entry) !== null;
  cuts.note(keyOf('used.z', TYPE.A), entry);
  cuts.note(keyOf('idle.z', TYPE.A), entry);
  for (let index = 0; index < NAMES_MAX; index += 1) {
    if (index === NAMES_MAX - 10) expect(isDeniedYet('used.z')).toBe(true);
    cuts.note(keyOf(`r${index}.z`, TYPE.A), entry);
  }
  expect([cuts.names, isDeniedYet('used.z'), isDeniedYet('idle.z')]).toEqual([
    NAMES_MAX,
    true,
    false,
  ]);
});
