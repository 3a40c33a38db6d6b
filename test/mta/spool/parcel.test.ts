/** Leased messages across threads: they arrive as they were. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PRIORITIES } from '../../../mta/envelope.ts';
import { packAnswer, unpackAnswer } from '../../../mta/spool/parcel.ts';
import type { Request } from '../../../mta/spool/protocol.ts';
import { Slab } from '../../../mta/spool/slab.ts';
import type { LeasedMessage } from '../../../mta/spool/spool.ts';
import { leaseOf } from './fixture.ts';

const text = fc.string({ unit: 'grapheme', maxLength: 20 });
const extra = fc.option(fc.record({ extra: text }), { nil: {} });
const number = fc.nat();
const recipient = fc
  .tuple(
    fc.record({
      index: number,
      address: text,
      domain: text,
      attempts: number,
      reason: fc.record({ code: text, text, sinceMs: fc.integer() }),
    }),
    extra,
  )
  .map(([own, more]) => ({ ...own, ...more }));
const messages = fc
  .array(
    fc
      .tuple(
        fc.record({
          message: fc.maxSafeNat(),
          reversePath: text,
          body: fc.constantFrom('7bit' as const, '8bitmime' as const),
          smtpUtf8: fc.boolean(),
          receivedAtMs: fc.integer(),
          priority: fc.constantFrom(...PRIORITIES),
          tenant: text,
          campaign: text,
          recipients: fc.array(recipient, { minLength: 1, maxLength: 3 }),
        }),
        extra,
        fc.integer({ min: 0, max: 3_000 }),
      )
      .map(([own, more, octets]) => ({ own: { ...own, ...more }, octets })),
    { maxLength: 20 },
  )
  .map((drafts): LeasedMessage[] => {
    const slab = new Slab();
    return drafts.map(({ own, octets }, n) => ({ ...own, content: slab.roomFor(octets).fill(n) }));
  });

/** As the other thread gets it; and what was moved is not here any more. */
function across(request: Request, value: unknown): unknown {
  const moved: ArrayBuffer[] = [];
  const sent = packAnswer(request, value, moved);
  const got = structuredClone(sent, { transfer: moved });
  expect(moved.every(({ byteLength }) => byteLength === 0)).toBe(true);
  return unpackAnswer(request, got);
}

const copied = (leased: readonly LeasedMessage[]): LeasedMessage[] =>
  leased.map((one) => ({ ...one, content: new Uint8Array(one.content) }));

describe('a parcel', () => {
  test('has every message of a lease, and what is due next', () => {
    fc.assert(
      fc.property(messages, (leased) => {
        const domains = ['a.example', 'b.example', 'a.example'];
        const nextDueMs = new Map([
          ['a.example', 7],
          ['b.example', null],
        ]);
        const expected = { messages: copied(leased), nextDueMs };
        const request: Request = { op: 'lease', asks: leaseOf(domains) };
        expect(across(request, { messages: leased, nextDueMs })).toEqual(expected);
      }),
      { numRuns: 60 },
    );
  });

  test('has what an operator or time has leased, or nothing', () => {
    fc.assert(
      fc.property(messages, (leased) => {
        const expected = copied(leased);
        const expired = { acceptedBeforeMs: 0, messagesMax: 1, bytesMax: 1 };
        expect(across({ op: 'leaseExpired', asks: expired }, leased)).toEqual(expected);
      }),
      { numRuns: 20 },
    );
    const one: Request = { op: 'leaseMessage', asks: { message: 1, index: null } };
    expect(across(one, null)).toBeNull();
    const [leased] = fc.sample(
      messages.filter(({ length }) => length > 0),
      1,
    );
    const expected = copied(leased!)[0];
    expect(across(one, leased![0])).toEqual(expected);
  });
});

describe('memory for contents', () => {
  const sizesOf = (octets: readonly number[]): number[] => {
    const slab = new Slab();
    const pieces = new Set(octets.map((one) => slab.roomFor(one).buffer));
    return [...pieces].map(({ byteLength }) => byteLength);
  };

  test('comes in pieces for one, two, four, then eight; or what 64 KiB hold', () => {
    expect(sizesOf(Array(20).fill(1_000))).toEqual([1_000, 2_000, 4_000, 8_000, 8_000]);
    expect(sizesOf(Array(15).fill(10_000))).toEqual([10_000, 20_000, 40_000, 65_536, 65_536]);
    expect(sizesOf([100_000, 100_000, 10])).toEqual([100_000, 100_000, 40]);
  });

  test('is not that of what has gone before', () => {
    const slab = new Slab();
    slab.roomFor(1_000);
    const before = slab.roomFor(1_000);
    slab.begin();
    const after = slab.roomFor(1_000);
    expect(after.buffer).not.toBe(before.buffer);
    expect(after.buffer.byteLength).toBe(1_000);
  });
});
