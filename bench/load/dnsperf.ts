/** dnsperf: one burst of questions from a file, and what came of it. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Endpoint } from '../../runtime/settings.ts';
import { runProcess } from '../../test/support/process.ts';
import { scratchFolder } from '../../test/support/scratch.ts';

const CLIENTS = 4;
const GRACE_MS = 15_000;
const SOCKET_BUFFER_KILOBYTES = 4_096;

export interface Burst {
  readonly server: Endpoint;
  /** Lines of "NAME TYPE". */
  readonly file: string;
  readonly seconds?: number;
  /** Times through the file; default: until the time is over. */
  readonly passes?: number;
  readonly outstandingMax?: number;
  /** Default: as fast as answers come back. */
  readonly perSecond?: number;
  /** When a query counts as lost; default 2. */
  readonly timeoutSeconds?: number;
  /** Ends it before its time. */
  readonly interrupt?: AbortSignal;
  /** Reports every answer, for percentiles: costs the client, not the server. */
  readonly percentiles?: boolean;
}

export interface BurstResult {
  readonly sent: number;
  readonly completed: number;
  readonly lost: number;
  readonly answersPerSecond: number;
  /** The slowest answer, seconds. */
  readonly slowestSeconds: number;
  /** Sorted, seconds; empty unless asked for. */
  readonly latencies: Float64Array;
}

export async function runDnsperf(burst: Burst): Promise<BurstResult> {
  const {
    server,
    seconds = 60,
    passes,
    outstandingMax = 200,
    perSecond,
    timeoutSeconds = 2,
  } = burst;
  const common = `-c ${CLIENTS} -q ${outstandingMax} -t ${timeoutSeconds} -e -b ${SOCKET_BUFFER_KILOBYTES}`;
  const args = [
    ...`-s ${server.address} -p ${server.port} -l ${seconds} ${common}`.split(' '),
    '-d',
    burst.file,
    ...(passes === undefined ? [] : ['-n', String(passes)]),
    ...(perSecond === undefined ? [] : ['-Q', String(perSecond)]),
    ...(burst.percentiles === true ? ['-v'] : []),
  ];
  const output = await reportOf(args, 1000 * seconds + GRACE_MS, burst.interrupt);
  const number = (label: string): number =>
    Number(new RegExp(`${label}:\\s+([0-9.]+)`).exec(output)?.[1] ?? Number.NaN);
  return {
    sent: number('Queries sent'),
    completed: number('Queries completed'),
    lost: number('Queries lost'),
    answersPerSecond: number('Queries per second'),
    slowestSeconds: Number(/Average Latency.*max ([0-9.]+)/.exec(output)?.[1] ?? Number.NaN),
    latencies: latenciesOf(output),
  };
}

/** A report may have a line for each answer: too much for a pipe that others watch. */
async function reportOf(
  args: readonly string[],
  timeoutMs: number,
  interrupt?: AbortSignal,
): Promise<string> {
  const folder = await scratchFolder('dnsperf');
  try {
    const file = join(folder.path, 'report');
    const shell = ['-c', 'exec dnsperf "$@" >"$0"', file, ...args];
    const { output, code } = await runProcess('sh', shell, {
      timeoutMs,
      ...(interrupt && { interrupt }),
    });
    if (code !== 0) throw new Error(`dnsperf exited ${code}: ${output.slice(-500)}`);
    return await readFile(file, 'latin1');
  } finally {
    await folder.remove();
  }
}

/** Lines "> NOERROR NAME TYPE SECONDS". */
const latenciesOf = (output: string): Float64Array =>
  Float64Array.from(output.matchAll(/^> \S+ \S+ \S+ ([0-9.]+)$/gm), ([, seconds]) =>
    Number(seconds),
  ).sort();

/** @param sorted ascending. @param share 0 to 1. @returns NaN when there are none */
export const percentile = (sorted: Float64Array, share: number): number =>
  sorted.length === 0 ? Number.NaN : sorted[Math.ceil(sorted.length * share) - 1]!;
