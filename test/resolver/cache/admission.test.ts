import { encode } from 'dns-packet';
import { describe, expect, test } from 'vitest';
import { admit, CHAIN_LINKS_MAX, negativeTtlSeconds } from '../../../resolver/cache/admission.ts';
import { FLAG, RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import { RecordCursor } from '../../../resolver/wire/message.ts';
import { faultName } from '../../../resolver/wire/names.ts';
import { cname, entryOf, LIMITS, mx, respond, soa } from '../../support/cache.ts';
import { oracle } from '../../support/oracle.ts';

const NOW_MS = 500_000.75;
const { NOERROR, NXDOMAIN, SERVFAIL, REFUSED } = RCODE;

/** What becomes of a response: kind, seconds it is kept (0: passed on), seconds stale, and why not. */
function fate(response: Uint8Array, limits = LIMITS): unknown[] {
  const admission = admit(response, NOW_MS, limits);
  if (admission.verdict === 'malformed') return ['malformed', faultName(admission.fault)];
  const { kind, storedAtMs, expiresAtMs, staleUntilMs } = admission.entry;
  expect(storedAtMs).toBe(500_000);
  const times = [(expiresAtMs - storedAtMs) / 1000, (staleUntilMs - expiresAtMs) / 1000];
  return admission.verdict === 'pass' ? [kind, ...times, admission.reason] : [kind, ...times];
}

const STALE = 259_200;
const A_SOA = soa('a.org', 900, 300);

describe('what a response is, and how long it is kept', () => {
  test.each<[string, Uint8Array, unknown[]]>([
    [
      'an answer',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 60)] }),
      ['answer', 60, STALE],
    ],
    [
      'the shortest TTL counts',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 60), mx('a.org', 20, 'b.org')] }),
      ['answer', 20, STALE],
    ],
    [
      'so does that of a CNAME on the way',
      respond('w.org', 'MX', NOERROR, { answers: [cname('w.org', 7, 'a.org'), mx('a.org', 60)] }),
      ['answer', 7, STALE],
    ],
    [
      'a chain out of order',
      respond('w.org', 'MX', NOERROR, {
        answers: [mx('A.org', 60), cname('v.org', 50, 'a.org'), cname('W.org', 70, 'v.org')],
      }),
      ['answer', 50, STALE],
    ],
    [
      'authority and additional records do not shorten it',
      respond('a.org', 'MX', NOERROR, {
        answers: [mx('a.org', 60)],
        authorities: [{ name: 'a.org', type: 'NS', ttl: 5, data: 'ns.a.org' }],
        additionals: [{ name: 'mx.a.org', type: 'A', ttl: 6, data: '192.0.2.1' }],
      }),
      ['answer', 60, STALE],
    ],
    [
      'a day is the most',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 999_999)] }),
      ['answer', 86_400, STALE],
    ],
    [
      'TTL 0',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 0)] }),
      ['answer', 0, 0, 'zeroTtl'],
    ],
    [
      'a TTL with its top bit set is 0',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 0x8000_003c)] }),
      ['answer', 0, 0, 'zeroTtl'],
    ],
    [
      'CNAME, asked for',
      respond('w.org', 'CNAME', NOERROR, { answers: [cname('w.org', 9, 'a.org')] }),
      ['answer', 9, STALE],
    ],
    ['ANY', respond('a.org', 'ANY', NOERROR, { answers: [mx('a.org', 9)] }), ['answer', 9, STALE]],
    ['NODATA', respond('a.org', 'MX', NOERROR, { authorities: [A_SOA] }), ['nodata', 300, STALE]],
    [
      'NODATA by the TTL of its SOA, when that is less',
      respond('a.org', 'MX', NOERROR, { authorities: [soa('a.org', 30, 300)] }),
      ['nodata', 30, STALE],
    ],
    [
      'NODATA for three hours at most',
      respond('a.org', 'MX', NOERROR, { authorities: [soa('a.org', 99_999, 99_999)] }),
      ['nodata', 10_800, STALE],
    ],
    [
      'NODATA with MINIMUM 0',
      respond('a.org', 'MX', NOERROR, { authorities: [soa('a.org', 900, 0)] }),
      ['nodata', 0, 0, 'zeroTtl'],
    ],
    ['NODATA without SOA', respond('a.org', 'MX', NOERROR), ['nodata', 0, 0, 'noSoa']],
    ['NXDOMAIN', respond('a.org', 'MX', NXDOMAIN, { authorities: [A_SOA] }), ['nxdomain', 300, 0]],
    ['NXDOMAIN without SOA', respond('a.org', 'MX', NXDOMAIN), ['nxdomain', 0, 0, 'noSoa']],
    [
      'NODATA at the end of a CNAME that lives shorter',
      respond('w.org', 'MX', NOERROR, {
        answers: [cname('w.org', 9, 'a.org')],
        authorities: [A_SOA],
      }),
      ['nodata', 9, STALE],
    ],
    [
      'NXDOMAIN at the end of a CNAME',
      respond('w.org', 'MX', NXDOMAIN, {
        answers: [cname('w.org', 999, 'a.org')],
        authorities: [A_SOA],
      }),
      ['nxdomain', 300, 0],
    ],
    [
      'a CNAME that leads nowhere',
      respond('w.org', 'MX', NOERROR, { answers: [cname('w.org', 9, 'a.org')] }),
      ['nodata', 0, 0, 'noSoa'],
    ],
    [
      'records that nobody asked for are no answer',
      respond('a.org', 'MX', NOERROR, { answers: [mx('b.org', 60)] }),
      ['nodata', 0, 0, 'noSoa'],
    ],
    [
      'nor are additional ones',
      respond('a.org', 'MX', NOERROR, { additionals: [mx('a.org', 60)] }),
      ['nodata', 0, 0, 'noSoa'],
    ],
    [
      'a referral',
      respond('a.org', 'MX', NOERROR, {
        authorities: [{ name: 'org', type: 'NS', ttl: 60, data: 'ns.org' }],
      }),
      ['nodata', 0, 0, 'referral'],
    ],
    [
      'NODATA with name servers beside its SOA',
      respond('a.org', 'MX', NOERROR, {
        authorities: [{ name: 'org', type: 'NS', ttl: 60, data: 'ns.org' }, A_SOA],
      }),
      ['nodata', 300, STALE],
    ],
    [
      'truncated',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 60)] }, FLAG.TC),
      ['answer', 0, 0, 'truncated'],
    ],
    ['SERVFAIL', respond('a.org', 'MX', SERVFAIL), ['failure', 5, 0]],
    [
      'REFUSED, whatever it holds',
      respond('a.org', 'MX', REFUSED, { answers: [mx('a.org', 60)] }),
      ['failure', 5, 0],
    ],
  ])('%s', (_, response, expected) => expect(fate(response)).toEqual(expected));

  test('a loop of CNAMEs ends', () => {
    const answers = [cname('v.org', 9, 'w.org'), cname('w.org', 9, 'v.org')];
    expect(fate(respond('w.org', 'MX', NOERROR, { answers }))).toEqual(['nodata', 0, 0, 'noSoa']);
  });

  test.each([
    [CHAIN_LINKS_MAX, ['answer', 60, STALE]],
    [CHAIN_LINKS_MAX + 1, ['nodata', 0, 0, 'noSoa']],
  ])('%d CNAMEs', (links, expected) => {
    const chain = Array.from({ length: links }, (_, at) =>
      cname(`n${at}.org`, 60, `n${at + 1}.org`),
    );
    const answers = [...chain, mx(`n${links}.org`, 60)];
    expect(fate(respond('n0.org', 'MX', NOERROR, { answers }))).toEqual(expected);
  });

  test('a configured minimum lengthens answers, not denials', () => {
    const limits = { ...LIMITS, minTtlMs: 60_000 };
    const answer = respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 5)] });
    expect(fate(answer, limits)).toEqual(['answer', 60, STALE]);
    const denial = respond('a.org', 'MX', NOERROR, { authorities: [soa('a.org', 9, 999)] });
    expect(fate(denial, limits)).toEqual(['nodata', 9, STALE]);
  });

  test.each([
    [0, 1],
    [5_000, 5],
    [9_999_999, 300],
  ])('failures for %d ms are kept %d s', (failureTtlMs, seconds) => {
    const failed = respond('a.org', 'MX', SERVFAIL);
    expect(fate(failed, { ...LIMITS, failureTtlMs })).toEqual(['failure', seconds, 0]);
  });

  test('RCODEs above 15 are failures, and SERVFAIL to a client', () => {
    const response = respond('a.org', 'MX', 0, {
      additionals: [{ name: '.', type: 'OPT', extendedRcode: 1 }],
    });
    expect(fate(response)).toEqual(['failure', 5, 0]);
    expect(oracle(entryOf(response, 0).wire).rcode).toBe('SERVFAIL');
  });
});

test.each([
  [900, 300, 300],
  [30, 300, 30],
  [99_999, 99_999, 10_800],
  [0, 300, 0],
])('SOA TTL %d and MINIMUM %d: %d s', (ttl, minimum, seconds) => {
  expect(negativeTtlSeconds(ttl, minimum, LIMITS)).toBe(seconds);
});

describe('what is kept', () => {
  const response = respond('a.org', 'MX', NOERROR, {
    answers: [
      mx('a.org', 60),
      { name: 'a.org', type: 'UNKNOWN_4321', ttl: 7, data: Buffer.from('\0\xc0\x0c') },
    ],
    authorities: [{ name: 'a.org', type: 'NS', ttl: 999_999, data: 'ns.a.org' }],
    additionals: [
      { name: 'mx.a.org', type: 'A', ttl: 0xffff_ffff, data: '192.0.2.1' },
      { name: '.', type: 'OPT', flags: 0x8000, options: [{ code: 12, data: Buffer.alloc(9) }] },
    ],
  });

  test('everything but ID, OPT and TTLs beyond the limits, octet for octet', () => {
    const entry = entryOf(response, NOW_MS);
    const expected = Buffer.from(response.subarray(0, response.length - 24));
    expected.writeUInt16BE(0, 0);
    expected.writeUInt16BE(1, 10);
    expected.writeUInt32BE(86_400, entry.ttlOffsets[2]!);
    expected.writeUInt32BE(0, entry.ttlOffsets[3]!);
    expect(Buffer.from(entry.wire).equals(expected)).toBe(true);
    expect(oracle(entry.wire).additionals).toHaveLength(1);
  });

  test('TTL offsets are those of the records', () => {
    const cursor = new RecordCursor();
    const offsets: number[] = [];
    const { wire, ttlOffsets } = entryOf(response, NOW_MS);
    for (let state = cursor.begin(wire); state > 0; state = cursor.next())
      offsets.push(cursor.ttlOffset);
    expect(ttlOffsets).toEqual(offsets);
    expect(offsets).toHaveLength(4);
  });

  test('what stands behind OPT goes with it', () => {
    const additionals = [
      { name: 'mx.a.org', type: 'A', ttl: 5, data: '192.0.2.1' },
      { name: '.', type: 'OPT' },
      { name: 'my.a.org', type: 'A', ttl: 5, data: '192.0.2.2' },
    ];
    const entry = entryOf(
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 9)], additionals }),
      0,
    );
    expect(oracle(entry.wire).additionals).toMatchObject([{ name: 'mx.a.org' }]);
  });

  test('the SOA of a denial carries the lifetime of the denial', () => {
    const entry = entryOf(respond('a.org', 'MX', NOERROR, { authorities: [A_SOA] }), 0);
    expect(oracle(entry.wire).authorities).toMatchObject([{ type: 'SOA', ttl: 300 }]);
  });

  test.each([
    ['an answer', response],
    ['a failure', respond('a.org', 'MX', SERVFAIL)],
  ])('%s does not change when its receive buffer is used again', (_, octets) => {
    const pristine = entryOf(octets, NOW_MS);
    const buffer = Buffer.from(octets);
    const entry = entryOf(buffer, NOW_MS);
    expect(buffer.equals(octets)).toBe(true);
    buffer.fill(0xff);
    expect(entry).toEqual(pristine);
    expect(entry.wire.buffer.byteLength).toBe(entry.wire.length);
  });
});

describe('malformed', () => {
  const good = respond('a.org', 'MX', NXDOMAIN, { authorities: [A_SOA] });
  test('every truncation', () => {
    for (let length = 0; length < good.length; length += 1) {
      expect(fate(good.subarray(0, length))).toEqual(['malformed', 'truncated']);
    }
  });
  test('no question', () => {
    const response = encode({ type: 'response', answers: [mx('a.org', 60)] });
    expect(fate(response)).toEqual(['malformed', 'badCounts']);
  });
  test('an SOA that is none', () => {
    const octets = Buffer.from(good);
    octets.writeUInt16BE(TYPE.SOA, 23 + 7);
    octets.writeUInt16BE(octets.readUInt16BE(23 + 7 + 8) - 1, 23 + 7 + 8);
    expect(fate(octets)).toEqual(['malformed', 'badRdata']);
  });
});
