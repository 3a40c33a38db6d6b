/** The runs of the mail bench: one world for all contestants, each started anew for every phase. */
import { Cleanup } from '../../test/support/cleanup.ts';
import type { Contestant } from '../peers/contestant.ts';
import { haraka } from '../peers/haraka.ts';
import { postfixDefault, postfixDkim, postfixTuned } from '../peers/postfix.ts';
import { postilion, postilionData, postilionDkim, postilionUp } from '../peers/postilion.ts';
import { startJsonChild } from './json-child.ts';
import { type Load, runPhase, surround } from './mail-phase.ts';
import { cpuSeconds } from './proc.ts';
import { interleave } from './rounds.ts';

export const NODEMAILER = 'nodemailer';
export const CONTESTANTS: ReadonlyMap<string, Contestant> = new Map(
  [
    postilion,
    postilionUp,
    postilionData,
    postilionDkim,
    postfixDefault,
    postfixTuned,
    postfixDkim,
    haraka,
  ].map((one) => [one.name, one]),
);

export interface MailOptions extends Load {
  readonly rounds: number;
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
  readonly workload: Load;
  readonly rounds: number;
  readonly skipped: Readonly<Record<string, string>>;
  readonly medians: Readonly<Record<string, MailFigures>>;
  readonly runs: Readonly<Record<string, readonly MailFigures[]>>;
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
    const { world, sink } = await surround(options, true, cleanup);
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
