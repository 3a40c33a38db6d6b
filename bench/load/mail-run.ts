/** The runs of the mail bench: one world for all contestants, each started anew for every phase. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import type { Contestant, MailWorld, RunningContestant } from '../peers/contestant.ts';
import { haraka } from '../peers/haraka.ts';
import { postfixDefault, postfixDkim, postfixTuned } from '../peers/postfix.ts';
import { postilion, postilionData } from '../peers/postilion.ts';
import { cpuSeconds, residentOctets } from './cpu.ts';
import { inject } from './injector.ts';
import { type JsonChild, startJsonChild } from './json-child.ts';
import { hostAddress, type Workload, workloadLetters } from './mail-workload.ts';
import { interleave } from './rounds.ts';
import type { SinkCounts } from './sink.ts';

export const NODEMAILER = 'nodemailer';
export const CONTESTANTS: ReadonlyMap<string, Contestant> = new Map(
  [postilion, postilionData, postfixDefault, postfixTuned, postfixDkim, haraka].map((one) => [
    one.name,
    one,
  ]),
);

export interface MailOptions extends Omit<Workload, 'network'> {
  readonly rounds: number;
  readonly sessions: number;
  readonly names: readonly string[];
  readonly onProgress: (line: string) => void;
}

/** Of one run; NaN where the contestant cannot do it. CPU is microseconds a message. */
export type MailFigures = {
  readonly injectCpu: number;
  readonly deliverCpu: number;
  readonly apartCpu: number;
  readonly togetherCpu: number;
  readonly injectPerSecond: number;
  readonly deliverPerSecond: number;
  readonly togetherPerSecond: number;
  /** With all mail queued, octets. */
  readonly resident: number;
  /** Per 1,000 messages, of the run together. */
  readonly connections: number;
  readonly handshakesFull: number;
  readonly handshakesResumed: number;
  readonly dnsQueries: number;
  /** What stands around it, microseconds a message, of the run together. */
  readonly sinkCpu: number;
  readonly dnsCpu: number;
  readonly injectorCpu: number;
};

export interface MailOutcome {
  readonly workload: Omit<Workload, 'network'> & { readonly sessions: number };
  readonly rounds: number;
  readonly skipped: Readonly<Record<string, string>>;
  readonly medians: Readonly<Record<string, MailFigures>>;
  readonly runs: Readonly<Record<string, readonly MailFigures[]>>;
}

const DNS_PORT = 53;
const POLL_MS = 20;
/** Without an arrival for so long a run has failed. */
const STALLED_MS = 45_000;
/** A contestant is at rest when it spent less than RESTING_SECONDS in so long. */
const REST_MS = 300;
const RESTING_SECONDS = 0.02;
const REST_ATTEMPTS_MAX = 100;

type Sink = JsonChild<{ listening: string[] }, { counts: SinkCounts }>;
type Dns = JsonChild<{ port: number }, { total: number; distinct: number }>;

interface Surroundings {
  readonly world: MailWorld;
  readonly sink: Sink;
  readonly dns: Dns;
}

export async function runMail(options: MailOptions): Promise<MailOutcome> {
  const { names, rounds, onProgress, ...workload } = options;
  const skipped: Record<string, string> = {};
  const taking: string[] = [];
  for (const name of names) {
    const contestant = CONTESTANTS.get(name);
    if (contestant === undefined && name !== NODEMAILER) throw new Error(`who is "${name}"?`);
    const reason = (await contestant?.missing()) ?? null;
    if (reason === null) taking.push(name);
    else skipped[name] = reason;
  }
  const results = await interleave(taking, rounds, async (name, round) => {
    const contestant = CONTESTANTS.get(name);
    const figures =
      contestant === undefined ? await measurePool(options) : await measure(contestant, options);
    const { apartCpu, togetherCpu } = figures;
    onProgress(
      `round ${round + 1} ${name}: ${Math.round(apartCpu)} µs apart, ${Math.round(togetherCpu)} together`,
    );
    return figures;
  });
  const of = <T>(pick: (result: { medians: MailFigures; runs: readonly MailFigures[] }) => T) =>
    Object.fromEntries([...results].map(([name, result]) => [name, pick(result)]));
  return {
    workload,
    rounds,
    skipped,
    medians: of(({ medians }) => medians),
    runs: of(({ runs }) => runs),
  };
}

async function surround(
  domains: number,
  chunking: boolean,
  cleanup: Cleanup,
): Promise<Surroundings> {
  const nameserver = loopbackAddress();
  const network = Number(nameserver.split('.')[1]);
  const remotePort = await freePort();
  const sink: Sink = cleanup.stop(
    await startJsonChild('load/sink.ts', {
      listen: `0.0.0.0:${remotePort}`,
      ...(chunking ? {} : { 'no-chunking': true }),
    }),
  );
  const dns: Dns = cleanup.stop(
    await startJsonChild('load/mail-dns.ts', {
      address: nameserver,
      port: DNS_PORT,
      domains,
      network,
    }),
  );
  const world = { nameserver, remotePort, oneHost: hostAddress(network, 0, 0) };
  return { world, sink, dns };
}

async function measure(contestant: Contestant, options: MailOptions): Promise<MailFigures> {
  const apart = contestant.holds ? await runPhase(contestant, options, true) : null;
  const together = await runPhase(contestant, options, false);
  const { messages } = options;
  const perMessage = (seconds: number): number => (seconds * 1e6) / messages;
  const perThousand = (count: number): number => (count * 1000) / messages;
  const { counts } = together;
  return {
    injectCpu: perMessage(apart?.injectCpuSeconds ?? Number.NaN),
    deliverCpu: perMessage(apart?.deliverCpuSeconds ?? Number.NaN),
    apartCpu: perMessage((apart?.injectCpuSeconds ?? Number.NaN) + (apart?.deliverCpuSeconds ?? 0)),
    togetherCpu: perMessage(together.injectCpuSeconds + together.deliverCpuSeconds),
    injectPerSecond: messages / (apart?.injectSeconds ?? Number.NaN),
    deliverPerSecond: messages / (apart?.deliverSeconds ?? Number.NaN),
    togetherPerSecond: messages / (together.injectSeconds + together.deliverSeconds),
    resident: apart?.resident ?? together.resident,
    connections: perThousand(counts.connections),
    handshakesFull: perThousand(counts.handshakesFull),
    handshakesResumed: perThousand(counts.handshakesResumed),
    dnsQueries: perThousand(together.dnsQueries),
    sinkCpu: perMessage(together.sinkCpuSeconds),
    dnsCpu: perMessage(together.dnsCpuSeconds),
    injectorCpu: perMessage(together.injectorCpuSeconds),
  };
}

interface Phase {
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
async function runPhase(
  contestant: Contestant,
  options: MailOptions,
  held: boolean,
): Promise<Phase> {
  const cleanup = new Cleanup();
  try {
    const { world, sink, dns } = await surround(options.domains, contestant.chunking, cleanup);
    const running = cleanup.stop(await contestant.start(world, { held }));
    const spent = (): number => cpuSeconds(running.pids);
    const injectorBefore = process.cpuUsage();
    const [cpuAtStart, startedMs] = [await atRest(running), performance.now()];
    await injectAll(running, options);
    const injectedMs = performance.now();
    const cpuInjected = held ? await atRest(running) : spent();
    const resident = residentOctets(running.pids);
    const { user, system } = process.cpuUsage(injectorBefore);
    const releasedMs = held ? performance.now() : injectedMs;
    if (held) await running.release();
    const counts = await arrivals(sink, options);
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

async function injectAll(running: RunningContestant, options: MailOptions): Promise<void> {
  const { messages, sessions } = options;
  const letters = workloadLetters({ ...options, network: 1 });
  const { acknowledged, failed } = await inject({ ...running.smtp, sessions, letters });
  if (acknowledged === messages) return;
  const [first] = failed.values();
  throw new Error(`${acknowledged} of ${messages} messages were taken; ${first}`);
}

async function arrivals(sink: Sink, { messages, recipients }: MailOptions): Promise<SinkCounts> {
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
async function atRest({ pids }: RunningContestant): Promise<number> {
  let before = cpuSeconds(pids);
  for (let attempt = 0; attempt < REST_ATTEMPTS_MAX; attempt += 1) {
    await sleep(REST_MS);
    const now = cpuSeconds(pids);
    if (now - before < RESTING_SECONDS) return now;
    before = now;
  }
  return before;
}

const NO_FIGURES: MailFigures = {
  injectCpu: Number.NaN,
  deliverCpu: Number.NaN,
  apartCpu: Number.NaN,
  togetherCpu: Number.NaN,
  injectPerSecond: Number.NaN,
  deliverPerSecond: Number.NaN,
  togetherPerSecond: Number.NaN,
  resident: Number.NaN,
  connections: Number.NaN,
  handshakesFull: Number.NaN,
  handshakesResumed: Number.NaN,
  dnsQueries: Number.NaN,
  sinkCpu: Number.NaN,
  dnsCpu: Number.NaN,
  injectorCpu: Number.NaN,
};

/** nodemailer has no queue: it only delivers, to one host. */
async function measurePool(options: MailOptions): Promise<MailFigures> {
  const cleanup = new Cleanup();
  try {
    const { world, sink } = await surround(options.domains, true, cleanup);
    const { messages, octets, recipients, domains } = options;
    const pool = cleanup.stop(
      await startJsonChild<object, { sent: number; cpuSeconds: number }>(
        'peers/nodemailer-pool.ts',
        { host: world.oneHost, port: world.remotePort, messages, octets, recipients, domains },
      ),
    );
    const startedMs = performance.now();
    const { sent, cpuSeconds: spent } = await pool.ask();
    const seconds = (performance.now() - startedMs) / 1000;
    const { counts } = await sink.ask();
    if (sent !== messages || counts.messages !== messages) throw new Error('mail was lost');
    return {
      ...NO_FIGURES,
      deliverCpu: (spent * 1e6) / messages,
      deliverPerSecond: messages / seconds,
      connections: (counts.connections * 1000) / messages,
      handshakesFull: (counts.handshakesFull * 1000) / messages,
      handshakesResumed: (counts.handshakesResumed * 1000) / messages,
      sinkCpu: (cpuSeconds([sink.pid]) * 1e6) / messages,
    };
  } finally {
    await cleanup.run();
  }
}
