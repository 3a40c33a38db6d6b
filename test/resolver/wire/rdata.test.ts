import { isIPv6 } from 'node:net';
import { encode } from 'dns-packet';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RecordCursor } from '../../../resolver/wire/message.ts';
import { WireFault } from '../../../resolver/wire/names.ts';
import {
  decodeA,
  decodeAaaa,
  decodeMx,
  decodeName,
  decodeSoa,
  decodeTlsa,
  decodeTxt,
  soaMinimumSeconds,
} from '../../../resolver/wire/rdata.ts';
import { filled } from '../../support/wire.ts';

type Decoder = (message: Uint8Array, offset: number, length: number) => unknown;

/** The first answer's RDATA, encoded by dns-packet and decoded by us. */
function viaWire(decode: Decoder, type: string, data: unknown): unknown {
  const message = encode({
    type: 'response',
    questions: [{ name: 'a.org', type }],
    answers: [{ name: 'a.org', type, ttl: 1, data }],
  });
  const cursor = new RecordCursor();
  expect(cursor.begin(message)).toBe(1);
  const { rdataOffset, rdataLength } = cursor;
  for (let length = 0; length < rdataLength; length += 1) {
    // Neither a shorter RDATA nor a shorter message may be read as something else.
    const fromShortRdata = decode(message, rdataOffset, length);
    if (type !== 'TXT' && type !== 'TLSA') expect(fromShortRdata).toBeLessThan(0);
    const cut = message.subarray(0, rdataOffset + length);
    expect(decode(cut, rdataOffset, rdataLength)).toBe(WireFault.truncated);
  }
  return decode(message, rdataOffset, rdataLength);
}

const soa = {
  mname: 'ns.a.org',
  rname: 'host\\.master.a.org',
  serial: 4_294_967_295,
  refresh: 1,
  retry: 2,
  expire: 3,
  minimum: 60,
};

describe('decoders agree with dns-packet', () => {
  test('A', () => expect(viaWire(decodeA, 'A', '192.0.2.1')).toBe('192.0.2.1'));
  test('AAAA', () => expect(viaWire(decodeAaaa, 'AAAA', '2001:db8::1')).toBe('2001:db8::1'));
  test('MX', () => {
    expect(viaWire(decodeMx, 'MX', { preference: 65_535, exchange: 'Mx.a.org' })).toEqual({
      preference: 65_535,
      exchange: 'Mx.a.org.',
    });
  });
  test('null MX', () => {
    expect(viaWire(decodeMx, 'MX', { preference: 0, exchange: '.' })).toEqual({
      preference: 0,
      exchange: '.',
    });
  });
  test('CNAME and PTR', () => {
    expect(viaWire(decodeName, 'CNAME', 'b.org')).toBe('b.org.');
    expect(viaWire(decodeName, 'PTR', 'b.org')).toBe('b.org.');
  });
  test('TXT', () => {
    const strings = [Buffer.from('v=STSv1; id=1'), Buffer.alloc(0), Buffer.from([0, 255])];
    expect(viaWire(decodeTxt, 'TXT', strings)).toEqual(['v=STSv1; id=1', '', '\0\xff']);
  });
  test('SOA', () => {
    expect(viaWire(decodeSoa, 'SOA', soa)).toEqual({
      primary: 'ns.a.org.',
      mailbox: 'host\\.master.a.org.',
      serial: 4_294_967_295,
      refreshSeconds: 1,
      retrySeconds: 2,
      expireSeconds: 3,
      minimumSeconds: 60,
    });
    expect(viaWire(soaMinimumSeconds, 'SOA', soa)).toBe(60);
    expect(viaWire(soaMinimumSeconds, 'SOA', { ...soa, minimum: 0x8000_0000 })).toBe(0);
  });
  test('TLSA', () => {
    const certificate = Buffer.alloc(32, 7);
    const data = { usage: 3, selector: 1, matchingType: 1, certificate };
    expect(viaWire(decodeTlsa, 'TLSA', data)).toEqual({
      usage: 3,
      selector: 1,
      matching: 1,
      data: Uint8Array.from(certificate),
    });
  });
});

test.each([
  ['00000000000000000000000000000000', '::'],
  ['00000000000000000000000000000001', '::1'],
  ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
  ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
  ['20010db8000000000000000000000000', '2001:db8::'],
  ['00010000000000000000000000000000', '1::'],
  ['00000000000000000000ffffc0000201', '::ffff:192.0.2.1'],
])('%s is written %s', (hex, text) => {
  expect(decodeAaaa(Buffer.from(hex, 'hex'), 0, 16)).toBe(text);
});

test('every 16 octets are an address that reads back the same', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 16, maxLength: 16 }),
      fc.array(fc.nat(15), { maxLength: 16 }),
      (octets, zeroed) => {
        for (const index of zeroed) octets[index] = 0;
        const text = decodeAaaa(octets, 0, 16) as string;
        expect(isIPv6(text)).toBe(true);
        const message = encode({ answers: [{ name: '.', type: 'AAAA', data: text }] });
        expect(Uint8Array.from(message.subarray(-16))).toEqual(octets);
      },
    ),
  );
});

describe('RDATA that is not what its type demands', () => {
  const message = Uint8Array.from([...filled(12, 0), 0, 0, 1, 0x61, 0, ...filled(30, 9)]);
  test.each<[string, Decoder, number, number, number]>([
    ['A of 3 octets', decodeA, 12, 3, WireFault.badRdata],
    ['A of 5 octets', decodeA, 12, 5, WireFault.badRdata],
    ['AAAA of 4 octets', decodeAaaa, 12, 4, WireFault.badRdata],
    ['MX without exchange', decodeMx, 12, 2, WireFault.badRdata],
    ['MX with octets behind its exchange', decodeMx, 12, 6, WireFault.badRdata],
    ['a name that ends before its RDATA', decodeName, 14, 4, WireFault.badRdata],
    ['a name that ends behind its RDATA', decodeName, 14, 2, WireFault.badRdata],
    ['TXT without a string', decodeTxt, 12, 0, WireFault.badRdata],
    ['TXT string past its RDATA', decodeTxt, 14, 1, WireFault.badRdata],
    ['SOA of names only', decodeSoa, 12, 2, WireFault.badRdata],
    ['SOA with octets behind its numbers', decodeSoa, 12, 23, WireFault.badRdata],
    ['TLSA without data', decodeTlsa, 12, 3, WireFault.badRdata],
  ])('%s', (_, decode, offset, length, fault) => {
    expect(decode(message, offset, length)).toBe(fault);
  });
});
