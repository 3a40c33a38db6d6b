import { encode } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { CLASS, FLAG, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import {
  parseQuery,
  QueryVerdict,
  QueryView,
  RecordCursor,
  readTtlSeconds,
  repeatsQuestion,
  udpLimitOctets,
  writeUint32,
} from '../../../resolver/wire/message.ts';
import { nameToText, WireFault } from '../../../resolver/wire/names.ts';
import { oracle } from '../../support/oracle.ts';

test.each([
  [0, 0],
  [1, 1],
  [0x7fff_ffff, 0x7fff_ffff],
  [0x8000_0000, 0],
  [0xffff_ffff, 0],
])('a TTL of %d counts as %d', (ttl, seconds) => {
  const wire = new Uint8Array(5);
  writeUint32(wire, 1, ttl);
  expect(readTtlSeconds(wire, 1)).toBe(seconds);
});

const octets = (...values: number[]): Uint8Array => Uint8Array.from(values);

const EXAMPLE_MX = encode({
  type: 'query',
  id: 0x1234,
  flags: FLAG.RD | FLAG.CD,
  questions: [{ name: 'ExAmple.org', type: 'MX' }],
  additionals: [
    {
      name: '.',
      type: 'OPT',
      udpPayloadSize: 4096,
      flags: 0x8000,
      options: [{ code: 10, data: Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]) }],
    },
  ],
});

const parse = (message: Uint8Array): QueryView => {
  const view = new QueryView();
  parseQuery(message, view);
  return view;
};

/** A copy with some octets put at an offset. */
function patched(message: Uint8Array, offset: number, ...values: number[]): Uint8Array {
  const copy = Uint8Array.from(message);
  copy.set(values, offset);
  return copy;
}

describe('parseQuery', () => {
  test('reads what dns-packet wrote', () => {
    expect(parse(EXAMPLE_MX)).toMatchObject({
      verdict: QueryVerdict.ok,
      id: 0x1234,
      opcode: 0,
      nameEnd: 25,
      questionEnd: 29,
      qtype: TYPE.MX,
      qclass: CLASS.IN,
      rd: true,
      ad: false,
      cd: true,
      hasEdns: true,
      ednsVersion: 0,
      udpOctets: 4096,
      dnssecOk: true,
      optionsOffset: 40,
      optionsLength: 12,
      cookieOffset: 44,
      cookieLength: 8,
    });
    expect(udpLimitOctets(parse(EXAMPLE_MX))).toBe(1232);
  });

  test('a view that was used before keeps nothing of it', () => {
    const view = new QueryView();
    parseQuery(EXAMPLE_MX, view);
    parseQuery(encode({ type: 'query', id: 7, questions: [{ name: 'a.org', type: 'A' }] }), view);
    expect(view).toMatchObject({
      id: 7,
      qtype: TYPE.A,
      cd: false,
      hasEdns: false,
      udpOctets: 512,
      dnssecOk: false,
      optionsLength: 0,
      cookieLength: 0,
    });
  });

  test.each([
    ['no header', EXAMPLE_MX.subarray(0, 11), QueryVerdict.drop],
    ['a response', patched(EXAMPLE_MX, 2, 0x80), QueryVerdict.drop],
    ['header only, QDCOUNT 1', EXAMPLE_MX.subarray(0, 12), QueryVerdict.formErr],
    ['QDCOUNT 0', patched(EXAMPLE_MX, 4, 0, 0), QueryVerdict.formErr],
    ['QDCOUNT 2', patched(EXAMPLE_MX, 4, 0, 2), QueryVerdict.formErr],
    ['an answer record', patched(EXAMPLE_MX, 6, 0, 1), QueryVerdict.formErr],
    ['more records than there are', patched(EXAMPLE_MX, 10, 0, 2), QueryVerdict.formErr],
    ['65535 records', patched(EXAMPLE_MX, 10, 0xff, 0xff), QueryVerdict.formErr],
    ['a compressed QNAME', patched(EXAMPLE_MX, 12, 0xc0, 12), QueryVerdict.formErr],
    ['a reserved label', patched(EXAMPLE_MX, 12, 0x47), QueryVerdict.formErr],
    ['RDLENGTH past the end', patched(EXAMPLE_MX, 38, 0xff), QueryVerdict.formErr],
    ['an option past its record', patched(EXAMPLE_MX, 40, 0, 12, 0, 9), QueryVerdict.formErr],
    ['a cookie of 7 octets', cookieOf(7), QueryVerdict.formErr],
    ['a cookie of 15 octets', cookieOf(15), QueryVerdict.formErr],
    ['a cookie of 41 octets', cookieOf(41), QueryVerdict.formErr],
    ['a cookie of 40 octets', cookieOf(40), QueryVerdict.ok],
    ['two OPT records', withOpts(2), QueryVerdict.formErr],
    ['an OPT that the root does not own', optOwnedBy('org'), QueryVerdict.formErr],
    ['an OPT in the authority section', patched(EXAMPLE_MX, 8, 0, 1, 0, 0), QueryVerdict.formErr],
    ['EDNS version 1', patched(EXAMPLE_MX, 35, 1), QueryVerdict.badVers],
    ['STATUS', patched(EXAMPLE_MX, 2, 2 << 3), QueryVerdict.notImp],
    ['NOTIFY', patched(EXAMPLE_MX, 2, 4 << 3), QueryVerdict.notImp],
    ['UPDATE without a zone', patched(EXAMPLE_MX, 2, 5 << 3, 0, 0, 0), QueryVerdict.notImp],
    ['octets behind the last record', Buffer.concat([EXAMPLE_MX, octets(0, 41)]), QueryVerdict.ok],
  ])('%s', (_, message, verdict) => {
    expect(parse(message).verdict).toBe(verdict);
  });

  test('every truncation is FORMERR or dropped', () => {
    for (let length = 0; length < EXAMPLE_MX.length; length += 1) {
      const view = parse(EXAMPLE_MX.subarray(0, length));
      expect(view.verdict).toBe(length < 12 ? QueryVerdict.drop : QueryVerdict.formErr);
      expect(view.questionEnd).toBe(length < 29 ? 0 : 29);
    }
  });

  test('a UDP payload below 512 reads as 512', () => {
    expect(parse(patched(EXAMPLE_MX, 32, 0, 100)).udpOctets).toBe(512);
  });
});

function cookieOf(length: number): Uint8Array {
  return encode({
    type: 'query',
    questions: [{ name: 'a.org', type: 'A' }],
    additionals: [{ name: '.', type: 'OPT', options: [{ code: 10, data: Buffer.alloc(length) }] }],
  });
}

function withOpts(count: number): Uint8Array {
  return encode({
    type: 'query',
    questions: [{ name: 'a.org', type: 'A' }],
    additionals: Array.from({ length: count }, () => ({ name: '.', type: 'OPT' })),
  });
}

/** dns-packet will not write such a thing, so an A record is turned into it. */
function optOwnedBy(name: string): Uint8Array {
  const message = encode({
    type: 'query',
    questions: [{ name: 'a.org', type: 'A' }],
    additionals: [{ name, type: 'A', data: '192.0.2.1' }],
  });
  return patched(message, 28, 0, TYPE.OPT);
}

const RESPONSE = encode({
  type: 'response',
  id: 1,
  flags: FLAG.RD | FLAG.RA | RCODE.NXDOMAIN,
  questions: [{ name: 'a.org', type: 'MX' }],
  answers: [
    { name: 'a.org', type: 'MX', ttl: 300, data: { preference: 10, exchange: 'mx.a.org' } },
    { name: 'a.org', type: 'UNKNOWN_4321', ttl: 0xffff_ffff, data: Buffer.from('abc') },
  ],
  authorities: [{ name: 'org', type: 'NS', ttl: 60, data: 'ns.org' }],
  additionals: [
    { name: 'mx.a.org', type: 'A', ttl: 30, data: '192.0.2.1' },
    { name: '.', type: 'OPT', extendedRcode: 1 },
  ],
});

describe('RecordCursor', () => {
  test('gives every record of every section', () => {
    const cursor = new RecordCursor();
    const seen: unknown[] = [];
    let state = cursor.begin(RESPONSE);
    for (; state > 0; state = cursor.next()) {
      const owner = nameToText(RESPONSE, cursor.ownerOffset);
      seen.push([cursor.section, owner, cursor.type, cursor.ttlSeconds, cursor.rdataLength]);
    }
    expect(state).toBe(0);
    expect(cursor.recordEnd).toBe(RESPONSE.length);
    expect(cursor.rcode).toBe(16 + RCODE.NXDOMAIN);
    expect(seen).toEqual([
      ['answer', 'a.org.', TYPE.MX, 300, 12],
      ['answer', 'a.org.', 4321, 0, 3],
      ['authority', 'org.', TYPE.NS, 60, 8],
      ['additional', 'mx.a.org.', TYPE.A, 30, 4],
      ['additional', '.', TYPE.OPT, 0x0100_0000, 0],
    ]);
  });

  test('every truncation is a fault, and none reads past the end', () => {
    const cursor = new RecordCursor();
    for (let length = 0; length < RESPONSE.length; length += 1) {
      let state = cursor.begin(RESPONSE.subarray(0, length));
      while (state > 0) {
        expect(cursor.rdataOffset + cursor.rdataLength).toBeLessThanOrEqual(length);
        state = cursor.next();
      }
      expect(state).toBe(WireFault.truncated);
    }
  });

  test('counts that no message can hold are refused at once', () => {
    expect(new RecordCursor().begin(patched(RESPONSE, 6, 0xff, 0xff))).toBe(WireFault.badCounts);
    expect(new RecordCursor().begin(patched(RESPONSE, 4, 0, 2))).toBe(WireFault.badCounts);
  });
});

const answer = (name: string, type: string): Uint8Array =>
  encode({ type: 'response', id: 1, questions: [{ name, type }] });

describe('repeatsQuestion', () => {
  const query = encode({ type: 'query', id: 1, questions: [{ name: 'A.org', type: 'MX' }] });

  test.each([
    ['the same case', answer('A.org', 'MX'), true, true],
    ['another case', answer('a.org', 'MX'), true, false],
    ['another name', answer('b.org', 'MX'), false, false],
    ['another type', answer('A.org', 'A'), false, false],
    ['a query', query, false, false],
    ['no question', patched(answer('A.org', 'MX'), 4, 0, 0), false, false],
    ['cut short', answer('A.org', 'MX').subarray(0, 22), false, false],
  ])('%s', (_, response, folded, exact) => {
    expect(repeatsQuestion(response, query, 23, false)).toBe(folded);
    expect(repeatsQuestion(response, query, 23, true)).toBe(exact);
  });
});

test('case is of names only: TYPE65 is not TYPE97', () => {
  const query = patched(
    encode({ type: 'query', questions: [{ name: 'a.org', type: 'A' }] }),
    20,
    65,
  );
  const response = patched(answer('a.org', 'A'), 20, 97);
  expect(repeatsQuestion(response, query, 23, false)).toBe(false);
});

test('dns-packet reads its own sample, so the samples are messages', () => {
  expect(oracle(RESPONSE).answers.length).toBe(2);
});
