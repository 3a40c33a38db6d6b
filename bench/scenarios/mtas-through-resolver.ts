/**
 * Postfix, Exim and Haraka each send through the resolver, cold and warm, with delivery bundles off, on
 * and for what is asked again: lookups asked, packets sent, and how many of them were bundles'.
 * `--senders exim,haraka --modes again` runs a part; where a round takes longer than --ttlSeconds, records
 * expire in the middle of it.
 *
 *     mail server ─smtp─► sink
 *         └─dns─► postilion resolver ─► nsd
 */

import type { Endpoint } from '../../runtime/settings.ts';
import { Cleanup } from '../../test/support/cleanup.ts';
import { hasExim, startEximSender } from '../../test/support/exim.ts';
import { startNsd } from '../../test/support/nsd.ts';
import { startPostfixSender } from '../../test/support/postfix.ts';
import { waitFor } from '../../test/support/process.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import { benchMain } from '../load/command.ts';
import { inject, type Letter } from '../load/injector.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { type Sink, startSink } from '../load/sink.ts';
import { haraka } from '../peers/haraka.ts';

export interface Options {
  readonly messages: number;
  readonly domains: number;
  /** Of the records; the second round comes after they have expired. */
  readonly ttlSeconds: number;
  readonly timeoutMs: number;
  /** Names of SENDERS. */
  readonly senders?: readonly string[];
  readonly modes?: readonly string[];
  readonly onRun?: (run: Run) => void;
}

const MODES = ['off', 'again', 'on'] as const;
export type Mode = (typeof MODES)[number];

export interface Round {
  readonly round: 'cold' | 'warm' | 'expired';
  readonly delivered: number;
  readonly lookups: number;
  readonly packets: number;
  readonly bundlePackets: number;
  readonly bundleHits: number;
  readonly seconds: number;
}

export interface Run {
  readonly sender: string;
  readonly bundles: Mode;
  /** Why there is nothing to show; null when there is. */
  readonly skipped: string | null;
  readonly rounds: readonly Round[];
}

interface World {
  readonly nameserver: string;
  readonly remotePort: number;
}

interface Sender {
  readonly name: string;
  missing(): Promise<string | null>;
  start(world: World): Promise<{ readonly smtp: Endpoint; stop(): Promise<unknown> }>;
}

const SENDERS: readonly Sender[] = [
  {
    name: 'postfix',
    missing: async () => null,
    async start(world) {
      const { address, port, stop } = await startPostfixSender(world);
      return { smtp: { address, port }, stop };
    },
  },
  {
    name: 'exim',
    missing: async () => (hasExim() ? null : 'its package cannot be had'),
    async start(world) {
      const { port, stop } = await startEximSender(world);
      return { smtp: { address: '127.0.0.1', port }, stop };
    },
  },
  {
    name: 'haraka',
    missing: () => haraka.missing(),
    start: (world) => haraka.start({ ...world, oneHost: '' }, { held: false }),
  },
];

const ZONE = 'customers.example';
const DNS_PORT = 53;
const BODY = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(26));
const PROGRESS_MS = 250;
const SESSIONS = 10;

/** Of ten domains eight share one set of two MX hosts, as customers of one provider do. */
function zoneRecords({ domains, ttlSeconds }: Options, sink: string): string[] {
  const records = [`*.mx ${ttlSeconds} IN A ${sink}`];
  for (let domain = 0; domain < domains; domain += 1) {
    const hosts = domain % 10 < 8 ? 'shared' : `own${domain}`;
    const mx = `d${domain} ${ttlSeconds} IN MX`;
    records.push(`${mx} 10 ${hosts}-1.mx`, `${mx} 20 ${hosts}-2.mx`);
  }
  return records;
}

function* letters({ messages, domains }: Options, round: string): Generator<Letter> {
  for (let number = 0; number < messages; number += 1) {
    yield {
      id: `${round}${number}`,
      reversePath: 'sender@client.example.net',
      recipients: [`u${number}@d${number % domains}.${ZONE}`],
      content: [Buffer.from(`Subject: ${number}\r\n\r\n`), BODY],
    };
  }
}

export async function runMtasThroughResolver(options: Options): Promise<readonly Run[]> {
  const runs: Run[] = [];
  const wanted = options.senders ?? SENDERS.map(({ name }) => name);
  for (const sender of SENDERS.filter(({ name }) => wanted.includes(name))) {
    const skipped = await sender.missing();
    for (const bundles of MODES) {
      if (options.modes?.includes(bundles) === false) continue;
      const rounds = skipped === null ? await runOne(sender, bundles, options) : [];
      const run = { sender: sender.name, bundles, skipped, rounds };
      runs.push(run);
      options.onRun?.(run);
    }
  }
  return runs;
}

async function runOne(sender: Sender, bundles: Mode, options: Options): Promise<readonly Round[]> {
  const cleanup = new Cleanup();
  try {
    const sinkAt = { address: loopbackAddress(), port: 0 };
    const listen = [{ ...sinkAt, port: await freePort(sinkAt.address) }];
    const sink = await startSink({ listen });
    cleanup.add(() => sink.close());
    const zone = { origin: ZONE, records: zoneRecords(options, sinkAt.address) };
    const nsd = cleanup.stop(await startNsd([zone]));
    const dns = { address: loopbackAddress(), port: DNS_PORT };
    const resolver = cleanup.stop(
      await startPostilion({ program: 'resolver', upstream: nsd, dns, resolver: { bundles } }),
    );
    const world = { nameserver: dns.address, remotePort: sink.endpoints[0]!.port };
    const running = cleanup.stop(await sender.start(world));
    const rounds: Round[] = [];
    for (const round of ['cold', 'warm'] as const) {
      rounds.push(await measure(round, { options, sink, resolver, smtp: running.smtp }));
    }
    await waitFor(
      async () => (await freshMx(resolver)) === 0,
      'every MX to expire',
      options.ttlSeconds * 2_000,
      PROGRESS_MS,
    );
    rounds.push(await measure('expired', { options, sink, resolver, smtp: running.smtp }));
    return rounds;
  } finally {
    await cleanup.run();
  }
}

async function freshMx({ resolverHttp }: Postilion): Promise<number> {
  const response = await fetch(`${resolverHttp}/v1/cache?limit=10000`);
  const { responses } = (await response.json()) as {
    readonly responses: readonly { readonly type: string; readonly ttlSeconds: number }[];
  };
  return responses.filter(({ type, ttlSeconds }) => type === 'MX' && ttlSeconds >= 0).length;
}

interface Parts {
  readonly options: Options;
  readonly sink: Sink;
  readonly resolver: Postilion;
  readonly smtp: Endpoint;
}

async function measure(round: Round['round'], parts: Parts): Promise<Round> {
  const { options, sink, resolver, smtp } = parts;
  const before = await figures(resolver);
  const taken = sink.counts.messages;
  const startedAtMs = performance.now();
  const injection = await inject({ ...smtp, sessions: SESSIONS, letters: letters(options, round) });
  if (injection.acknowledged !== options.messages) {
    throw new Error(`${injection.acknowledged} of ${options.messages} messages were taken`);
  }
  await waitFor(
    () => sink.counts.messages - taken >= options.messages,
    () => `${options.messages} messages at the sink; ${sink.counts.messages - taken} came`,
    options.timeoutMs,
    PROGRESS_MS,
  );
  const after = await figures(resolver);
  return {
    round,
    delivered: sink.counts.messages - taken,
    lookups: after.lookups - before.lookups,
    packets: after.packets - before.packets,
    bundlePackets: after.bundlePackets - before.bundlePackets,
    bundleHits: after.bundleHits - before.bundleHits,
    seconds: Math.round((performance.now() - startedAtMs) / 100) / 10,
  };
}

async function figures(resolver: Postilion) {
  const metrics = await resolver.resolverMetrics();
  return {
    lookups: metrics.sum('postilion_dns_queries_total'),
    packets: metrics.sum('postilion_dns_upstream_packets_total', { direction: 'sent' }),
    bundlePackets: metrics.sum('postilion_dns_bundle_packets_total'),
    bundleHits: metrics.sum('postilion_dns_bundle_hits_total'),
  };
}

function print({ sender, bundles, skipped, rounds }: Run): void {
  if (skipped !== null) process.stderr.write(`${sender}: skipped: ${skipped}\n`);
  for (const round of rounds) {
    const { lookups, packets, bundlePackets, bundleHits, seconds } = round;
    process.stderr.write(
      `${sender}, bundles ${bundles}, ${round.round}: ${lookups} lookups, ${packets} packets, ${bundlePackets} of bundles, ${bundleHits} bundle hits, ${seconds} s\n`,
    );
  }
}

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 5_000, domains: 300, ttlSeconds: 120 },
    lists: { senders: SENDERS.map(({ name }) => name), modes: MODES },
    run: async (numbers, lists) => ({
      runs: await runMtasThroughResolver({
        ...numbers,
        ...lists,
        timeoutMs: 300_000,
        onRun: print,
      }),
    }),
  });
}
