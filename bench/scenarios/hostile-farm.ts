/**
 * Mail to many sites at once, half of them hosts that misbehave in every way that we know, half healthy.
 * Is every recipient accounted for, and is a healthy site slowed? Compared with a farm whose other half
 * is healthy too and gets the same mail.
 *
 * What makes the comparison fair
 * - Both farms get the same letters in the same order, as fast as their mta acknowledges them: a healthy
 *   site is slowed by whatever the hostile half costs, be it intake, spool, connections or CPU.
 * - The two take turns, a round of the mail each, and whoever begins in one round is second in the next:
 *   what else the machine does meets both. The mta whose turn it is not is stopped, so each pays for its
 *   own work; time-outs and retries of the hostile half that fall due meanwhile are done in its own turns.
 * - Before that each delivers a tenth as much to its healthy half: neither is measured cold.
 * - A round yields a ratio; their median counts. The middle half of the ratios lies between the quartiles
 *   told with it: a median nearer to 0 than these are to each other proves no difference.
 * - A site counts as slowed by its own mail: by when the last of it arrived in each round, in the same way.
 *
 * A hostile half costs its thread less CPU than a healthy one (no TLS, less content), which is told beside
 * that of the mta: on few cores it is to the advantage of those amid the hostile.
 */
import { Cleanup } from '../../test/support/cleanup.ts';
import { benchMain } from '../load/command.ts';
import { domainOf, Farm, farmLetters, isHealthy, type Outcomes, type Turn } from '../load/farm.ts';
import { median } from '../load/rounds.ts';
import { tableText } from '../load/table.ts';

export interface HostileFarmOptions {
  /** For each farm, split over the rounds. */
  readonly messages: number;
  readonly sites: number;
  readonly rounds: number;
  /** Of a round. */
  readonly timeoutMs: number;
}

/** What healthy sites saw, sums over the rounds. */
export interface Healthy {
  /** From the first injection of a round to the last arrival at any of them. */
  readonly seconds: number;
  /** The same of the site in the middle. */
  readonly medianSiteSeconds: number;
  /** From the 250 to the arrival. */
  readonly p50Seconds: number;
  readonly p99Seconds: number;
  /** Mean of these of the site that waited longest. */
  readonly slowestSiteSeconds: number;
  /** Of the mta until then. */
  readonly cpuSeconds: number;
  /** Of the thread that is the other half, until then. */
  readonly othersCpuSeconds: number;
}

/** How much more it was amid the hostile, as a share of what it was among the healthy. */
export interface More {
  readonly median: number;
  readonly quartiles: readonly [number, number];
  readonly byRound: readonly number[];
}

/** Of the farm with hostile hosts; mail of the warm-up is left out. */
export interface HostileFarm extends Outcomes {
  readonly acknowledged: number;
  /** acknowledged − the sum of outcomes, of both farms: must be 0. */
  readonly unaccounted: number;
  readonly healthySent: number;
  /** The lesser of both farms. */
  readonly healthyDelivered: number;
  readonly among: Healthy;
  readonly amid: Healthy;
  readonly time: More;
  /** Of the mta. */
  readonly cpu: More;
  readonly slowed: number;
  /** Of the healthy sites, those slowed by more than SLOWED_MAX. */
  readonly sitesSlowed: number;
  /** The site that was slowed most. */
  readonly mostSlowed: number;
}

const SLOWED_MAX = 0.1;
const WARM_UP_SHARE = 0.1;

interface Measured {
  readonly farm: Farm;
  readonly turns: Turn[];
}

export async function runHostileFarm(options: HostileFarmOptions): Promise<HostileFarm> {
  const { messages, sites, timeoutMs } = options;
  const cleanup = new Cleanup();
  try {
    const among: Measured = {
      farm: await Farm.start({ sites, hostile: false }, cleanup),
      turns: [],
    };
    const amid: Measured = { farm: await Farm.start({ sites, hostile: true }, cleanup), turns: [] };
    const all = Array.from({ length: sites }, (_, site) => site);
    const healthy = all.filter(isHealthy);
    const warmUp = Math.ceil(messages * WARM_UP_SHARE);
    for (const { farm } of [among, amid]) {
      await farm.deliver(farmLetters(messages, warmUp, healthy), warmUp, timeoutMs);
      farm.arrivals.clear();
    }
    let sent = 0;
    for (let round = 0; round < options.rounds; round += 1) {
      const until = Math.round((messages * (round + 1)) / options.rounds);
      const toHealthy = [...numbers(sent, until)].filter((number) => isHealthy(number % sites));
      for (const { farm, turns } of round % 2 === 0 ? [among, amid] : [amid, among]) {
        const letters = farmLetters(sent, until - sent, all);
        turns.push(await farm.deliver(letters, toHealthy.length, timeoutMs));
      }
      sent = until;
    }
    return await outcome(messages, warmUp, healthy, among, amid);
  } finally {
    await cleanup.run();
  }
}

function* numbers(from: number, until: number): Generator<number> {
  for (let number = from; number < until; number += 1) yield number;
}

async function outcome(
  messages: number,
  warmUp: number,
  healthy: readonly number[],
  among: Measured,
  amid: Measured,
): Promise<HostileFarm> {
  const counts = [await outcomesOf(among, warmUp), await outcomesOf(amid, warmUp)] as const;
  const slowed = healthy.map((site) => slowedAt(domainOf(site), among.farm, amid.farm));
  const time = more(among.turns, amid.turns, ({ seconds }) => seconds);
  return {
    ...counts[1],
    unaccounted: counts.reduce((total, one) => total + unaccountedIn(one), 0),
    healthySent: Math.ceil(messages / 2),
    healthyDelivered: Math.min(among.farm.arrivals.total, amid.farm.arrivals.total),
    among: healthyIn(among),
    amid: healthyIn(amid),
    time,
    cpu: more(among.turns, amid.turns, (turn) => turn.cpuSeconds),
    slowed: time.median,
    // A site that never got its mail compares as NaN, which is no small slowing.
    sitesSlowed: slowed.filter((share) => !(share <= SLOWED_MAX)).length,
    mostSlowed: Math.max(...slowed),
  };
}

/** NaN where none of its mail arrived. */
function slowedAt(domain: string, among: Farm, amid: Farm): number {
  const rounds = among.arrivals.roundsOf(domain);
  const ratios = amid.arrivals.roundsOf(domain).map((seconds, at) => seconds / rounds[at]!);
  // A round of little mail may have none for it.
  return median(ratios.filter((ratio) => ratio > 0)) - 1;
}

const sum = (figures: readonly number[]): number => figures.reduce((a, b) => a + b, 0);

async function outcomesOf(
  { farm, turns }: Measured,
  warmUp: number,
): Promise<Outcomes & { readonly acknowledged: number }> {
  const outcomes = await farm.outcomes();
  const acknowledged = sum(turns.map((turn) => turn.acknowledged));
  return { ...outcomes, delivered: outcomes.delivered - warmUp, acknowledged };
}

const unaccountedIn = (one: Outcomes & { readonly acknowledged: number }): number =>
  Math.abs(one.acknowledged - one.delivered - one.bounced - one.expired - one.queued);

const healthyIn = ({ farm, turns }: Measured): Healthy => ({
  ...farm.arrivals.summary(),
  cpuSeconds: sum(turns.map((turn) => turn.cpuSeconds)),
  othersCpuSeconds: sum(turns.map((turn) => turn.othersCpuSeconds)),
});

function more(among: readonly Turn[], amid: readonly Turn[], figure: (turn: Turn) => number): More {
  const byRound = amid.map((turn, round) => figure(turn) / figure(among[round]!) - 1);
  const sorted = byRound.toSorted((a, b) => a - b);
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)]!;
  return { median: median(byRound), quartiles: [at(0.25), at(0.75)], byRound };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

export function farmTable(farm: HostileFarm): string {
  const columns = [
    'healthy sites',
    'all done, s',
    'median site, s',
    'wait p50, s',
    'p99, s',
    'slowest site, s',
    'CPU s of the mta',
    'of the other half',
  ];
  const healthy = Object.entries({ 'among healthy': farm.among, 'amid hostile': farm.amid });
  const seen = healthy.map(([name, it]) => [
    name,
    it.seconds,
    it.medianSiteSeconds,
    it.p50Seconds,
    it.p99Seconds,
    it.slowestSiteSeconds,
    it.cpuSeconds,
    it.othersCpuSeconds,
  ]);
  const compared = Object.entries({ time: farm.time, 'CPU of the mta': farm.cpu });
  const rounds = compared.map(([name, { quartiles, ...it }]) => [
    name,
    ...[it.median, ...quartiles].map(percent),
  ]);
  const head = ['more amid hostile', 'median of rounds', 'first quartile', 'third'];
  const worst = `The site slowed most: ${percent(farm.mostSlowed)}.`;
  return `${tableText(columns, seen)}\n${tableText(head, rounds)}\n${worst}\n`;
}

if (import.meta.main) {
  // What is stopped outlives its terminal, unless it is killed at the exit.
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
  await benchMain({
    defaults: { messages: 50_000, sites: 500, rounds: 20 },
    async run(chosen) {
      const farm = await runHostileFarm({ ...chosen, timeoutMs: 300_000 });
      process.stderr.write(`${farmTable(farm)}\n`);
      return farm;
    },
    failed: (result) => {
      const { unaccounted, healthyDelivered, healthySent, ...farm } = result as HostileFarm;
      const isSlowed = farm.slowed > SLOWED_MAX || farm.sitesSlowed > 0;
      return unaccounted !== 0 || healthyDelivered < healthySent || isSlowed;
    },
  });
}
