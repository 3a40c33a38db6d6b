/** Runs the mix that the instance-size finder asks for, and measures the disk it would stand on. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs';
import { totalmem } from 'node:os';
import { join } from 'node:path';
import { scratchFolder } from '../../test/support/scratch.ts';
import type { Contestant, RunningContestant } from '../peers/contestant.ts';
import { postilionMix } from '../peers/postilion.ts';
import { type Load, runPhase } from './mail-phase.ts';
import { busiestThreadSeconds, cpuSeconds, residentOctets, writtenOctets } from './proc.ts';
import type { MessageCost } from './sizing.ts';

const DISK_SECONDS = 1;
const SMALL_OCTETS = 16_384;
const LARGE_OCTETS = 8 * 1_048_576;
/** How often memory is looked at. */
const WATCH_MS = 250;

export interface MixRun {
  readonly cost: MessageCost;
  readonly residentOctets: number;
  /** Of the run itself, injector, sinks and authority on the same machine. */
  readonly perSecond: number;
  readonly connectionsPerThousand: number;
}

export async function runMix(load: Load): Promise<MixRun> {
  const watched = watch(postilionMix);
  const phase = await runPhase(watched.contestant, load, false);
  const { spent, atRest, most } = watched.figures();
  const { messages } = load;
  const perSecond = messages / (phase.injectSeconds + phase.deliverSeconds);
  return {
    cost: {
      cpuSeconds: spent.cpu / messages,
      busiestThreadSeconds: spent.busiest / messages,
      writtenOctets: spent.written / messages,
      octetsPerRate: Math.max(0, most - atRest) / perSecond,
      dnsPackets: phase.dnsQueries / messages,
    },
    residentOctets: atRest,
    perSecond,
    connectionsPerThousand: (phase.counts.connections * 1000) / messages,
  };
}

const readings = (pids: readonly number[]) => ({
  cpu: cpuSeconds(pids),
  busiest: busiestThreadSeconds(pids),
  written: writtenOctets(pids),
});

/** The same contestant, looked at from when it is up until it is stopped. */
function watch(contestant: Contestant) {
  let figures = { spent: { cpu: 0, busiest: 0, written: 0 }, atRest: 0, most: 0 };
  const start: Contestant['start'] = async (world, options) => {
    const running: RunningContestant = await contestant.start(world, options);
    const before = readings(running.pids);
    const atRest = residentOctets(running.pids);
    let most = atRest;
    const timer = setInterval(() => {
      most = Math.max(most, residentOctets(running.pids));
    }, WATCH_MS);
    const stop = async (): Promise<void> => {
      clearInterval(timer);
      const after = readings(running.pids);
      const spent = {
        cpu: after.cpu - before.cpu,
        busiest: after.busiest - before.busiest,
        written: after.written - before.written,
      };
      figures = { spent, atRest, most };
      await running.stop();
    };
    return { ...running, stop };
  };
  return { contestant: { ...contestant, start }, figures: () => figures };
}

/** Of the disk under the system's temporary folder, where the spool of the run is too. */
export async function measureDisk() {
  const folder = await scratchFolder('disk');
  try {
    const file = join(folder.path, 'file');
    const small = syncedWrites(file, SMALL_OCTETS);
    const large = syncedWrites(file, LARGE_OCTETS);
    return { fsyncsPerSecond: small, writtenOctetsPerSecond: large * LARGE_OCTETS };
  } finally {
    await folder.remove();
  }
}

/** @returns synced writes a second */
function syncedWrites(file: string, octets: number): number {
  const content = Buffer.alloc(octets, 'x');
  const descriptor = openSync(file, 'w');
  const startedMs = performance.now();
  let writes = 0;
  while (performance.now() - startedMs < DISK_SECONDS * 1000) {
    writeSync(descriptor, content);
    fdatasyncSync(descriptor);
    writes += 1;
  }
  closeSync(descriptor);
  return (writes * 1000) / (performance.now() - startedMs);
}

export const memoryOctets = (): number => totalmem();
