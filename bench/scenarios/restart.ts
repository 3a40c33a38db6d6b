/**
 * `kill -9` under load and a start from the snapshot: how many packets go upstream afterwards, beside
 * those of a start without one? dnsperf asks for 10,000 names at a steady pace; both starts see the
 * same. --seconds is what is counted after each start: all names are asked for within the first, so
 * 20 s count what a minute would.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { waitFor } from '../../test/support/process.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { type CountingUpstream, startCountingUpstream } from '../load/counting-upstream.ts';
import { writeLines } from '../load/dns-questions.ts';
import { type BurstResult, runDnsperf } from '../load/dnsperf.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { tableText } from '../load/table.ts';

export interface RestartOptions {
  /** Counted after each start. */
  readonly seconds: number;
  readonly perSecond: number;
  readonly names: number;
}

export interface Start {
  readonly kind: 'cold' | 'warm';
  /** From the start of the process to the first answer of /readyz. */
  readonly readyMs: number;
  /** Responses that the snapshot gave back. */
  readonly entriesLoaded: number;
  readonly answersPerSecond: number;
  /** Queries that dnsperf gave up, of those sent from then on. */
  readonly lost: number;
  readonly upstreamPackets: number;
}

export interface Restart {
  readonly cold: Start;
  readonly warm: Start;
  /** Packets after the warm start, of those after the cold one. */
  readonly warmShare: number;
}

/** What a warm start may cost at most, of a cold one. */
export const WARM_SHARE_MAX = 0.05;
/** Longer than any run, so that nothing expires meanwhile; a restart is not about that. */
const TTL_SECONDS = 3_600;
const SNAPSHOT_EVERY_SECONDS = 2;
const SAVED_TIMEOUT_MS = 60_000;
/** Before the kill: long enough for a load to be steady. */
const BEFORE_MS = 2_000;

/** The load of before goes on over the kill; that which is counted begins once the new one is ready. */
async function killAndStart(
  kind: Start['kind'],
  { seconds, perSecond }: RestartOptions,
  parts: {
    readonly postilion: Postilion;
    readonly upstream: CountingUpstream;
    readonly file: string;
    readonly snapshot: string;
  },
): Promise<Start> {
  const { postilion, upstream, file, snapshot } = parts;
  const load = (during: number): Promise<BurstResult> =>
    runDnsperf({ server: postilion.dns, file, seconds: during, perSecond });
  const before = load(BEFORE_MS / 1_000);
  await sleep(BEFORE_MS / 2);
  await postilion.kill();
  if (kind === 'cold') await rm(snapshot, { force: true });
  await before;
  await upstream.arrivals();
  const startMs = performance.now();
  await postilion.restart();
  const readyMs = performance.now() - startMs;
  const { answersPerSecond, lost } = await load(seconds);
  const packets = await upstream.arrivals();
  const metrics = await postilion.resolverMetrics();
  return {
    kind,
    readyMs,
    entriesLoaded: metrics.sum('postilion_dns_snapshot_entries', { direction: 'loaded' }),
    answersPerSecond,
    lost,
    upstreamPackets: packets.length,
  };
}

export async function runRestart(options: RestartOptions): Promise<Restart> {
  const cleanup = new Cleanup();
  try {
    const folder = await scratchFolder('restart');
    cleanup.add(() => folder.remove());
    const file = join(folder.path, 'questions');
    const snapshot = join(folder.path, 'cache.snapshot');
    await writeLines(
      file,
      Array.from({ length: options.names }, (_, index) => `d${index}.example MX`),
    );
    const upstream = cleanup.stop(await startCountingUpstream(TTL_SECONDS));
    const postilion = cleanup.stop(
      await startPostilion({
        program: 'resolver',
        upstream,
        resolver: { snapshot, snapshot_every: `${SNAPSHOT_EVERY_SECONDS}s`, bundles: 'off' },
      }),
    );
    const parts = { postilion, upstream, file, snapshot };
    const cold = await killAndStart('cold', options, parts);
    await savedOnceMore(snapshot);
    const warm = await killAndStart('warm', options, parts);
    process.stderr.write(`${restartTable([cold, warm])}\n`);
    return { cold, warm, warmShare: warm.upstreamPackets / cold.upstreamPackets };
  } finally {
    await cleanup.run();
  }
}

/** @returns when a save that began after now has ended */
async function savedOnceMore(snapshot: string): Promise<void> {
  const savedAtMs = async (): Promise<number> =>
    (await stat(snapshot).catch(() => ({ mtimeMs: 0 }))).mtimeMs;
  // The save under way may have begun before; the one after it has not.
  for (let save = 0; save < 2; save += 1) {
    const lastMs = await savedAtMs();
    await waitFor(
      async () => (await savedAtMs()) > lastMs,
      () => 'the snapshot to be saved',
      SAVED_TIMEOUT_MS,
    );
  }
}

const restartTable = (starts: readonly Start[]): string =>
  tableText(
    ['start', 'ready, ms', 'entries loaded', 'answers/s', 'lost', 'upstream packets'],
    starts.map((it) => [
      it.kind,
      it.readyMs,
      it.entriesLoaded,
      it.answersPerSecond,
      it.lost,
      it.upstreamPackets,
    ]),
  );

if (import.meta.main) {
  await benchMain({
    defaults: { seconds: 20, perSecond: 20_000, names: 10_000 },
    run: runRestart,
    failed: (outcome) => (outcome as Restart).warmShare > WARM_SHARE_MAX,
  });
}
