/** `explain` and `cache`: what the resolver knows. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import type { LedgerLine } from '../../resolver/ledger.ts';
import type { CachedResponse, Explanation, WarmReport } from '../../resolver/running.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { columns, durationText, printable, printJson } from './print.ts';

export function addCacheCommands(root: Command): void {
  withResolver(root.command('explain <DOMAIN>'))
    .description('what the resolver knows of a mail domain, and why')
    .addHelpText('after', '\nExample:\n  postilion explain gmail.com')
    .action(explain);
  const cache = root.command('cache').description("look at the resolver's cache, or drop from it");
  withResolver(cache.command('top'))
    .description('domains that cost the most lookups')
    .option('--limit <COUNT>', 'how many at most', wholeNumber, 20)
    .addOption(new Option('--by <WHAT>', 'order').choices(TOP_ORDERS).default('lookups'))
    .addHelpText('after', '\nExample:\n  postilion cache top --by packets')
    .action(top);
  withResolver(cache.command('dump'))
    .description('responses in the cache, the most recently stored first')
    .option('--limit <COUNT>', 'how many at most', wholeNumber, 100)
    .addHelpText('after', '\nExample:\n  postilion cache dump --limit 20')
    .action(dump);
  withResolver(cache.command('warm <FILE>'))
    .description('have the domains of a file looked up: a line is "DOMAIN" or "NAME TYPE"')
    .addHelpText('after', '\nExample:\n  postilion cache warm domains.txt')
    .action(warm);
  withResolver(cache.command('flush'))
    .description('drop what is cached, remembered failures included')
    .option('--name <NAME>', 'this name')
    .option('--suffix <NAME>', 'this name and everything below it')
    .option('--type <TYPE>', 'answers of this type, such as TXT')
    .option('--all', 'everything')
    .addHelpText('after', '\nExample:\n  postilion cache flush --suffix example.net')
    .action(flush);
}

/** Of one request. */
const WARM_LINES_MAX = 1_000;
const TOP_ORDERS = ['lookups', 'packets', 'failures', 'stale'] as const;

const withResolver = (command: Command): Command =>
  command
    .option('--config <FILE>', 'TOML file that names the address')
    .option('--admin <ADDRESS:PORT>', "the resolver's admin address")
    .option('--json', 'machine-readable');

export function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,6}$/.test(text)) throw new InvalidArgumentError('Write a whole number.');
  return Number(text);
}

async function explain(domain: string, flags: AskFlags): Promise<void> {
  const path = `/v1/explain/${encodeURIComponent(domain)}`;
  const answer = await ask<Explanation>({ program: 'resolver', path }, flags);
  if (flags.json === true) printJson(answer);
  else process.stdout.write(explanationText(answer));
}

function explanationText(explanation: Explanation): string {
  const { domain, cached, failures, inFlight, ledger, upstreams } = explanation;
  const parts = [`${printable(domain)}\n`];
  if (cached.length + failures.length + inFlight.length === 0)
    parts.push('Nothing is known: nobody asked lately.\n');
  if (cached.length > 0) parts.push(`\nCached\n${responseTable(cached)}`);
  for (const { name, type, reason, ttlSeconds } of failures) {
    parts.push(
      `\nFailed   ${printable(name)} ${type}: ${printable(reason)}; asked again in ${durationText(ttlSeconds)}\n`,
    );
  }
  for (const { name, type, state, clients, ageMs } of inFlight) {
    parts.push(
      `\nWaiting  ${printable(name)} ${type}: ${state}; ${clients} clients, ${Math.round(ageMs)} ms\n`,
    );
  }
  if (ledger !== null) parts.push(`\nSince start\n${ledgerTable([ledger])}`);
  const rows = upstreams.map(({ address, up, rttMs, lastFailure }) => [
    address,
    up ? 'up' : 'down',
    rttMs === null ? 'no answer yet' : `${rttMs.toFixed(1)} ms`,
    printable(lastFailure ?? ''),
  ]);
  parts.push(`\nUpstreams\n${columns(rows)}`);
  return parts.join('');
}

function responseTable(responses: readonly CachedResponse[]): string {
  const rows = responses.map((response) => [
    printable(response.name),
    response.type,
    response.kind,
    response.ttlSeconds < 0
      ? `stale for ${durationText(-response.ttlSeconds)}`
      : `${durationText(response.ttlSeconds)} left`,
    printable(response.records.join('; ')),
  ]);
  return columns([['NAME', 'TYPE', 'KIND', 'TTL', 'RECORDS'], ...rows]);
}

async function dump(flags: AskFlags & { readonly limit: number }): Promise<void> {
  const path = `/v1/cache?limit=${flags.limit}`;
  const answer = await ask<{ readonly responses: readonly CachedResponse[] }>(
    { program: 'resolver', path },
    flags,
  );
  if (flags.json === true) printJson(answer);
  else process.stdout.write(responseTable(answer.responses));
}

interface TopFlags extends AskFlags {
  readonly limit: number;
  readonly by: string;
}

async function top({ limit, by, ...flags }: TopFlags): Promise<void> {
  const path = `/v1/top?limit=${limit}&by=${by}`;
  const answer = await ask<{ readonly domains: readonly LedgerLine[] }>(
    { program: 'resolver', path },
    flags,
  );
  if (flags.json === true) printJson(answer);
  else process.stdout.write(ledgerTable(answer.domains));
}

function ledgerTable(lines: readonly LedgerLine[]): string {
  const rows = lines.map((line) => [
    printable(line.domain),
    line.lookupsOver === 0 ? `${line.lookups}` : `${line.lookups} (-${line.lookupsOver})`,
    `${line.packets}`,
    `${line.failures}`,
    `${line.stale}`,
    line.upstream ?? '',
    line.rttMs === null ? '' : `${line.rttMs.toFixed(1)} ms`,
  ]);
  const head = ['DOMAIN', 'LOOKUPS', 'PACKETS', 'SERVFAIL', 'STALE', 'LAST UPSTREAM', 'TOOK'];
  return columns([head, ...rows]);
}

async function warm(file: string, flags: AskFlags): Promise<void> {
  const lines = linesOf(file);
  const total = { accepted: 0, malformed: 0, refused: 0 };
  for (let at = 0; at < lines.length; at += WARM_LINES_MAX) {
    const body = { lines: lines.slice(at, at + WARM_LINES_MAX) };
    const question = { program: 'resolver', path: '/v1/cache/warm', body } as const;
    const report = await ask<WarmReport>(question, flags);
    total.accepted += report.accepted;
    total.malformed += report.malformed;
    total.refused += report.refused;
  }
  if (flags.json === true) {
    printJson(total);
    return;
  }
  const { accepted, malformed, refused } = total;
  process.stdout.write(
    `${accepted} questions accepted, ${malformed} lines not understood, ${refused} without room\n`,
  );
}

/** Blank lines and comments are left out. */
function linesOf(file: string): string[] {
  try {
    const lines = readFileSync(file, 'utf8').split('\n');
    return lines.map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new CommandFailed(EXIT.usage, `${file}: cannot be read: ${code}`);
  }
}

interface FlushFlags extends AskFlags {
  readonly name?: string;
  readonly suffix?: string;
  readonly type?: string;
  readonly all?: boolean;
}

async function flush({ name, suffix, type, all, ...flags }: FlushFlags): Promise<void> {
  const scopes = [
    ...(name === undefined ? [] : [{ name }]),
    ...(suffix === undefined ? [] : [{ suffix }]),
    ...(type === undefined ? [] : [{ type }]),
    ...(all === true ? [{ all }] : []),
  ];
  if (scopes.length !== 1) {
    throw new CommandFailed(
      EXIT.usage,
      'say what to drop: one of --name, --suffix, --type or --all',
    );
  }
  const question = { program: 'resolver', path: '/v1/cache/flush', body: scopes[0] } as const;
  const answer = await ask<{ readonly dropped: number }>(question, flags);
  if (flags.json === true) printJson(answer);
  else process.stdout.write(`${answer.dropped} entries dropped\n`);
}
