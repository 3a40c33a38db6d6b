/**
 * Ten million recipients are queued on 30,000 sites when the mta is started: how much memory does it take,
 * when is it ready, and when is the first message delivered? Started once with the spool not in the
 * kernel's cache, and once with it there; each time it delivers for --seconds.
 *
 * The spool is filled through its interface, in this process: nine recipients of ten are in campaigns of a
 * thousand, one has a message of its own. Their domains are drawn as people's are: 82 % are at the three
 * large providers, the rest a Zipf tail over all sites. All of it is due at once, the worst case. Everything
 * is deleted at the end; `--recipients 10000000` needs some 10 GB of disk.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress, scratchFolder } from '../../test/support/scratch.ts';
import { type AuthorityRecord, startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import { seededFraction } from '../load/internet.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { cpuSeconds, residentOctets } from '../load/proc.ts';
import { startSink } from '../load/sink.ts';
import { type Filled, fillSpool } from '../load/spool-filler.ts';
import { tableText } from '../load/table.ts';

export interface TenMillionOptions {
  readonly recipients: number;
  readonly sites: number;
  /** Of delivery after each start. */
  readonly seconds: number;
}

export interface Start {
  readonly cache: 'cold' | 'warm';
  readonly readySeconds: number;
  /** What the process had spent by then; on a busy machine it tells more than the clock. */
  readonly readyCpuSeconds: number;
  /** From the start of the process. */
  readonly firstDeliverySeconds: number;
  readonly firstDeliveryCpuSeconds: number;
  readonly mibWhenReady: number;
  readonly mibAtMost: number;
  readonly deliveredPerSecond: number;
  readonly cpuMsPerDelivery: number;
  readonly sitesDelivered: number;
}

export interface TenMillion {
  readonly recipients: number;
  readonly messages: number;
  readonly sites: number;
  readonly fillSeconds: number;
  readonly gibOnDisk: number;
  readonly starts: readonly Start[];
}

const HEAD = [
  { domain: 'gmail.com', share: 0.67 },
  { domain: 'hotmail.com', share: 0.09 },
  { domain: 'yahoo.com', share: 0.06 },
];
const SINGLES_PERCENT = 10;
const RECIPIENTS_PER_CAMPAIGN = 1_000;
const CAMPAIGN_OCTETS = 10_240;
const SINGLE_OCTETS = 4_096;
const SAMPLE_MS = 100;
const FIRST_DELIVERY_MS_MAX = 120_000;
const MIB = 1_048_576;
const GIB = 1_073_741_824;
const BAR_WIDTH = 40;
const GOAL_READY_SECONDS = 2;

const domainsOf = (sites: number): string[] => [
  ...HEAD.map(({ domain }) => domain),
  ...Array.from({ length: Math.max(0, sites - HEAD.length) }, (_, n) => `site${n}.example`),
];

/** Each domain has MX hosts of its own, and so is a site of its own; all of them are at one address. */
const zonesOf = (domains: readonly string[], address: string): Map<string, AuthorityRecord[]> =>
  new Map(
    domains.map((domain) => [
      domain,
      [
        { name: domain, type: 'MX', ttlSeconds: 3600, preference: 10, exchange: `mx.${domain}` },
        { name: `mx.${domain}`, type: 'A', ttlSeconds: 3600, address },
      ],
    ]),
  );

/** Draws domains; before anything else each of the tail once, so that all sites have mail. */
function drawer(domains: readonly string[]): () => string {
  const fraction = seededFraction(5);
  const tail = domains.slice(HEAD.length);
  let inTurn = 0;
  return () => {
    let share = fraction();
    for (const head of HEAD) {
      if (share < head.share || tail.length === 0) return head.domain;
      share -= head.share;
    }
    if (inTurn < tail.length) return tail[inTurn++]!;
    // Zipf: the logarithm of the rank is even.
    return tail[Math.min(tail.length - 1, Math.floor(tail.length ** fraction()) - 1)]!;
  };
}

function progress(what: string, whole: number): (done: number) => void {
  let shownAtMs = performance.now();
  let ended = false;
  return (done) => {
    if (ended || (done < whole && performance.now() - shownAtMs < 500)) return;
    ended = done >= whole;
    shownAtMs = performance.now();
    const filled = Math.floor((BAR_WIDTH * done) / whole);
    const bar = `${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}`;
    process.stderr.write(
      `\r${what} ${bar} ${done.toLocaleString('en-US')}${done < whole ? '' : '\n'}`,
    );
  };
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name));
}

async function octetsOnDisk(folder: string): Promise<number> {
  let octets = 0;
  for (const file of await filesIn(folder)) octets += (await stat(file)).blocks * 512;
  return octets;
}

/** Asks the kernel to forget what it keeps of the files. */
async function dropFromCache(folder: string): Promise<void> {
  for (const file of await filesIn(folder)) {
    spawnSync('dd', [`of=${file}`, 'oflag=nocache', 'conv=notrunc,fdatasync', 'count=0']);
    spawnSync('dd', [`if=${file}`, 'iflag=nocache', 'count=0']);
  }
}

interface Target {
  readonly count: () => number;
  readonly sites: ReadonlySet<string>;
}

async function measure(
  cache: Start['cache'],
  start: () => Promise<Postilion>,
  target: Target,
  seconds: number,
): Promise<Start> {
  const before = target.count();
  const startMs = performance.now();
  const mta = await start();
  try {
    const since = (): number => (performance.now() - startMs) / 1000;
    const readySeconds = since();
    const pids = [mta.process().pid];
    const readyCpuSeconds = cpuSeconds(pids);
    const mibWhenReady = residentOctets(pids) / MIB;
    let [firstDeliverySeconds, firstDeliveryCpuSeconds] = [Number.NaN, Number.NaN];
    let mibAtMost = mibWhenReady;
    const deadlineMs = startMs + FIRST_DELIVERY_MS_MAX;
    let endMs = deadlineMs;
    while (performance.now() < endMs) {
      if (Number.isNaN(firstDeliverySeconds) && target.count() > before) {
        firstDeliverySeconds = since();
        firstDeliveryCpuSeconds = cpuSeconds(pids);
        endMs = performance.now() + seconds * 1000;
      }
      mibAtMost = Math.max(mibAtMost, residentOctets(pids) / MIB);
      await sleep(SAMPLE_MS);
    }
    const delivered = target.count() - before;
    return {
      cache,
      readySeconds,
      readyCpuSeconds,
      firstDeliverySeconds,
      firstDeliveryCpuSeconds,
      mibWhenReady,
      mibAtMost,
      deliveredPerSecond: delivered / seconds,
      cpuMsPerDelivery: (cpuSeconds(pids) * 1000) / delivered,
      sitesDelivered: target.sites.size,
    };
  } finally {
    await mta.stop();
  }
}

export async function runTenMillion(options: TenMillionOptions): Promise<TenMillion> {
  const cleanup = new Cleanup();
  try {
    const folder = await scratchFolder('ten-million');
    cleanup.add(() => folder.remove());
    const spool = join(folder.path, 'spool');
    await mkdir(spool);
    const domains = domainsOf(options.sites);
    const filled: Filled = await fillSpool({
      folder: spool,
      recipients: options.recipients,
      singlesPercent: SINGLES_PERCENT,
      recipientsPerCampaign: RECIPIENTS_PER_CAMPAIGN,
      campaignOctets: CAMPAIGN_OCTETS,
      singleOctets: SINGLE_OCTETS,
      nextDomain: drawer(domains),
      onProgress: progress('filling the spool', options.recipients),
    });
    const gibOnDisk = (await octetsOnDisk(spool)) / GIB;
    process.stderr.write(
      `${filled.messages} messages in ${filled.seconds.toFixed(0)} s, ${gibOnDisk.toFixed(2)} GiB on disk\n`,
    );
    const [address, port] = [loopbackAddress(), await freePort()];
    const sites = new Set<string>();
    const sink = await startSink({
      listen: [{ address, port }],
      onMessage({ recipients }) {
        for (const to of recipients) sites.add(to.slice(to.indexOf('@')));
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const authority = cleanup.stop(await startAuthority({ zones: zonesOf(domains, address) }));
    const resolver = cleanup.stop(
      await startPostilion({ program: 'resolver', upstream: authority }),
    );
    const start = (): Promise<Postilion> =>
      startPostilion({
        program: 'mta',
        upstream: resolver.dns,
        spool,
        mta: { delivery: { port, tls: 'none' }, drain: '1s', queue_recipients: 100_000_000 },
      });
    const target = { count: () => sink.counts.recipients, sites };
    const starts: Start[] = [];
    for (const cache of ['cold', 'warm'] as const) {
      if (cache === 'cold') await dropFromCache(spool);
      starts.push(await measure(cache, start, target, options.seconds));
      process.stderr.write(`${startsTable(starts.slice(-1))}\n`);
      sites.clear();
    }
    return {
      recipients: filled.recipients,
      messages: filled.messages,
      sites: options.sites,
      fillSeconds: filled.seconds,
      gibOnDisk,
      starts,
    };
  } finally {
    await cleanup.run();
  }
}

const startsTable = (starts: readonly Start[]): string =>
  tableText(
    [
      'start',
      'ready, s',
      'CPU s',
      'first delivery, s',
      'CPU s',
      'MiB ready',
      'MiB at most',
      'per s',
      'CPU ms each',
      'sites',
    ],
    starts.map((it) => [
      it.cache,
      it.readySeconds,
      it.readyCpuSeconds,
      it.firstDeliverySeconds,
      it.firstDeliveryCpuSeconds,
      it.mibWhenReady,
      it.mibAtMost,
      it.deliveredPerSecond,
      it.cpuMsPerDelivery,
      it.sitesDelivered,
    ]),
  );

if (import.meta.main) {
  await benchMain({
    defaults: { recipients: 10_000_000, sites: 30_000, seconds: 20 },
    run: runTenMillion,
    failed: (outcome) =>
      (outcome as TenMillion).starts.some(({ readySeconds, firstDeliverySeconds }) => {
        return !(readySeconds < GOAL_READY_SECONDS) || Number.isNaN(firstDeliverySeconds);
      }),
  });
}
