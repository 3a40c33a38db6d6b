import { describe, expect, test } from 'vitest';
import {
  type CacheEntry,
  failureEntry,
  isFresh,
  isStale,
  renderAnswer,
  renderedOctetsMax,
} from '../../../resolver/cache/entry.ts';
import {
  EXTENDED_ERROR,
  FLAG,
  MESSAGE_OCTETS_MAX,
  RCODE,
  TYPE,
} from '../../../resolver/wire/constants.ts';
import { udpLimitOctets } from '../../../resolver/wire/message.ts';
import type { ExtendedError, QueryToWrite } from '../../../resolver/wire/write.ts';
import { entryOf, LIMITS, mx, respond, soa } from '../../support/cache.ts';
import { ManualClock } from '../../support/clock.ts';
import { oracle } from '../../support/oracle.ts';
import { ask } from '../../support/wire.ts';

const { NOERROR, NXDOMAIN } = RCODE;
const AUTHENTIC = FLAG.RD | FLAG.RA | FLAG.AA | FLAG.AD;
const answer = respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 30)] }, AUTHENTIC);

interface How {
  readonly nowMs?: number;
  readonly octetsMax?: number;
  readonly extendedError?: ExtendedError;
}

function render(entry: CacheEntry, client: Partial<QueryToWrite> = {}, how: How = {}): Uint8Array {
  const { query, view } = ask('A.oRg', TYPE.MX, client);
  const out = new Uint8Array(renderedOctetsMax(entry));
  const rendering = { nowMs: 0, octetsMax: udpLimitOctets(view), ...how };
  return out.subarray(0, renderAnswer(entry, query, view, rendering, out));
}

describe('one entry, many clients', () => {
  const entry = entryOf(answer, 0);

  test('ID, case of the question, RD, CD are the client’s; RA is ours; AA never', () => {
    const { questions, answers, ...header } = oracle(render(entry, { id: 9, cd: true }));
    expect(questions).toMatchObject([{ name: 'A.oRg', type: 'MX', class: 'IN' }]);
    expect(answers).toMatchObject([{ type: 'MX', ttl: 30, data: { exchange: 'mx.a.org' } }]);
    expect(header).toMatchObject({
      id: 9,
      rcode: 'NOERROR',
      flag_qr: true,
      flag_aa: false,
      flag_tc: false,
      flag_rd: true,
      flag_ra: true,
      flag_cd: true,
    });
    expect(oracle(render(entry, { rd: false }))).toMatchObject({ flag_rd: false, flag_cd: false });
  });

  test.each([
    ['neither AD nor DO', {}, false],
    ['AD', { ad: true }, true],
    ['DO', { dnssecOk: true }, true],
  ])('AD to a client that set %s', (_, client, authentic) => {
    expect(oracle(render(entry, client)).flag_ad).toBe(authentic);
  });

  test('AD never when the upstream did not set it', () => {
    const plain = entryOf(respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 30)] }), 0);
    expect(oracle(render(plain, { ad: true, dnssecOk: true })).flag_ad).toBe(false);
  });

  test('OPT exactly when the client has EDNS, with its DO', () => {
    expect(oracle(render(entry, { edns: false })).additionals).toEqual([]);
    expect(oracle(render(entry)).additionals).toMatchObject([
      { type: 'OPT', udpPayloadSize: 1232, flag_do: false, extendedRcode: 0, options: [] },
    ]);
    expect(oracle(render(entry, { dnssecOk: true })).additionals).toMatchObject([
      { flag_do: true },
    ]);
  });

  test('rendering changes nothing in the entry', () => {
    const before = Buffer.from(entry.wire);
    render(entry, { dnssecOk: true }, { nowMs: 12_345 });
    expect(before.equals(entry.wire)).toBe(true);
  });

  test('a buffer too small is refused, not cut', () => {
    const { query, view } = ask('a.org', TYPE.MX);
    const how = { nowMs: 0, octetsMax: 512 };
    expect(() => renderAnswer(entry, query, view, how, new Uint8Array(60))).toThrow(RangeError);
  });
});

describe('time', () => {
  test.each<[string, Uint8Array, readonly (readonly [number, number, string])[]]>([
    [
      'an answer counts down, then is stale for three days',
      answer,
      [
        [0, 30, 'fresh'],
        [0.999, 30, 'fresh'],
        [1, 29, 'fresh'],
        [29, 1, 'fresh'],
        [29.999, 1, 'fresh'],
        [30, 30, 'stale'],
        [31, 30, 'stale'],
        [259_229, 30, 'stale'],
        [259_230, 0, 'gone'],
      ],
    ],
    [
      'NXDOMAIN is never stale',
      respond('a.org', 'MX', NXDOMAIN, { authorities: [soa('a.org', 20, 10)] }),
      [
        [0, 10, 'fresh'],
        [9, 1, 'fresh'],
        [10, 0, 'gone'],
      ],
    ],
    [
      'TTL 0 serves those who wait, and says so',
      respond('a.org', 'MX', NOERROR, { answers: [mx('a.org', 0)] }),
      [
        [0, 0, 'gone'],
        [5, 0, 'gone'],
      ],
    ],
  ])('%s', (_, response, steps) => {
    const clock = new ManualClock();
    const startMs = clock.monotonicMs();
    const entry = entryOf(response, startMs);
    for (const [atSeconds, ttl, state] of steps) {
      clock.advance(startMs + atSeconds * 1000 - clock.monotonicMs());
      const nowMs = clock.monotonicMs();
      const { answers, authorities, additionals } = oracle(render(entry, {}, { nowMs }));
      expect([...answers, ...authorities][0]?.ttl, `at ${atSeconds} s`).toBe(ttl);
      const seen = isFresh(entry, nowMs) ? 'fresh' : isStale(entry, nowMs) ? 'stale' : 'gone';
      expect(seen, `at ${atSeconds} s`).toBe(state);
      const codes = additionals[0]?.options?.map(({ data }) => data?.readUInt16BE(0));
      expect(codes).toEqual(state === 'stale' ? [EXTENDED_ERROR.STALE_ANSWER] : []);
    }
  });

  test('each record counts down by itself; only what is expired gets the stale TTL', () => {
    const answers = [mx('a.org', 10), mx('a.org', 100, 'b.org')];
    const entry = entryOf(respond('a.org', 'MX', NOERROR, { answers }), 0);
    const ttls = (nowMs: number): unknown =>
      oracle(render(entry, {}, { nowMs })).answers.map(({ ttl }) => ttl);
    expect(ttls(4_000)).toEqual([6, 96]);
    expect(ttls(20_000)).toEqual([30, 80]);
  });

  test('stale "0" is never', () => {
    const entry = entryOf(answer, 0, { ...LIMITS, staleMs: 0 });
    expect(isStale(entry, 30_000)).toBe(false);
  });
});

describe('size', () => {
  const answers = Array.from({ length: 40 }, (_, at) => mx('a.org', 60, `host-${at}.a.org`));
  const large = entryOf(respond('a.org', 'MX', NOERROR, { answers }), 0);

  test.each([
    ['without EDNS', { edns: false }, 23],
    ['with EDNS', {}, 34],
  ])('what UDP cannot carry is question, TC and OPT: %s', (_, client, octets) => {
    const message = render(large, client);
    expect(message).toHaveLength(octets);
    expect(oracle(message)).toMatchObject({
      flag_tc: true,
      rcode: 'NOERROR',
      questions: [{ name: 'A.oRg' }],
      answers: [],
      authorities: [],
    });
  });

  test('a stream carries all', () => {
    const message = render(large, {}, { octetsMax: MESSAGE_OCTETS_MAX });
    expect(oracle(message)).toMatchObject({ flag_tc: false, answers: { length: 40 } });
  });

  test('exactly fitting, with and without room for the reason', () => {
    const small = entryOf(answer, 0);
    const octets = small.wire.length + 11;
    const extendedError = { code: 0, text: 'why' };
    const fits = oracle(render(small, {}, { octetsMax: octets, extendedError }));
    expect(fits).toMatchObject({ flag_tc: false, additionals: [{ options: [] }] });
    const roomy = oracle(render(small, {}, { octetsMax: octets + 9, extendedError }));
    expect(roomy).toMatchObject({ flag_tc: false, additionals: [{ options: { length: 1 } }] });
    expect(oracle(render(small, {}, { octetsMax: octets - 1 })).flag_tc).toBe(true);
  });

  test('TC of an upstream that gave no whole answer stays', () => {
    const cut = entryOf(respond('a.org', 'MX', NOERROR, {}, FLAG.TC), 0);
    expect(oracle(render(cut)).flag_tc).toBe(true);
  });
});

describe('failures of our own', () => {
  const reason = { code: EXTENDED_ERROR.NO_REACHABLE_AUTHORITY, text: 'upstream timed out' };

  test('are SERVFAIL with the reason, and leave the query alone', () => {
    const { query, view } = ask('a.org', TYPE.MX);
    const asReceived = Buffer.from(query);
    const datagram = Buffer.from(query);
    const entry = failureEntry(datagram, view.questionEnd, 1_000, 5_000, reason);
    expect(datagram.equals(asReceived)).toBe(true);
    datagram.fill(0xff);
    const response = oracle(render(entry, { id: 3 }, { nowMs: 1_500 }));
    expect(response).toMatchObject({ id: 3, rcode: 'SERVFAIL', flag_tc: false, answers: [] });
    expect(response.questions).toMatchObject([{ name: 'A.oRg', type: 'MX' }]);
    const data = response.additionals[0]?.options?.[0]?.data;
    expect(data?.readUInt16BE(0)).toBe(reason.code);
    expect(data?.toString('utf8', 2)).toBe(reason.text);
    expect([entry.storedAtMs, entry.expiresAtMs, entry.staleUntilMs]).toEqual([
      1_000, 6_000, 6_000,
    ]);
  });
});
