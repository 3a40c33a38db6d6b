/** The cache across restarts: what comes back, how old it is then, and what damage costs. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CacheEntry } from '../../../resolver/cache/entry.ts';
import { queryKey } from '../../../resolver/cache/key.ts';
import { SnapshotFile } from '../../../resolver/cache/snapshot-file.ts';
import { CacheStore } from '../../../resolver/cache/store.ts';
import { RCODE, TYPE } from '../../../resolver/wire/constants.ts';
import type { Log } from '../../../runtime/log.ts';
import { TimerWheel } from '../../../runtime/timer-wheel.ts';
import { entryOf, mx, respond, soa } from '../../support/cache.ts';
import { ManualClock } from '../../support/clock.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { ask } from '../../support/wire.ts';

const WALL_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let file: string;
let folder: Folder;
beforeEach(async () => {
  folder = await scratchFolder('snapshot');
  file = join(folder.path, 'cache.snapshot');
});

afterEach(() => folder.remove());

/** One run of the program; the monotonic clock starts anew, the wall's goes on. */
function program({
  wallMs = WALL_MS,
  monotonicMs = 5_000,
  staleMs = 3 * DAY_MS,
  accepts = (_key: string): boolean => true,
} = {}) {
  const clock = new ManualClock(monotonicMs, wallMs);
  const wheel = new TimerWheel(clock);
  const warnings: string[] = [];
  const note = (_fields: object, text: string): void => void warnings.push(text);
  const log = { debug: () => {}, info: () => {}, warn: note, error: note } as unknown as Log;
  const cache = new CacheStore(1_048_576);
  const options = { file, everyMs: 60_000, staleMs, cache, clock, wheel, log, accepts };
  return { clock, wheel, warnings, cache, snapshot: new SnapshotFile(options) };
}

function keyOf(name: string, type: number = TYPE.MX): string {
  const { query, view } = ask(name, type);
  return queryKey(query, view);
}
const mxOf = (name: string, nowMs: number, ttl = 3_600): CacheEntry => ({
  ...entryOf(respond(name, 'MX', RCODE.NOERROR, { answers: [mx(name, ttl, `mx.${name}`)] }), nowMs),
  upstream: '192.0.2.53:53',
});
const denial = (name: string, nowMs: number): CacheEntry =>
  entryOf(respond(name, 'A', RCODE.NXDOMAIN, { authorities: [soa('org', 900, 900)] }), nowMs);

const NAMES = Array.from({ length: 50 }, (_, index) => `domain${index}.org`);

async function saved(): Promise<void> {
  const { cache, snapshot, clock } = program();
  for (const name of NAMES) cache.set(keyOf(name), mxOf(name, clock.monotonicMs()));
  cache.set(keyOf('gone.org', TYPE.A), denial('gone.org', clock.monotonicMs()));
  cache.addHits(keyOf('domain7.org'), 9);
  await snapshot.save();
}

describe('what comes back', () => {
  test('is what was there, aged by the time that passed on the wall', async () => {
    await saved();
    const { cache, snapshot, clock, warnings } = program({
      wallMs: WALL_MS + 600_000,
      monotonicMs: 50,
    });
    await snapshot.load();
    expect([snapshot.entriesLoaded, warnings]).toEqual([51, []]);
    const storedAtMs = clock.monotonicMs() - 600_000;
    const expected = mxOf('domain7.org', storedAtMs);
    expect(cache.peek(keyOf('domain7.org'), 'answer')).toEqual(expected);
    expect(cache.hits(keyOf('domain7.org'))).toBe(9);
    expect(cache.peek(keyOf('gone.org', TYPE.A), 'answer')?.kind).toBe('nxdomain');
  });

  test.each([
    { what: 'half an hour later', afterMs: 1_800_000, mx: true, nxdomain: false },
    { what: 'expired but stale', afterMs: 2 * DAY_MS, mx: true, nxdomain: false },
    { what: 'beyond stale', afterMs: 3 * DAY_MS + 2 * HOUR_MS, mx: false, nxdomain: false },
    {
      what: 'with a shorter stale',
      afterMs: 2 * HOUR_MS,
      staleMs: HOUR_MS / 2,
      mx: false,
      nxdomain: false,
    },
    { what: 'at once', afterMs: 0, mx: true, nxdomain: true },
  ])('$what', async ({ afterMs, staleMs = 3 * DAY_MS, mx: hasMx, nxdomain }) => {
    await saved();
    const { cache, snapshot } = program({ wallMs: WALL_MS + afterMs, staleMs });
    await snapshot.load();
    const has = (key: string): boolean => cache.peek(key, 'answer') !== undefined;
    expect([has(keyOf('domain0.org')), has(keyOf('gone.org', TYPE.A))]).toEqual([hasMx, nxdomain]);
  });

  test('lives no longer for a wall clock that was set back', async () => {
    await saved();
    const { cache, snapshot, clock } = program({ wallMs: WALL_MS - DAY_MS });
    await snapshot.load();
    const entry = cache.peek(keyOf('domain0.org'), 'answer');
    expect(entry?.storedAtMs).toBe(clock.monotonicMs());
    expect(entry?.expiresAtMs).toBe(clock.monotonicMs() + HOUR_MS);
  });

  test('never takes the place of what was learnt meanwhile', async () => {
    await saved();
    const { cache, snapshot, clock } = program({ wallMs: WALL_MS + 60_000 });
    const news = mxOf('domain0.org', clock.monotonicMs(), 77);
    cache.set(keyOf('domain0.org'), news);
    await snapshot.load();
    expect(cache.peek(keyOf('domain0.org'), 'answer')).toEqual(news);
  });
});

test('what is answered locally by now is left out', async () => {
  await saved();
  const { cache, snapshot } = program({ accepts: (key) => key !== keyOf('domain0.org') });
  await snapshot.load();
  expect([snapshot.entriesLoaded, cache.entries]).toEqual([50, 50]);
});

describe('damage', () => {
  /** Whatever the file has become: no crash, and every response is one that was saved. */
  async function expectTruth(): Promise<number> {
    const { cache, snapshot } = program();
    await snapshot.load();
    for (const [key, entry] of cache.dump(1_000)) {
      const name = NAMES.find((each) => keyOf(each) === key);
      const truth = name === undefined ? denial('gone.org', 5_000) : mxOf(name, 5_000);
      expect(entry).toEqual(truth);
    }
    return cache.entries;
  }

  test('any octet that changed, and any end that is missing, costs warmth alone', async () => {
    await saved();
    const sound = readFileSync(file);
    expect(await expectTruth()).toBe(51);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(sound.length - 1),
        fc.integer({ min: 1, max: 255 }),
        fc.boolean(),
        async (at, flip, truncate) => {
          const damaged = truncate ? sound.subarray(0, at) : Buffer.from(sound);
          if (!truncate) damaged[at] = damaged[at]! ^ flip;
          writeFileSync(file, damaged);
          expect(await expectTruth()).toBeLessThan(51);
        },
      ),
      { numRuns: 150 },
    );
  });

  test('any octets at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (octets) => {
        writeFileSync(file, octets);
        expect(await expectTruth()).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  test('is said once, and mended by the next save', async () => {
    await saved();
    writeFileSync(file, readFileSync(file).subarray(0, 100));
    const { snapshot, warnings } = program();
    await snapshot.load();
    expect(warnings).toEqual(['the snapshot is damaged; what stands before the damage was used']);
    await saved();
    expect(await expectTruth()).toBe(51);
  });

  test('no file is no trouble; one that cannot be written is said', async () => {
    const { snapshot, warnings } = program();
    await snapshot.load();
    expect(warnings).toEqual([]);
    mkdirSync(file);
    await snapshot.save();
    expect(warnings).toEqual(['the snapshot of the cache could not be written']);
    expect(readdirSync(join(file, '..'))).toEqual(['cache.snapshot']);
  });
});

describe('when', () => {
  test('every so often, and on stop', async () => {
    const { snapshot, clock, cache } = program();
    void snapshot.start(0);
    cache.set(keyOf('a.org'), mxOf('a.org', clock.monotonicMs()));
    clock.advance(59_000);
    expect(readdirSync(join(file, '..'))).toEqual([]);
    clock.advance(1_100);
    await snapshot.stop();
    expect(snapshot.entriesSaved).toBe(1);
    const next = program({ wallMs: clock.wallMs() });
    await next.snapshot.load();
    expect(next.snapshot.entriesLoaded).toBe(1);
    expect(clock.timers).toBe(0);
  });

  test('what was flushed does not come back', async () => {
    await saved();
    const { snapshot, cache, wheel } = program();
    void snapshot.start(0);
    cache.flushAll();
    snapshot.onFlushed();
    await snapshot.stop();
    expect(cache.entries).toBe(0);
    expect(snapshot.entriesSaved).toBe(0);
    expect(wheel.size).toBe(0);
  });
});
