/** What is kept of the past, and the rates made of it. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { silentLog } from '../../../runtime/log.ts';
import { historyOf } from '../../../sidecar/dashboard/columns.ts';
import { History } from '../../../sidecar/dashboard/history.ts';
import { dnsRow, mailRow, rowsOf } from '../../../sidecar/dashboard/rates.ts';
import { Sampler } from '../../../sidecar/dashboard/sampler.ts';
import { ManualClock } from '../../support/clock.ts';
import { dnsSample, mailSample } from './fixture.ts';

describe('History', () => {
  test('ten minutes by the second, two hours by ten', () => {
    const history = new History();
    for (let second = 0; second < 10_000; second += 1) history.push({ atMs: second * 1_000 });
    expect([history.fine.length, history.fine[0]?.atMs]).toEqual([601, 9_399_000]);
    expect([history.coarse.length, history.coarse.at(-1)?.atMs]).toEqual([721, 9_990_000]);
    expect(history.recent(2).map(({ atMs }) => atMs)).toEqual([9_998_000, 9_999_000]);
  });

  test('in order, bounded, and the coarse among the fine, whatever the clock does', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 100 })), (seconds) => {
        const history = new History();
        for (const second of seconds) history.push({ atMs: second * 1_000 });
        for (const list of [history.fine, history.coarse]) {
          for (const [at, { atMs }] of list.entries()) {
            if (at > 0) expect(atMs).toBeGreaterThan(list[at - 1]!.atMs);
          }
        }
        const fine = new Set(history.fine.map(({ atMs }) => atMs));
        expect(history.coarse.every(({ atMs }) => fine.has(atMs))).toBe(true);
      }),
    );
  });
});

describe('rates', () => {
  test('so many a second, over whatever lies between two samples', () => {
    const before = mailSample(1_000, { delivered: 10, causes: { connect: 1 } });
    const now = mailSample(3_000, { delivered: 30, queued: 5, causes: { connect: 1, tls: 4 } });
    expect(mailRow(before, now)).toMatchObject({ delivered: 10, queued: 5, causes: { tls: 2 } });
  });

  test('a restart has no rate', () => {
    const row = dnsRow(dnsSample(1_000, { queries: 500 }), dnsSample(2_000, { queries: 3 }));
    expect([row.lookups, row.sent]).toEqual([null, 0]);
  });

  test('samples that are missing are a gap', () => {
    const samples = [1, 2, 9, 10].map((second) => dnsSample(second * 1_000, { queries: second }));
    expect(rowsOf(samples, 1_000, dnsRow).map(({ lookups }) => lookups)).toEqual([1, null, 1]);
    expect(rowsOf(samples.slice(0, 1), 1_000, dnsRow)).toEqual([]);
  });

  test('columns are of equal length, and nothing stands for a program that is away', () => {
    const fine = [1, 2, 3].map((second) =>
      mailSample(second * 1_000, { deferred: second, causes: { tls: second } }),
    );
    const sites = [{ alias: 'mx~1', recipients: 4, oldestSeconds: 9 }];
    const coarse = [
      mailSample(0),
      mailSample(10_000, { sites }),
      mailSample(20_000, { sites: [] }),
    ];
    const { fine: shown, sites: strip } = historyOf(null, { fine, coarse });
    expect(shown.dns.atMs).toEqual([]);
    expect(shown.mail.atMs).toEqual([2_000, 3_000]);
    expect(shown.mail.causes).toEqual({ tls: [1, 1] });
    for (const column of Object.values(shown.mail.columns)) expect(column).toHaveLength(2);
    expect(strip).toEqual({
      atMs: [10_000, 20_000],
      sites: { 'mx~1': { recipients: [4, 0], oldestSeconds: [9, 0] } },
    });
  });
});

describe('Sampler', () => {
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  test('at every whole second; a slow reading leaves seconds out, a failed one too', async () => {
    const clock = new ManualClock(1_000_000, 1_800_000_000_400);
    const answers: ((ok: boolean) => void)[] = [];
    const sampler = new Sampler({
      clock,
      log: silentLog,
      read: (atMs) =>
        new Promise<{ atMs: number }>((resolve, reject) =>
          answers.push((ok) => (ok ? resolve({ atMs }) : reject(new Error('no')))),
        ),
    });
    clock.advance(600);
    clock.advance(2_000);
    expect(answers).toHaveLength(1);
    for (const ok of [true, false, true]) {
      answers.at(-1)!(ok);
      await settle();
      clock.advance(1_000);
    }
    expect(sampler.history.fine.map(({ atMs }) => atMs - 1_800_000_000_000)).toEqual([
      1_000, 5_000,
    ]);
    sampler.stop();
    expect(clock.timers).toBe(0);
  });
});
