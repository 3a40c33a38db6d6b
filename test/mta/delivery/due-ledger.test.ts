import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DueLedger } from '../../../mta/delivery/due-ledger.ts';
import { ManualClock } from '../../support/clock.ts';

function ledger() {
  const clock = new ManualClock();
  const startMs = clock.wallMs();
  const fired: string[] = [];
  const due = new DueLedger(clock, (domain) => fired.push(`${domain}@${clock.wallMs() - startMs}`));
  return { clock, startMs, fired, due };
}

describe('due ledger', () => {
  test('what is due soon, whatever was noted and forgotten before', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 15 }), fc.integer({ min: 1, max: 100 }))),
        fc.integer({ min: 0, max: 100 }),
        (notes, untilMs) => {
          const { startMs, due } = ledger();
          const earliest = new Map<string, number>();
          for (const [n, dueMs] of notes) {
            const domain = `d${n}.example`;
            due.note(domain, startMs + dueMs);
            earliest.set(domain, Math.min(dueMs, earliest.get(domain) ?? dueMs));
          }
          const expected = [...earliest].filter(([, dueMs]) => dueMs <= untilMs);
          const soon = due.soon(startMs + untilMs, 100);
          expect(soon.sort()).toEqual(expected.map(([domain]) => domain).sort());
          expect(due.soon(startMs + untilMs, 2).length).toBe(Math.min(2, expected.length));
        },
      ),
    );
  });

  test('each domain falls due once, in order of time', () => {
    const { clock, startMs, fired, due } = ledger();
    due.note('c.example', startMs + 3_000);
    due.note('a.example', startMs + 1_000);
    due.note('b.example', startMs + 2_000);
    clock.advance(10_000);
    expect(fired).toEqual(['a.example@1000', 'b.example@2000', 'c.example@3000']);
    expect(due.size).toBe(0);
  });

  test('an earlier instant replaces a later one, and not the other way round', () => {
    const { clock, startMs, fired, due } = ledger();
    due.note('a.example', startMs + 5_000);
    due.note('a.example', startMs + 2_000);
    due.note('a.example', startMs + 9_000);
    clock.advance(20_000);
    expect(fired).toEqual(['a.example@2000']);
  });

  test('an instant hours away is reached through bounded timers', () => {
    const { clock, startMs, fired, due } = ledger();
    due.note('a.example', startMs + 7_200_000);
    expect(clock.timers).toBe(1);
    clock.advance(7_199_999);
    expect(fired).toEqual([]);
    clock.advance(1);
    expect(fired).toEqual(['a.example@7200000']);
    expect(clock.timers).toBe(0);
  });

  test('a domain may be noted again while it is being told', () => {
    const clock = new ManualClock();
    const startMs = clock.wallMs();
    let told = 0;
    const due: DueLedger = new DueLedger(clock, (domain) => {
      told += 1;
      if (told < 3) due.note(domain, clock.wallMs() + 100);
    });
    due.note('a.example', startMs);
    clock.advance(1_000);
    expect(told).toBe(3);
  });

  test('after stop() nothing falls due', () => {
    const { clock, startMs, fired, due } = ledger();
    due.note('a.example', startMs + 1_000);
    due.stop();
    due.note('b.example', startMs + 1_000);
    clock.advance(60_000);
    expect(fired).toEqual([]);
    expect(clock.timers).toBe(0);
  });

  test('whatever is noted, every domain fires once, at its earliest instant', () => {
    const note = fc.record({ domain: fc.constantFrom('a', 'b', 'c', 'd'), atMs: fc.nat(90_000) });
    fc.assert(
      fc.property(fc.array(note, { maxLength: 40 }), (notes) => {
        const { clock, startMs, fired, due } = ledger();
        const earliest = new Map<string, number>();
        for (const { domain, atMs } of notes) {
          due.note(domain, startMs + atMs);
          earliest.set(domain, Math.min(earliest.get(domain) ?? atMs, atMs));
        }
        clock.advance(100_000);
        const expected = [...earliest].map(([domain, atMs]) => `${domain}@${atMs}`);
        expect([...fired].sort()).toEqual(expected.sort());
      }),
    );
  });
});
