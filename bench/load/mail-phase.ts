/**
 * One phase of a mail bench: sink, authority and, if wanted, a relay that adds delay, all in processes of
 * their own, and one contestant among them that is fed and watched.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import type {
  Contestant,
  ContestantOptions,
  MailWorld,
  RunningContestant,
} from '../peers/contestant.ts';
import { type JsonChild, startJsonChild } from './json-child.ts';
import { injectMail } from './mail-injector.ts';
import { hostAddress, type Workload, workloadLetters } from './mail-workload.ts';
import { cpuSeconds, residentOctets } from './proc.ts';
import type { SinkCounts } from './sink.ts';

const DNS_PORT = 53;
const POLL_MS = 20;
/** Without an arrival for so long a run has failed. */
const STALLED_MS = 45_000;
/** A contestant is at rest when it spent less than RESTING_SECONDS in so long. */
const REST_MS = 300;
const RESTING_SECONDS = 0.02;
const REST_ATTEMPTS_MAX = 100;

// What startProcess() began is ended when this process exits, which a signal alone would skip.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));

type Sink = JsonChild<{ listening: string[] }, { counts: SinkCounts }>;
type Dns = JsonChild<{ port: number }, { total: number; distinct: number }>;

/** What is sent, and how far away the MX hosts are. */
export interface Load extends Workload {
  /** SMTP sessions of the injector. */
  readonly sessions: number;
  /** Added each way between contestant and MX hosts; default 0, which also saves the relay. */
  readonly delayMs?: number;
  /** Connections to one site at once; default: the contestant's own. */
  readonly connections?: number;
  /** Of the connections to MX hosts; default 1. */
  readonly tlsShare?: number;
}

export interface Surroundings {
  readonly world: MailWorld;
  readonly sink: Sink;
  readonly dns: Dns;
}

export async function surround(
  { domains, ownHosts, delayMs = 0, tlsShare = 1 }: Load,
  chunking: boolean,
  cleanup: Cleanup,
): Promise<Surroundings> {
  const nameserver = loopbackAddress();
  const network = Number(nameserver.split('.')[1]);
  const remotePort = await freePort();
  const sinkPort = delayMs === 0 ? remotePort : await freePort();
  const sink: Sink = cleanup.stop(
    await startJsonChild('load/sink.ts', {
      listen: `0.0.0.0:${sinkPort}`,
      ...(chunking ? {} : { 'no-chunking': true }),
      'starttls-share': tlsShare,
    }),
  );
  if (delayMs > 0) {
    cleanup.stop(
      await startJsonChild('load/relay.ts', {
        listen: `0.0.0.0:${remotePort}`,
        to: `127.0.0.1:${sinkPort}`,
        'delay-ms': delayMs,
      }),
    );
  }
  const dns: Dns = cleanup.stop(
    await startJsonChild('load/mail-dns.ts', {
      address: nameserver,
      port: DNS_PORT,
      domains,
      network,
      ...(ownHosts ? { 'own-hosts': true } : {}),
    }),
  );
  const world = { nameserver, remotePort, oneHost: hostAddress(network, 0, 0) };
  return { world, sink, dns };
}

export interface Phase {
  readonly injectSeconds: number;
  readonly injectCpuSeconds: number;
  /** From the end of injection, or from release, to the last arrival. */
  readonly deliverSeconds: number;
  readonly deliverCpuSeconds: number;
  readonly resident: number;
  readonly counts: SinkCounts;
  readonly dnsQueries: number;
  readonly sinkCpuSeconds: number;
  readonly dnsCpuSeconds: number;
  readonly injectorCpuSeconds: number;
}

/** Injects all, held or not, and waits until all has arrived and the contestant is at rest. */
export async function runPhase(contestant: Contestant, load: Load, held: boolean): Promise<Phase> {
  const cleanup = new Cleanup();
  try {
    const { world, sink, dns } = await surround(load, contestant.chunking, cleanup);
    const running = cleanup.stop(await contestant.start(world, startOptions(load, held)));
    const spent = (): number => cpuSeconds(running.pids);
    const injectorBefore = process.cpuUsage();
    const [cpuAtStart, startedMs] = [await atRest(running), performance.now()];
    await injectAll(running, load);
    const injectedMs = performance.now();
    const cpuInjected = held ? await atRest(running) : spent();
    const resident = residentOctets(running.pids);
    const { user, system } = process.cpuUsage(injectorBefore);
    const releasedMs = held ? performance.now() : injectedMs;
    if (held) await running.release();
    const counts = await arrivals(sink, load);
    const arrivedMs = performance.now();
    const cpuAtEnd = await atRest(running);
    return {
      injectSeconds: (injectedMs - startedMs) / 1000,
      injectCpuSeconds: cpuInjected - cpuAtStart,
      deliverSeconds: (arrivedMs - releasedMs) / 1000,
      deliverCpuSeconds: cpuAtEnd - cpuInjected,
      resident,
      counts,
      dnsQueries: (await dns.ask()).total,
      sinkCpuSeconds: cpuSeconds([sink.pid]),
      dnsCpuSeconds: cpuSeconds([dns.pid]),
      injectorCpuSeconds: (user + system) / 1e6,
    };
  } finally {
    await cleanup.run();
  }
}

export const startOptions = ({ connections }: Load, held: boolean): ContestantOptions => ({
  held,
  ...(connections === undefined ? {} : { connections }),
});

export async function injectAll(running: RunningContestant, load: Load): Promise<void> {
  const { messages, sessions } = load;
  const letters = workloadLetters(load);
  const { smtp, oneByOne } = running;
  const taken = await injectMail({ ...smtp, sessions, letters, oneByOne });
  if (taken !== messages) throw new Error(`${taken} of ${messages} messages were taken`);
}

export async function arrivals(sink: Sink, { messages, recipients }: Load): Promise<SinkCounts> {
  let arrived = -1;
  let arrivedMs = performance.now();
  for (;;) {
    const { counts } = await sink.ask();
    if (counts.recipients >= messages * recipients) return counts;
    if (counts.recipients > arrived) arrivedMs = performance.now();
    arrived = counts.recipients;
    if (performance.now() - arrivedMs > STALLED_MS) {
      throw new Error(`${arrived} of ${messages * recipients} recipients arrived, then no more`);
    }
    await sleep(POLL_MS);
  }
}

/** @returns the CPU seconds spent so far, once it spends hardly more: what follows up on a delivery is in it */
export async function atRest({ pids }: RunningContestant): Promise<number> {
  let before = cpuSeconds(pids);
  for (let attempt = 0; attempt < REST_ATTEMPTS_MAX; attempt += 1) {
    await sleep(REST_MS);
    const now = cpuSeconds(pids);
    if (now - before < RESTING_SECONDS) return now;
    before = now;
  }
  return before;
}
