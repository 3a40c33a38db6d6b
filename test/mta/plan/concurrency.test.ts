/** How many connections sites deserve: by backlog, by pace, by what the peer stands. */
import { describe, expect, test } from 'vitest';
import { SiteConcurrency } from '../../../mta/plan/concurrency.ts';

/** Told of so many messages at such a pace, in one instant. */
function served(concurrency: SiteConcurrency, messages: number, tookMs: number, nowMs = 0): void {
  for (let message = 0; message < messages; message += 1) concurrency.served(nowMs, tookMs);
}

describe('desired', () => {
  test.each([
    [0, 0],
    [1, 1],
    [100, 1],
    [101, 2],
    [350, 4],
    [501, 5],
    [1_000_000, 5],
  ])('a backlog of %d at an unknown site deserves %d', (backlog, expected) => {
    expect(new SiteConcurrency(20).desired(backlog)).toBe(expected);
  });

  test.each([
    // At 10 ms a message reuse decides; at half a second, time does.
    { paceMs: 10, backlog: 500, expected: 5 },
    { paceMs: 500, backlog: 100, expected: 5 },
    { paceMs: 500, backlog: 20, expected: 1 },
    { paceMs: 5_000, backlog: 40, expected: 20 },
    // Never more connections than messages.
    { paceMs: 60_000, backlog: 3, expected: 3 },
  ])('at $paceMs ms a message, $backlog deserve $expected', ({ paceMs, backlog, expected }) => {
    const concurrency = new SiteConcurrency(20);
    served(concurrency, 1_000, paceMs);
    expect(concurrency.desired(backlog)).toBe(expected);
  });

  test('one slow message does not change the pace, many do', () => {
    const concurrency = new SiteConcurrency(20);
    served(concurrency, 300, 10);
    served(concurrency, 1, 30_000);
    served(concurrency, 50, 10);
    expect(concurrency.desired(100)).toBe(1);
    served(concurrency, 50, 2_000);
    expect(concurrency.desired(100)).toBe(20);
  });
});

describe('allowance', () => {
  test('grows by one for every N messages taken, up to the ceiling', () => {
    const concurrency = new SiteConcurrency(20);
    const floors: number[] = [];
    for (let message = 0; message < 250; message += 1) {
      if (message % 50 === 0) floors.push(Math.floor(concurrency.allowance));
      concurrency.served(0, 1);
    }
    // 5² + 2 × 50 = 125 = 11.2², and so on.
    expect(floors).toEqual([5, 11, 15, 18, 20]);
    expect(concurrency.allowance).toBe(20);
  });

  test('falls to what stayed open, rests a minute, then grows again', () => {
    const concurrency = new SiteConcurrency(20);
    served(concurrency, 300, 1);
    concurrency.refused(10_000, 7);
    expect(concurrency.allowance).toBe(7);
    served(concurrency, 1_000, 1, 69_999);
    expect(concurrency.allowance).toBe(7);
    served(concurrency, 1, 1, 70_000);
    expect(concurrency.allowance).toBeGreaterThan(7);
  });

  test('falls by 1/N where more are open than were thought to be stood', () => {
    const concurrency = new SiteConcurrency(20);
    concurrency.refused(0, 12);
    expect(concurrency.allowance).toBe(4.8);
  });

  test('is never below one', () => {
    const concurrency = new SiteConcurrency(20);
    for (let refusal = 0; refusal < 100; refusal += 1) concurrency.refused(refusal, 0);
    expect(concurrency.allowance).toBe(1);
    expect(concurrency.desired(10_000)).toBe(1);
  });

  test('a ceiling of one holds from the start', () => {
    const concurrency = new SiteConcurrency(1);
    served(concurrency, 1_000, 10_000);
    expect(concurrency.desired(10_000)).toBe(1);
  });
});

describe('the aim of 100 messages a connection', () => {
  /** Injection at a steady rate into one site; connections live as long as they are deserved. */
  function run(
    perSecond: number,
    paceMs: number,
  ): { connections: number; messages: number; backlogMax: number } {
    const concurrency = new SiteConcurrency(20);
    let backlog = 0;
    let open = 0;
    let connections = 0;
    let messages = 0;
    let backlogMax = 0;
    for (let nowMs = 0; nowMs < 60_000; nowMs += 100) {
      backlog += perSecond / 10;
      const desired = concurrency.desired(backlog);
      if (desired > open) {
        connections += desired - open;
        open = desired;
      }
      const done = Math.min(backlog, Math.floor((open * 100) / paceMs));
      served(concurrency, done, paceMs, nowMs);
      backlog -= done;
      messages += done;
      backlogMax = Math.max(backlogMax, backlog);
    }
    return { connections, messages, backlogMax };
  }

  test.each([
    { perSecond: 1_000, paceMs: 5 },
    { perSecond: 500, paceMs: 20 },
    { perSecond: 100, paceMs: 50 },
  ])('holds at $perSecond/s and $paceMs ms a message', ({ perSecond, paceMs }) => {
    const { connections, messages, backlogMax } = run(perSecond, paceMs);
    expect(messages / connections).toBeGreaterThan(100);
    expect(messages).toBeGreaterThan(perSecond * 60 * 0.9);
    expect(backlogMax).toBeLessThan(2_500);
  });
});
