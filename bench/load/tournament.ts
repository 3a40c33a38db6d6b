/**
 * Contestants measured in turn, A B C A B C…, so that what else the machine does falls on all alike;
 * medians over the rounds. Ratios between them hold on other machines, the figures do not.
 */

import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startNsd } from '../../test/support/nsd.ts';
import { hasProgram } from '../../test/support/peers.ts';
import { scratchFolder } from '../../test/support/scratch.ts';
import { CONTESTANTS, type Contestant, present, type Running } from './contestants.ts';
import { QUESTION_ZONES, writeLines } from './dns-questions.ts';
import { type BurstResult, percentile, runDnsperf } from './dnsperf.ts';
import { benchOptions } from './options.ts';
import { barSvg } from './plot.ts';
import { cpuSecondsOf, kernelDropsOf, residentOctets } from './proc.ts';

const RESULTS = fileURLToPath(new URL('../results/', import.meta.url));
const MICROS = 1_000_000;
const LATENCY_PER_SECOND = 10_000;
const LATENCY_SECONDS = 1;
/** So that no contestant meets more misses at once than it can hold. */
const WARM_OUTSTANDING = 100;
/** A million misses take 20 s on a machine that does nothing else. */
const WARM_FILL_SECONDS_MAX = 180;
const WARM_SECONDS = 2;
/** Its questions are those of no round that counts. */
const WARM_ROUND = 1_000;

/** One kind of load; a tournament may have several, such as sizes or rates. */
export interface Load {
  readonly label: string;
  /** Asked once before the first round. */
  readonly warm: () => readonly string[];
  /** Asked in a round. */
  readonly lines: (round: number) => readonly string[];
  /** Default: as fast as answers come. */
  readonly perSecond?: number;
}

export interface Tournament {
  readonly name: string;
  readonly contestants: readonly string[];
  readonly loads: readonly Load[];
  readonly rounds: number;
  readonly seconds: number;
  /** Percentiles come from the load itself, not from a burst of their own at 10,000 a second. */
  readonly isAboutLatency?: boolean;
}

export interface Row {
  readonly contestant: string;
  readonly load: string;
  readonly cpuMicros: number;
  readonly userMicros: number;
  readonly answersPerSecond: number;
  readonly lostShare: number;
  readonly p50Micros: number;
  readonly p99Micros: number;
  readonly residentMiB: number;
}

interface Measured extends Omit<Row, 'contestant' | 'load'> {
  readonly kernelDrops: number;
}

/** Runs it with what the command line says, prints a table or JSON, and keeps results. */
export async function tournamentMain(tournament: Tournament): Promise<void> {
  const values = benchOptions({
    json: { type: 'boolean', default: false },
    rounds: { type: 'string', default: String(tournament.rounds) },
    seconds: { type: 'string', default: String(tournament.seconds) },
    only: { type: 'string', default: tournament.contestants.join(',') },
    results: { type: 'string', default: RESULTS },
  });
  if (!hasProgram('dnsperf') || !hasProgram('nsd') || !hasProgram('dig')) {
    process.stderr.write('to run this bench: apt-get install dnsperf nsd bind9-dnsutils\n');
    process.exitCode = 1;
    return;
  }
  const chosen = values.only.split(',').map((name) => {
    const contestant = CONTESTANTS.get(name);
    if (contestant === undefined) {
      throw new Error(`no contestant "${name}"; there are ${[...CONTESTANTS.keys()].join(', ')}`);
    }
    return contestant;
  });
  // Children are ended when we exit, but a signal ends us without that.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
  const { rounds, seconds } = values;
  const rows = await play(
    { ...tournament, rounds: Number(rounds), seconds: Number(seconds) },
    present(chosen),
  );
  const report = {
    bench: tournament.name,
    date: new Date().toISOString().slice(0, 10),
    machine: `${cpus().length} × ${cpus()[0]!.model}`,
    node: process.version,
    rounds: Number(rounds),
    seconds: Number(seconds),
    rows,
  };
  await mkdir(values.results, { recursive: true });
  const stem = join(values.results, `${tournament.name}-${report.date}`);
  await writeFile(`${stem}.json`, `${JSON.stringify(report, null, 2)}\n`);
  await writeFile(`${stem}.svg`, plotOf(tournament, rows));
  process.stdout.write(values.json ? `${JSON.stringify(report, null, 2)}\n` : tableOf(rows));
}

async function play(tournament: Tournament, contestants: readonly Contestant[]): Promise<Row[]> {
  const nsd = await startNsd(QUESTION_ZONES);
  const folder = await scratchFolder('questions');
  const rows: Row[] = [];
  try {
    for (const load of tournament.loads) {
      const running = new Map<Contestant, Running>();
      try {
        for (const contestant of contestants) {
          running.set(contestant, await contestant.start(nsd));
        }
        rows.push(...(await playLoad(tournament, load, running, folder.path)));
      } finally {
        for (const contestant of running.values()) await contestant.stop();
      }
    }
  } finally {
    await nsd.stop();
    await folder.remove();
  }
  return rows;
}

async function playLoad(
  tournament: Tournament,
  load: Load,
  running: ReadonlyMap<Contestant, Running>,
  folder: string,
): Promise<Row[]> {
  const file = join(folder, 'lines');
  await writeLines(file, load.warm());
  for (const [{ name }, { server }] of running) {
    if (name === 'echo') continue;
    // Twice, for those that keep what was asked for twice, and for what was lost.
    for (let pass = 1; pass <= 2; pass += 1) {
      await runDnsperf({
        server,
        file,
        passes: 1,
        seconds: WARM_FILL_SECONDS_MAX,
        outstandingMax: WARM_OUTSTANDING,
      });
    }
  }
  const measured = new Map<string, Measured[]>();
  await writeLines(file, load.lines(WARM_ROUND));
  for (const { server } of running.values()) {
    // Compilers and allocators settle; nothing of this is measured.
    await runDnsperf({ server, file, seconds: WARM_SECONDS });
  }
  for (let round = 0; round < tournament.rounds; round += 1) {
    await writeLines(file, load.lines(round));
    for (const [{ name }, contestant] of running) {
      const result = await measure(tournament, load, contestant, file);
      measured.set(name, [...(measured.get(name) ?? []), result]);
    }
  }
  return [...measured].map(([contestant, results]) => ({
    contestant,
    load: load.label,
    ...mediansOf(results),
  }));
}

async function measure(
  { seconds, isAboutLatency = false }: Tournament,
  { perSecond }: Load,
  { server, pid }: Running,
  file: string,
): Promise<Measured> {
  const before = cpuSecondsOf([pid]);
  const dropsBefore = kernelDropsOf(server.port);
  const paced = perSecond === undefined ? {} : { perSecond };
  const burst = await runDnsperf({ server, file, seconds, ...paced, percentiles: isAboutLatency });
  const after = cpuSecondsOf([pid]);
  const calm = isAboutLatency ? burst : await runCalm(server, file);
  const user = after.user - before.user;
  return {
    cpuMicros: (MICROS * (user + after.system - before.system)) / burst.completed,
    userMicros: (MICROS * user) / burst.completed,
    answersPerSecond: burst.answersPerSecond,
    lostShare: burst.lost / burst.sent,
    p50Micros: MICROS * percentile(calm.latencies, 0.5),
    p99Micros: MICROS * percentile(calm.latencies, 0.99),
    residentMiB: residentOctets([pid], 'Rss') / 1_048_576,
    kernelDrops: kernelDropsOf(server.port) - dropsBefore,
  };
}

const runCalm = (server: Running['server'], file: string): Promise<BurstResult> =>
  runDnsperf({
    server,
    file,
    seconds: LATENCY_SECONDS,
    perSecond: LATENCY_PER_SECOND,
    percentiles: true,
  });

function mediansOf(results: readonly Measured[]): Measured {
  const median = (key: keyof Measured): number => {
    const sorted = results.map((result) => result[key]).sort((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)]!;
  };
  return {
    cpuMicros: median('cpuMicros'),
    userMicros: median('userMicros'),
    answersPerSecond: median('answersPerSecond'),
    lostShare: median('lostShare'),
    p50Micros: median('p50Micros'),
    p99Micros: median('p99Micros'),
    residentMiB: median('residentMiB'),
    kernelDrops: median('kernelDrops'),
  };
}

/** Ratios are of the first contestant to each, by CPU. */
function tableOf(rows: readonly Row[]): string {
  const own = new Map<string, Row>();
  for (const row of rows) if (!own.has(row.load)) own.set(row.load, row);
  const head =
    'load          contestant            CPU µs  user µs   ratio   answers/s   lost  p50 µs  p99 µs   MiB\n';
  const lines = rows.map((row) => {
    const ratio = own.get(row.load)!.cpuMicros / row.cpuMicros;
    return [
      row.load.padEnd(14),
      row.contestant.padEnd(20),
      row.cpuMicros.toFixed(2).padStart(8),
      row.userMicros.toFixed(2).padStart(9),
      ratio.toFixed(2).padStart(8),
      row.answersPerSecond.toFixed(0).padStart(12),
      `${(100 * row.lostShare).toFixed(1)}%`.padStart(7),
      row.p50Micros.toFixed(0).padStart(8),
      row.p99Micros.toFixed(0).padStart(8),
      row.residentMiB.toFixed(0).padStart(6),
    ].join('');
  });
  return `${head}${lines.join('\n')}\nratio: CPU of the first contestant to that of each\n`;
}

function plotOf({ name, isAboutLatency = false }: Tournament, rows: readonly Row[]): string {
  const finite = (value: number): number => (Number.isFinite(value) ? value : 0);
  const bars = rows.map((row) => ({
    label: `${row.contestant} ${row.load}`,
    values: isAboutLatency
      ? [finite(row.p99Micros)]
      : [finite(row.userMicros), finite(row.cpuMicros - row.userMicros)],
  }));
  return barSvg({
    title: `${name}: ${isAboutLatency ? 'p99 latency' : 'CPU per answer'}`,
    unit: 'µs',
    series: isAboutLatency ? ['p99'] : ['user', 'system'],
    bars,
  });
}
