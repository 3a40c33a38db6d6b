/**
 * How long 100,000 cached answers take to disk and back, and how long the loop stands still meanwhile.
 * `npm run bench -- micro/snapshot [--entries 100000]`; best read on a machine that is idle.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { admit } from '../../resolver/cache/admission.ts';
import { queryKey } from '../../resolver/cache/key.ts';
import { SnapshotFile } from '../../resolver/cache/snapshot-file.ts';
import { CacheStore } from '../../resolver/cache/store.ts';
import { FLAG, TYPE } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryView } from '../../resolver/wire/message.ts';
import { textToName } from '../../resolver/wire/names.ts';
import { writeQuery, writeResponse } from '../../resolver/wire/write.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { TimerWheel } from '../../runtime/timer-wheel.ts';
import { benchOptions } from '../load/options.ts';

const entries = Number(benchOptions({ entries: { type: 'string', default: '100000' } }).entries);
const STALE_MS = 259_200_000;
const LIMITS = {
  minTtlMs: 0,
  maxTtlMs: 86_400_000,
  maxNegativeTtlMs: 10_800_000,
  failureTtlMs: 5_000,
  staleMs: STALE_MS,
};
const clock = systemClock();
const wheel = new TimerWheel(clock);
const folder = mkdtempSync(join(tmpdir(), 'postilion-snapshot-'));
const file = join(folder, 'cache.snapshot');

function nameOf(text: string): Uint8Array {
  const name = textToName(text);
  if (typeof name === 'number') throw new Error(`not a name: ${text}`);
  return name;
}

function filled(): CacheStore {
  const cache = new CacheStore(entries * 512);
  const view = new QueryView();
  for (let index = 0; index < entries; index += 1) {
    const name = nameOf(`domain${index}.example.net`);
    const answers = [1, 2].map((host) => ({
      name,
      type: TYPE.MX,
      ttlSeconds: 3_600,
      rdata: Uint8Array.from([0, 10, ...nameOf(`mx${host}.mail.hoster.example.com`)]),
    }));
    const flags = FLAG.RD | FLAG.RA;
    const response = writeResponse({ id: 0, flags, question: { name, type: TYPE.MX }, answers });
    const admission = admit(response, clock.monotonicMs(), LIMITS, '192.0.2.53:53');
    if (admission.verdict !== 'keep') throw new Error('the sample is not cacheable');
    const query = writeQuery({ id: 0, name, type: TYPE.MX });
    parseQuery(query, view);
    cache.set(queryKey(query, view), admission.entry);
  }
  return cache;
}

async function timed(label: string, work: () => Promise<void>): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const tookMs = performance.now() - start;
  delay.disable();
  const { user, system } = process.cpuUsage(cpu);
  const figures = [tookMs, (user + system) / 1000, delay.max / 1e6].map((ms) => ms.toFixed(0));
  console.log(
    `${label}: ${figures[0]} ms, ${figures[1]} ms of CPU, longest stall ${figures[2]} ms`,
  );
}

const parts = {
  accepts: () => true,
  file,
  everyMs: 60_000,
  staleMs: STALE_MS,
  clock,
  wheel,
  log: silentLog,
};
const saver = new SnapshotFile({ ...parts, cache: filled() });
await timed('save', () => saver.save());
const loader = new SnapshotFile({ ...parts, cache: new CacheStore(entries * 512) });
await timed('load', () => loader.load());
console.log(`${loader.entriesLoaded} of ${entries} entries, ${statSync(file).size} octets`);
rmSync(folder, { recursive: true });
