import { encode } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { EXTENDED_ERROR, FLAG, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { parseQuery, QueryVerdict, QueryView } from '../../../resolver/wire/message.ts';
import { ROOT_NAME, textToName } from '../../../resolver/wire/names.ts';
import {
  EXTRA_TEXT_OCTETS_MAX,
  writeError,
  writeQuery,
  writeResponse,
} from '../../../resolver/wire/write.ts';
import { oracle } from '../../support/oracle.ts';

const name = (text: string): Uint8Array => textToName(text) as Uint8Array;

describe('writeQuery', () => {
  test('dns-packet and our parser read it', () => {
    const query = writeQuery({ id: 0xbeef, name: name('MiXed.org'), type: TYPE.TLSA, cd: true });
    expect(oracle(query)).toMatchObject({
      id: 0xbeef,
      opcode: 'QUERY',
      flag_qr: false,
      flag_rd: true,
      flag_cd: true,
      flag_ad: false,
      questions: [{ name: 'MiXed.org', type: 'TLSA', class: 'IN' }],
      additionals: [{ name: '.', type: 'OPT', udpPayloadSize: 1232, flag_do: false, options: [] }],
    });
    const view = new QueryView();
    expect(parseQuery(query, view)).toBe(QueryVerdict.ok);
    expect(view.questionEnd).toBe(27);
  });

  test('DO, AD, no RD; and no EDNS at all', () => {
    const options = { id: 1, name: ROOT_NAME, type: TYPE.NS };
    const signed = oracle(writeQuery({ ...options, dnssecOk: true, ad: true, rd: false }));
    expect(signed).toMatchObject({ flag_ad: true, flag_rd: false });
    expect(signed.additionals[0]).toMatchObject({ flag_do: true });
    expect(oracle(writeQuery({ ...options, edns: false })).additionals).toEqual([]);
  });
});

const respond = (
  query: Uint8Array,
  rcode: number,
  extendedError?: { code: number; text: string },
) => {
  const view = new QueryView();
  parseQuery(query, view);
  return writeError(query, view, rcode, extendedError);
};

describe('writeError', () => {
  test('echoes ID, question, RD and CD, and OPT with an extended error', () => {
    const query = writeQuery({ id: 5, name: name('A.org'), type: 4321, cd: true, dnssecOk: true });
    const error = { code: EXTENDED_ERROR.NO_REACHABLE_AUTHORITY, text: 'upstream timed out' };
    const response = oracle(respond(query, RCODE.SERVFAIL, error));
    expect(response).toMatchObject({
      id: 5,
      rcode: 'SERVFAIL',
      flag_qr: true,
      flag_rd: true,
      flag_ra: true,
      flag_cd: true,
      flag_aa: false,
      flag_ad: false,
      questions: [{ name: 'A.org', type: 'UNKNOWN_4321' }],
      answers: [],
    });
    const option = response.additionals[0]?.options?.[0];
    expect(response.additionals[0]).toMatchObject({ flag_do: true, udpPayloadSize: 1232 });
    expect(option?.code).toBe(15);
    expect(Buffer.from(option?.data ?? [])).toEqual(Buffer.from('\0\x16upstream timed out'));
  });

  test('without EDNS there is no OPT, and RCODEs above 15 become SERVFAIL', () => {
    const query = writeQuery({ id: 5, name: name('a.org'), type: TYPE.A, edns: false });
    const response = oracle(respond(query, RCODE.BADVERS, { code: 0, text: 'x' }));
    expect(response).toMatchObject({ rcode: 'SERVFAIL', additionals: [] });
  });

  test('BADVERS carries its upper bits in OPT', () => {
    const query = Uint8Array.from(writeQuery({ id: 5, name: name('a.org'), type: TYPE.A }));
    query[29] = 1;
    const response = oracle(respond(query, RCODE.BADVERS));
    expect(response.rcode).toBe('NOERROR');
    expect(response.additionals[0]).toMatchObject({ extendedRcode: 1, ednsVersion: 0 });
  });

  test('a question that cannot be parsed is left out', () => {
    const query = encode({ type: 'query', id: 9, questions: [{ name: 'a.org', type: 'A' }] });
    const response = oracle(respond(query.subarray(0, 14), RCODE.FORMERR));
    expect(response).toMatchObject({ id: 9, rcode: 'FORMERR', questions: [] });
  });

  test('the opcode comes back', () => {
    const query = encode({ type: 'query', id: 9, flags: 4 << 11, questions: [] });
    expect(oracle(respond(query, RCODE.NOTIMP))).toMatchObject({
      opcode: 'NOTIFY',
      rcode: 'NOTIMP',
    });
  });

  test('extra text is cut to its bound, never inside a character', () => {
    const query = writeQuery({ id: 5, name: name('a.org'), type: TYPE.A });
    const text = 'ü'.repeat(EXTRA_TEXT_OCTETS_MAX);
    const data = oracle(respond(query, RCODE.SERVFAIL, { code: 0, text })).additionals[0]
      ?.options?.[0]?.data;
    expect(Buffer.from(data ?? []).toString('utf8', 2)).toBe('ü'.repeat(80));
  });
});

test('writeResponse: dns-packet reads every section', () => {
  const owner = name('a.org');
  const response = oracle(
    writeResponse({
      id: 3,
      flags: FLAG.RD | FLAG.RA | FLAG.AA,
      question: { name: owner, type: TYPE.A },
      answers: [{ name: owner, type: TYPE.A, ttlSeconds: 60, rdata: Uint8Array.of(192, 0, 2, 1) }],
      authorities: [{ name: name('org'), type: TYPE.NS, ttlSeconds: 5, rdata: name('ns.org') }],
      additionals: [
        { name: name('ns.org'), type: TYPE.A, ttlSeconds: 7, rdata: Uint8Array.of(192, 0, 2, 2) },
      ],
      edns: true,
    }),
  );
  expect(response).toMatchObject({
    id: 3,
    flag_aa: true,
    rcode: 'NOERROR',
    answers: [{ name: 'a.org', type: 'A', ttl: 60, data: '192.0.2.1' }],
    authorities: [{ name: 'org', type: 'NS', ttl: 5, data: 'ns.org' }],
    additionals: [
      { name: 'ns.org', type: 'A', ttl: 7, data: '192.0.2.2' },
      { name: '.', type: 'OPT' },
    ],
  });
});
