/** `status`: is DNS answered, does mail flow, and what is wrong. */
import type { Command } from 'commander';
import type { MtaStatus } from '../../mta/running.ts';
import type { ResolverStatus } from '../admin/resolver.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { columns, durationText, printable, printJson } from './print.ts';
import { upgradeText } from './upgrade.ts';

type MtaReport = MtaStatus & { readonly unready: string | null };

export function addStatusCommand(root: Command): void {
  root
    .command('status')
    .description('how the running resolver and mta are')
    .option('--config <FILE>', 'TOML file that names the addresses')
    .option('--admin <ADDRESS:PORT>', "the resolver's admin address")
    .option('--http <ADDRESS:PORT>', "the mta's HTTP address")
    .option('--json', 'machine-readable')
    .addHelpText('after', '\nExample:\n  postilion status')
    .action(status);
}

/** One program alone is a deployment like any other: only when neither answers is nothing running. */
async function status(flags: AskFlags): Promise<void> {
  const [resolver, mta] = await Promise.allSettled([
    ask<ResolverStatus>({ program: 'resolver', path: '/v1/status' }, flags),
    ask<MtaReport>({ program: 'mta', path: '/v1/status' }, flags),
  ]);
  if (resolver.status === 'rejected' && mta.status === 'rejected') throw resolver.reason;
  if (flags.json === true) printJson({ resolver: valueOrNull(resolver), mta: valueOrNull(mta) });
  else {
    const parts = [
      resolver.status === 'fulfilled' ? resolverText(resolver.value) : absent(resolver.reason),
      mta.status === 'fulfilled' ? mtaText(mta.value) : absent(mta.reason),
    ];
    process.stdout.write(parts.join('\n'));
  }
  if (unready(resolver) || unready(mta)) process.exitCode = EXIT.failed;
}

type Unreadiness = { readonly unready: string | null };

const unready = (settled: PromiseSettledResult<Unreadiness>): boolean =>
  settled.status === 'fulfilled' && settled.value.unready !== null;

const valueOrNull = <T>(settled: PromiseSettledResult<T>): T | null =>
  settled.status === 'fulfilled' ? settled.value : null;

function absent(reason: unknown): string {
  if (reason instanceof CommandFailed) return `${reason.message}\n`;
  throw reason;
}

const stateText = (reason: string | null): string =>
  reason === null ? 'ready' : `not ready: ${printable(reason)}`;

const sinceText = (sinceMs: number): string =>
  `since ${durationText((Date.now() - sinceMs) / 1000)}`;

const uptimeText = (startedAtMs: number): string =>
  `up ${durationText((Date.now() - startedAtMs) / 1000)}`;

function resolverText(resolver: ResolverStatus): string {
  const { answers, queries, upstreamPackets } = resolver;
  const sum = (sources: readonly string[]) =>
    sources.reduce((all, source) => all + (answers[source] ?? 0), 0);
  const share = sum(MEMORY_SOURCES) / Math.max(1, sum(Object.keys(answers)));
  const { sent = 0, received = 0 } = upstreamPackets;
  return columns([
    [
      'resolver',
      `${stateText(resolver.unready)}, ${uptimeText(resolver.startedAtMs)}, at ${resolver.listen.join(', ')}`,
    ],
    ['  queries', `${queries}, ${(share * 100).toFixed(1)} % answered without asking`],
    ['  upstream', `${sent} packets sent, ${received} received`],
    ['  cache', `${(resolver.cacheBytes / 1_048_576).toFixed(1)} MiB`],
    ...(resolver.upgrade === null ? [] : [['last upgrade', upgradeText(resolver.upgrade)]]),
  ]);
}

/** Sources that cost no packet to an upstream. */
const MEMORY_SOURCES = ['hot', 'cache', 'stale', 'coalesced', 'local'] as const;

function mtaText(mta: MtaReport): string {
  const outcomes = Object.entries(mta.outcomes).map(([name, count]) => `${count} ${name}`);
  const rows: string[][] = [
    ['mta', `${stateText(mta.unready)}, ${uptimeText(mta.startedAtMs)}, as ${mta.hostname}`],
    ['  since start', outcomes.join(', ')],
    [
      '  waiting',
      `${mta.messages} messages: ${mta.queued} recipients queued, ${mta.leased} in delivery`,
    ],
    ['  sites', `${mta.sites.length} at work, ${mta.connections} connections`],
    ['  lookups', `${mta.dnsQueries} asked of the resolver`],
  ];
  for (const { alias, hold } of mta.sites) {
    if (hold !== null) rows.push(['  held', `${alias}: ${printable(hold.text)}`]);
  }
  for (const { scope, name, sinceMs } of mta.suspensions) {
    rows.push(['  suspended', `${scope} ${printable(name)}, ${sinceText(sinceMs)}`]);
  }
  for (const { scope, name, to, sinceMs } of mta.reroutes) {
    rows.push([
      '  rerouted',
      `${scope} ${printable(name)} to ${printable(to)}, ${sinceText(sinceMs)}`,
    ]);
  }
  for (const { domain, wait } of mta.heldDomains)
    rows.push(['  held', `${domain}: ${printable(wait.text)}`]);
  for (const trouble of mta.troubles) rows.push(['  trouble', printable(trouble)]);
  return columns(rows);
}
