/**
 * Mail to many sites at once, half of them hosts that misbehave in every way that we know, half healthy.
 * Is every recipient accounted for, and are the healthy sites slowed? Compared with runs in which the
 * other half is healthy too and gets the same mail.
 *
 * The two kinds of run alternate, --rounds of each, and medians are compared, since whatever else the machine
 * does meets both. The half that is measured has its sink and clock in this process, the other half is in
 * a thread of its own.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { startThread } from '../../runtime/thread.ts';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import { type AuthorityRecord, startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import type { FarmHalfSetup } from '../load/farm-half-worker.ts';
import { inject, type Letter } from '../load/injector.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { cpuSeconds } from '../load/proc.ts';
import { interleave, median } from '../load/rounds.ts';
import { startSink } from '../load/sink.ts';
import { tableText } from '../load/table.ts';

export interface HostileFarmOptions {
  readonly messages: number;
  readonly sites: number;
  readonly rounds: number;
  readonly timeoutMs: number;
}

/** What healthy sites saw; medians over rounds. */
export interface Healthy {
  /** From the first injection to the last arrival at any of them. */
  readonly seconds: number;
  /** The same of the site in the middle. */
  readonly medianSiteSeconds: number;
  /** From the 250 to the arrival. */
  readonly p50Seconds: number;
  readonly p99Seconds: number;
  /** Of the mta until then. */
  readonly cpuSeconds: number;
}

export interface HostileFarm {
  readonly acknowledged: number;
  readonly delivered: number;
  readonly bounced: number;
  readonly expired: number;
  readonly queued: number;
  /** acknowledged − the sum of the others, over all rounds: must be 0. */
  readonly unaccounted: number;
  readonly healthySent: number;
  /** The least of all rounds. */
  readonly healthyDelivered: number;
  readonly among: Healthy;
  readonly amid: Healthy;
  /** How much longer healthy mail took amid the hostile, as a share. */
  readonly slowed: number;
  /** Of the sites, those whose own last arrival came more than SLOWED_MAX later. */
  readonly sitesSlowed: number;
}

const BODY = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(130));
const HALF = new URL('../load/farm-half-worker.ts', import.meta.url);
const SLOWED_MAX = 0.1;

interface Run extends Healthy {
  readonly acknowledged: number;
  readonly delivered: number;
  readonly bounced: number;
  readonly expired: number;
  readonly queued: number;
  readonly healthyDelivered: number;
}

export async function runHostileFarm(options: HostileFarmOptions): Promise<HostileFarm> {
  const kinds = ['among', 'amid'] as const;
  const siteSeconds = { among: [] as number[][], amid: [] as number[][] };
  const results = await interleave(kinds, options.rounds, async (kind) => {
    const { lastAtSeconds, ...figures } = await run(options, kind === 'amid');
    siteSeconds[kind].push(lastAtSeconds);
    return { ...figures };
  });
  const [among, amid] = kinds.map((kind) => results.get(kind)!);
  const { acknowledged, delivered, bounced, expired, queued } = amid!.runs.at(-1)!;
  const all = [...among!.runs, ...amid!.runs];
  const ofSite = (kind: 'among' | 'amid', site: number): number =>
    median(siteSeconds[kind].map((round) => round[site]!));
  const sites = siteSeconds.amid[0]!.map((_, site) => ofSite('amid', site) / ofSite('among', site));
  return {
    acknowledged,
    delivered,
    bounced,
    expired,
    queued,
    unaccounted: all.reduce((sum, one) => sum + unaccountedIn(one), 0),
    healthySent: Math.ceil(options.messages / 2),
    healthyDelivered: Math.min(...all.map((one) => one.healthyDelivered)),
    among: among!.medians,
    amid: amid!.medians,
    slowed: amid!.medians.seconds / among!.medians.seconds - 1,
    sitesSlowed: sites.filter((ratio) => ratio > 1 + SLOWED_MAX).length,
  };
}

const unaccountedIn = ({ acknowledged, delivered, bounced, expired, queued }: Run): number =>
  Math.abs(acknowledged - delivered - bounced - expired - queued);

const domainOf = (site: number): string => `s${site}.example`;
const isHealthy = (site: number): boolean => site % 2 === 0;

async function startOtherHalf(cleanup: Cleanup, workerData: FarmHalfSetup): Promise<void> {
  const worker = startThread(HALF, { workerData });
  cleanup.add(() => worker.terminate());
  await once(worker, 'message');
}

/** When the mail of healthy sites was acknowledged and arrived, seconds since the first injection. */
class Arrivals {
  readonly #startMs = performance.now();
  readonly #acknowledged = new Map<string, number>();
  readonly #lastOfSite = new Map<string, number>();
  readonly #took: number[] = [];
  count = 0;

  get #seconds(): number {
    return (performance.now() - this.#startMs) / 1000;
  }

  acknowledged({ recipients: [to] }: Letter): void {
    this.#acknowledged.set(to!, this.#seconds);
  }

  /** The arrival may be seen before the acknowledgement. */
  arrived(to: string): void {
    this.count += 1;
    const now = this.#seconds;
    this.#took.push(Math.max(0, now - (this.#acknowledged.get(to) ?? now)));
    this.#lastOfSite.set(to.slice(to.indexOf('@') + 1), now);
  }

  lastAtSeconds(sites: number): number[] {
    const healthy = Array.from({ length: sites }, (_, site) => site).filter(isHealthy);
    return healthy.map((site) => this.#lastOfSite.get(domainOf(site)) ?? Number.NaN);
  }

  took(share: number): number {
    return (
      this.#took.toSorted((a, b) => a - b)[Math.floor(this.#took.length * share)] ?? Number.NaN
    );
  }
}

/** @param hostile whether the other half misbehaves */
async function run(
  { messages, sites, timeoutMs }: HostileFarmOptions,
  hostile: boolean,
): Promise<Run & { readonly lastAtSeconds: number[] }> {
  const cleanup = new Cleanup();
  try {
    const port = await freePort();
    const addresses = Array.from({ length: sites }, () => loopbackAddress());
    const others = addresses.filter((_, site) => !isHealthy(site));
    await startOtherHalf(cleanup, { addresses: others, port, hostile });
    let arrivals = new Arrivals();
    const sink = await startSink({
      listen: addresses.filter((_, site) => isHealthy(site)).map((address) => ({ address, port })),
      onMessage({ recipients }) {
        for (const to of recipients) arrivals.arrived(to);
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const zones = new Map(
      addresses.map((address, site) => [domainOf(site), zoneOf(domainOf(site), address)]),
    );
    const authority = cleanup.stop(await startAuthority({ zones }));
    const mta = cleanup.stop(
      await startPostilion({
        program: 'mta',
        upstream: authority,
        mta: {
          drain: '1s',
          retry: ['5s', '10s'],
          delivery: { port, command_timeout: '5s', final_timeout: '5s', connect_timeout: '5s' },
        },
      }),
    );
    const wanted = Math.ceil(messages / 2);
    const startMs = performance.now();
    arrivals = new Arrivals();
    const { acknowledged } = await inject({
      ...mta.smtp,
      sessions: 8,
      letters: letters(messages, sites),
      onAcknowledged: (letter) => arrivals.acknowledged(letter),
    });
    while (arrivals.count < wanted && performance.now() - startMs < timeoutMs) await sleep(10);
    const spent = cpuSeconds([mta.process().pid]);
    const lastAtSeconds = arrivals.lastAtSeconds(sites);
    return {
      acknowledged,
      ...(await outcomesOf(mta)),
      healthyDelivered: arrivals.count,
      seconds: Math.max(...lastAtSeconds),
      medianSiteSeconds: median(lastAtSeconds),
      p50Seconds: arrivals.took(0.5),
      p99Seconds: arrivals.took(0.99),
      cpuSeconds: spent,
      lastAtSeconds,
    };
  } finally {
    await cleanup.run();
  }
}

/** Read until two readings agree, so that nothing is between a counter and the queue. */
async function outcomesOf(
  mta: Postilion,
): Promise<Pick<Run, 'delivered' | 'bounced' | 'expired' | 'queued'>> {
  let before = '';
  for (;;) {
    const metrics = await mta.mtaMetrics();
    const count = (outcome: string): number =>
      metrics.sum('postilion_mta_messages_total', { outcome });
    const outcomes = {
      delivered: count('delivered'),
      bounced: count('bounced'),
      expired: count('expired'),
      queued:
        metrics.sum('postilion_mta_queue_messages', { state: 'queued' }) +
        metrics.sum('postilion_mta_queue_messages', { state: 'leased' }),
    };
    const text = JSON.stringify(outcomes);
    if (text === before) return outcomes;
    before = text;
    await sleep(200);
  }
}

const zoneOf = (domain: string, address: string): AuthorityRecord[] => [
  { name: domain, type: 'MX', ttlSeconds: 3600, preference: 10, exchange: `mx.${domain}` },
  { name: `mx.${domain}`, type: 'A', ttlSeconds: 3600, address },
];

/** Site after site; with the null reverse-path, so that no bounce adds to what is counted. */
function* letters(messages: number, sites: number): Generator<Letter> {
  for (let number = 0; number < messages; number += 1) {
    const site = number % sites;
    yield {
      id: String(number),
      reversePath: '',
      recipients: [`u${number}@${domainOf(site)}`],
      content: [Buffer.from(`Subject: ${number}\r\n\r\n`), BODY],
    };
  }
}

export const farmTable = ({ among, amid }: HostileFarm): string =>
  tableText(
    ['healthy sites', 'all done, s', 'median site, s', 'p50, s', 'p99, s', 'CPU s of the mta'],
    Object.entries({ 'among healthy': among, 'amid hostile': amid }).map(([name, it]) => [
      name,
      it.seconds,
      it.medianSiteSeconds,
      it.p50Seconds,
      it.p99Seconds,
      it.cpuSeconds,
    ]),
  );

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 50_000, sites: 500, rounds: 3 },
    async run(numbers) {
      const farm = await runHostileFarm({ ...numbers, timeoutMs: 300_000 });
      process.stderr.write(`${farmTable(farm)}\n`);
      return farm;
    },
    failed: (outcome) => {
      const { unaccounted, healthyDelivered, healthySent, slowed } = outcome as HostileFarm;
      return unaccounted !== 0 || healthyDelivered < healthySent || slowed > SLOWED_MAX;
    },
  });
}
