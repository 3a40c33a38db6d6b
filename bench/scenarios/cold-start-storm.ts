/**
 * A cold start: many distinct domains asked for as fast as a client can, through a budget. How many
 * packets does the upstream get in its busiest second, and is every query answered in time? The same
 * through Unbound and dnsdist.
 */
import { Cleanup } from '../../test/support/cleanup.ts';
import { benchMain } from '../load/command.ts';
import { busiestSecond, startCountingUpstream } from '../load/counting-upstream.ts';
import { askAll, countOf, percentileMs } from '../load/dns-client.ts';
import {
  type StartPeer,
  startDnsdist,
  startDnsdistWithRule,
  startUnboundForwarder,
} from '../load/dns-peers.ts';
import { startPostilion } from '../load/postilion.ts';

export interface StormOptions {
  readonly domains: number;
  readonly budget: number;
  /** Questions that the client has open at once. */
  readonly outstanding: number;
}

export interface Storm {
  readonly answered: number;
  /** SERVFAIL and the like that say why. */
  readonly failed: number;
  readonly unexplained: number;
  readonly unanswered: number;
  readonly p99Ms: number;
  readonly slowestMs: number;
  readonly packets: number;
  /** Counted at the upstream, in any window of one second. */
  readonly busiestSecond: number;
  readonly seconds: number;
  /** Reasons that were given → how often. */
  readonly reasons: Readonly<Record<string, number>>;
}

const startPostilionWithBudget: StartPeer = async (upstream, budget) => {
  const resolver = await startPostilion({
    program: 'resolver',
    upstream,
    resolver: { budget },
  });
  return { ...resolver.dns, stop: () => resolver.stop() };
};

export async function runStorm(
  options: StormOptions,
  start = startPostilionWithBudget,
): Promise<Storm> {
  const cleanup = new Cleanup();
  try {
    const upstream = cleanup.stop(await startCountingUpstream());
    const peer = cleanup.stop(await start(upstream, options.budget));
    await upstream.arrivals();
    const startedAtMs = performance.now();
    const ended = await askAll({
      server: peer,
      nameOf: (number) => (number < options.domains ? `d${number}.storm.example` : null),
      outstandingMax: options.outstanding,
    });
    const seconds = (performance.now() - startedAtMs) / 1_000;
    const arrivals = await upstream.arrivals();
    const reasons: Record<string, number> = {};
    for (const { reason } of ended) {
      if (reason !== '') reasons[reason] = (reasons[reason] ?? 0) + 1;
    }
    const inTime = ended.filter(({ ending }) => ending !== 'unanswered');
    return {
      answered: countOf(ended, 'answered'),
      failed: countOf(ended, 'failed'),
      unexplained: countOf(ended, 'unexplained'),
      unanswered: countOf(ended, 'unanswered'),
      p99Ms: percentileMs(inTime, 0.99),
      slowestMs: percentileMs(inTime, 1),
      packets: arrivals.length,
      busiestSecond: busiestSecond(arrivals),
      seconds,
      reasons,
    };
  } finally {
    await cleanup.run();
  }
}

const PROGRAMS: Readonly<Record<string, StartPeer>> = {
  'postilion, budget': startPostilionWithBudget,
  unbound: startUnboundForwarder,
  dnsdist: startDnsdist,
  'dnsdist, MaxQPSRule': startDnsdistWithRule,
};

const COLUMNS = [
  ['answered', 'answered'],
  ['failed', 'failed, why'],
  ['unexplained', 'unexplained'],
  ['unanswered', 'unanswered'],
  ['p99Ms', 'p99 ms'],
  ['slowestMs', 'slowest ms'],
  ['packets', 'packets'],
  ['busiestSecond', 'busiest second'],
  ['seconds', 'seconds'],
] as const;

const line = (label: string, cells: readonly string[]): string =>
  `${label.padEnd(20)}${cells.map((cell, index) => cell.padStart(COLUMNS[index]![1].length + 2)).join('')}\n`;

async function compare(options: StormOptions): Promise<Record<string, Storm | string>> {
  const outcome: Record<string, Storm | string> = {};
  process.stderr.write(
    line(
      '',
      COLUMNS.map(([, title]) => title),
    ),
  );
  for (const [name, start] of Object.entries(PROGRAMS)) {
    try {
      const storm = await runStorm(options, start);
      outcome[name] = storm;
      process.stderr.write(
        line(
          name,
          COLUMNS.map(([key]) => String(Math.round(storm[key]))),
        ),
      );
    } catch (error) {
      outcome[name] =
        `did not run: ${error instanceof Error ? error.message.split('\n')[0] : error}`;
      process.stderr.write(`${name.padEnd(20)}  ${outcome[name]}\n`);
    }
  }
  return outcome;
}

if (import.meta.main) {
  await benchMain({
    defaults: { domains: 50_000, budget: 1_000, outstanding: 10_000 },
    run: async (numbers) => {
      const all = await compare(numbers);
      const ours = all['postilion, budget'] as Storm;
      for (const [reason, count] of Object.entries(ours.reasons)) {
        process.stderr.write(`  ${count} × ${reason}\n`);
      }
      return {
        ...all,
        keptBudget: ours.busiestSecond <= numbers.budget,
        allAnswered: ours.unanswered === 0 && ours.unexplained === 0,
      };
    },
    failed: (outcome) => {
      const { keptBudget, allAnswered } = outcome as { keptBudget: boolean; allAnswered: boolean };
      return !keptBudget || !allAnswered;
    },
  });
}
