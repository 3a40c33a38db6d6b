/**
 * Hostile octets against everything that reads messages: nothing throws, nothing reads past the end,
 * and what is accepted keeps its invariants. FUZZ_SEED repeats a run, FUZZ_RUNS lengthens it.
 */
import { encode } from 'dns-packet';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { admit } from '../../resolver/cache/admission.ts';
import { renderAnswer, renderedOctetsMax } from '../../resolver/cache/entry.ts';
import { formatKey, parseKey, queryKey } from '../../resolver/cache/key.ts';
import { NAME_OCTETS_MAX, RCODE } from '../../resolver/wire/constants.ts';
import {
  parseQuery,
  QueryVerdict,
  QueryView,
  RecordCursor,
  repeatsQuestion,
  udpLimitOctets,
} from '../../resolver/wire/message.ts';
import {
  copyName,
  equalNames,
  nameKey,
  nameToText,
  skipName,
  textToName,
} from '../../resolver/wire/names.ts';
import {
  decodeA,
  decodeAaaa,
  decodeMx,
  decodeName,
  decodeSoa,
  decodeTlsa,
  decodeTxt,
  soaMinimumSeconds,
} from '../../resolver/wire/rdata.ts';
import { writeError } from '../../resolver/wire/write.ts';
import { cname, LIMITS, mx, respond, soa } from '../support/cache.ts';
import { ask } from '../support/wire.ts';

const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 0x7fff_ffff);
const RUNS = Number(process.env.FUZZ_RUNS ?? 5_000);
const PARAMETERS = { seed: SEED, numRuns: RUNS };

const SAMPLES: readonly Uint8Array[] = [
  ask('mail.example.org', 15, { dnssecOk: true }).query,
  ask('a.org', 1, { edns: false }).query,
  encode({
    type: 'query',
    questions: [{ name: 'a.org', type: 'A' }],
    additionals: [{ name: '.', type: 'OPT', options: [{ code: 10, data: Buffer.alloc(8, 1) }] }],
  }),
  respond('w.org', 'MX', RCODE.NOERROR, {
    answers: [cname('w.org', 60, 'a.org'), mx('a.org', 60), mx('a.org', 60, 'my.a.org')],
    authorities: [{ name: 'a.org', type: 'NS', ttl: 60, data: 'ns.a.org' }],
    additionals: [
      { name: 'mx.a.org', type: 'AAAA', ttl: 60, data: '2001:db8::1' },
      { name: '.', type: 'OPT' },
    ],
  }),
  respond('a.org', 'TXT', RCODE.NXDOMAIN, { authorities: [soa('a.org', 60, 60)] }),
  respond('a.org', 'TXT', RCODE.NOERROR, {
    answers: [{ name: 'a.org', type: 'TXT', ttl: 1, data: [Buffer.from('x'), Buffer.from('yz')] }],
  }),
];

interface Mutation {
  readonly kind: 'octet' | 'pointer' | 'word' | 'cut' | 'drop' | 'repeat';
  readonly at: number;
  readonly value: number;
}

const mutation: fc.Arbitrary<Mutation> = fc.record({
  kind: fc.constantFrom('octet', 'pointer', 'word', 'cut', 'drop', 'repeat'),
  at: fc.nat(400),
  value: fc.oneof(fc.nat(0xffff), fc.constantFrom(0, 1, 41, 63, 64, 0x7fff, 0x8000, 0xffff)),
});

function mutate(message: number[], { kind, at, value }: Mutation): number[] {
  const offset = at % Math.max(message.length, 1);
  const changed = [...message];
  if (kind === 'octet') changed[offset] = value & 0xff;
  if (kind === 'pointer') changed.splice(offset, 2, 0xc0 | ((value >> 8) & 0x01), value & 0xff);
  if (kind === 'word') changed.splice(offset, 2, value >> 8, value & 0xff);
  if (kind === 'cut') changed.length = offset;
  if (kind === 'drop') changed.splice(offset, value % 16);
  if (kind === 'repeat') changed.splice(offset, 0, ...message.slice(offset, offset + (value % 64)));
  return changed;
}

const mutant: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.constantFrom(...SAMPLES), fc.array(mutation, { minLength: 1, maxLength: 6 }))
  .map(([sample, mutations]) => Uint8Array.from(mutations.reduce(mutate, [...sample])));

const noise: fc.Arbitrary<Uint8Array> = fc
  .tuple(fc.uint8Array({ maxLength: 300 }), fc.nat(4))
  .map(([octets, count]) => {
    // Mostly small counts, else nearly everything ends at the first check.
    for (let at = 4; at < Math.min(12, octets.length); at += 1)
      octets[at] = at % 2 === 0 ? 0 : count;
    return octets;
  });

const hostile = fc.oneof({ weight: 4, arbitrary: mutant }, { weight: 1, arbitrary: noise });

/** The same octets, but to read past their end is an error, not undefined. */
function guarded(octets: Uint8Array): Uint8Array {
  return new Proxy(octets, {
    get(target, property) {
      if (typeof property === 'string' && /^-?\d+$/.test(property)) {
        const index = Number(property);
        if (index < 0 || index >= target.length) throw new RangeError(`read at ${property}`);
        return target[index];
      }
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

const pointer = (target: number): number[] => [0xc0 | (target >> 8), target & 0xff];

/**
 * CNAMEs that nobody asked for, each owner at the top of a ladder of pointers, which hides in the
 * RDATA of the first record. 5,000 records are nearly 64 KiB.
 */
function bombOf(records: number): Uint8Array {
  const question = [1, 0x61, 3, 0x6f, 0x72, 0x67, 0, 0, 15, 0, 1];
  const ladderOffset = 12 + question.length + 11;
  const rungs = Array.from({ length: 126 }, (_, rung) =>
    pointer(rung === 0 ? ladderOffset : ladderOffset + 1 + 2 * (rung - 1)),
  );
  const ladder = [0, ...rungs.flat()];
  const carrier = [0, 0, 16, 0, 1, 0, 0, 0, 9, ladder.length >> 8, ladder.length & 0xff];
  const top = pointer(ladderOffset + ladder.length - 2);
  const header = [0, 1, 0x80, 0, 0, 1, records >> 8, records & 0xff, 0, 0, 0, 0];
  return Uint8Array.from([
    ...header,
    ...question,
    ...carrier,
    ...ladder,
    ...Array.from({ length: records - 1 }, () => [...top, 0, 5, 0, 1, 0, 0, 0, 9, 0, 0]).flat(),
  ]);
}

const DECODERS = [
  decodeA,
  decodeAaaa,
  decodeMx,
  decodeName,
  decodeSoa,
  decodeTlsa,
  decodeTxt,
  soaMinimumSeconds,
];

describe(`DNS messages, FUZZ_SEED=${SEED}`, () => {
  test('queries', () => {
    const view = new QueryView();
    fc.assert(
      fc.property(hostile, (octets) => {
        const message = guarded(octets);
        const verdict = parseQuery(message, view);
        expect(view.verdict).toBe(verdict);
        expect(view.questionEnd).toBeLessThanOrEqual(octets.length);
        if (verdict === QueryVerdict.drop) return;
        const error = writeError(message, view, verdict);
        expect(parseQuery(error, new QueryView())).toBe(QueryVerdict.drop);
        if (view.questionEnd > 0)
          expect(repeatsQuestion(error, message, view.questionEnd, true)).toBe(true);
        if (verdict !== QueryVerdict.ok) return;
        expect(view.nameEnd).toBeLessThanOrEqual(12 + NAME_OCTETS_MAX);
        expect(view.optionsOffset + view.optionsLength).toBeLessThanOrEqual(octets.length);
        expect(view.cookieOffset + view.cookieLength).toBeLessThanOrEqual(octets.length);
        const key = queryKey(message, view);
        expect(formatKey(parseKey(key))).toBe(key);
        expect(parseKey(key)).toMatchObject({ name: nameKey(message, 12), type: view.qtype });
      }),
      PARAMETERS,
    );
  });

  test('names at any offset', () => {
    fc.assert(
      fc.property(hostile, fc.nat(400), fc.nat(400), (octets, offset, other) => {
        const message = guarded(octets);
        const text = nameToText(message, offset);
        const copy = copyName(message, offset);
        const key = nameKey(message, offset);
        expect(skipName(message, offset)).toBeLessThanOrEqual(octets.length);
        if (typeof text === 'number' || typeof copy === 'number' || typeof key === 'number') {
          expect([copy, key]).toEqual([text, text]);
          expect(equalNames(message, offset, message, offset)).toBe(false);
          return;
        }
        expect(textToName(text)).toEqual(copy);
        expect(copy.length).toBeLessThanOrEqual(NAME_OCTETS_MAX);
        expect(equalNames(message, offset, copy, 0)).toBe(true);
        expect(equalNames(message, offset, message, other)).toBe(key === nameKey(message, other));
      }),
      PARAMETERS,
    );
  });

  test('records and their RDATA', () => {
    const cursor = new RecordCursor();
    fc.assert(
      fc.property(hostile, (octets) => {
        const message = guarded(octets);
        let state = cursor.begin(message);
        for (let records = 0; state > 0; records += 1) {
          expect(records).toBeLessThan(octets.length / 11);
          expect(cursor.rdataOffset + cursor.rdataLength).toBeLessThanOrEqual(octets.length);
          for (const decode of DECODERS) decode(message, cursor.rdataOffset, cursor.rdataLength);
          state = cursor.next();
        }
      }),
      PARAMETERS,
    );
  });

  test('what is admitted renders for every client', () => {
    const out = new Uint8Array(4096);
    const { query, view } = ask('a.org', 16, { edns: false });
    const clientView = new QueryView();
    fc.assert(
      fc.property(hostile, fc.nat(100_000), (octets, laterMs) => {
        const admission = admit(guarded(octets), 5_000, LIMITS);
        if (admission.verdict === 'malformed') return;
        const { entry } = admission;
        expect(entry.storedAtMs).toBeLessThanOrEqual(entry.expiresAtMs);
        expect(entry.expiresAtMs).toBeLessThanOrEqual(entry.staleUntilMs);
        for (const offset of entry.ttlOffsets)
          expect(offset + 4).toBeLessThanOrEqual(entry.wire.length);
        expect(new RecordCursor().begin(entry.wire)).toBeGreaterThanOrEqual(0);
        // Ask as the response's own question does, when a client could.
        const asked = Uint8Array.from(octets);
        asked[2] = 1;
        asked.fill(0, 6, 12);
        const isAskable = parseQuery(asked, clientView) === QueryVerdict.ok;
        const client = isAskable ? { query: asked, view: clientView } : { query, view };
        const how = { nowMs: 5_000 + laterMs, octetsMax: udpLimitOctets(client.view) };
        expect(renderedOctetsMax(entry)).toBeLessThanOrEqual(out.length);
        const length = renderAnswer(entry, client.query, client.view, how, out);
        expect(length).toBeLessThanOrEqual(how.octetsMax);
        if (!isAskable) return;
        const rendered = out.subarray(0, length);
        const cursor = new RecordCursor();
        let state = cursor.begin(rendered);
        while (state > 0) state = cursor.next();
        expect(state).toBe(0);
        expect(cursor.recordEnd).toBe(length);
      }),
      PARAMETERS,
    );
  });

  test('a compression bomb costs a bounded number of reads a record', () => {
    const records = 200;
    let reads = 0;
    const counted = new Proxy(bombOf(records), {
      get(target, property) {
        if (typeof property === 'string' && /^\d+$/.test(property)) reads += 1;
        const value: unknown = Reflect.get(target, property, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    expect(admit(counted, 0, LIMITS).verdict).toBe('pass');
    // Two walks over each owner of 127 pointers: one to check it, one to look for the QNAME.
    expect(reads / records).toBeGreaterThan(2 * 127);
    expect(reads / records).toBeLessThan(4 * 2 * 127);
    expect(admit(bombOf(5_000), 0, LIMITS).verdict).toBe('pass');
  });
});
