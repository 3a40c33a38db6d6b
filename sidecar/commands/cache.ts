/** `explain` and `cache`: what the resolver knows. */
import type { Command } from 'commander';
import { InvalidArgumentError } from 'commander';
import type { CachedResponse, Explanation } from '../../resolver/running.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { columns, durationText, printable, printJson } from './print.ts';

export function addCacheCommands(root: Command): void {
  withResolver(root.command('explain <DOMAIN>'))
    .description('what the resolver knows of a mail domain, and why')
    .addHelpText('after', '\nExample:\n  postilion explain gmail.com')
    .action(explain);
  const cache = root.command('cache').description("look at the resolver's cache, or drop from it");
  withResolver(cache.command('dump'))
    .description('responses in the cache, the most recently stored first')
    .option('--limit <COUNT>', 'how many at most', wholeNumber, 100)
    .addHelpText('after', '\nExample:\n  postilion cache dump --limit 20')
    .action(dump);
  withResolver(cache.command('flush'))
    .description('drop what is cached, remembered failures included')
    .option('--name <NAME>', 'this name')
    .option('--suffix <NAME>', 'this name and everything below it')
    .option('--all', 'everything')
    .addHelpText('after', '\nExample:\n  postilion cache flush --suffix example.net')
    .action(flush);
}

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

function explanationText({ domain, cached, failures, inFlight, upstreams }: Explanation): string {
  const parts = [`${printable(domain)}\n`];
  if (cached.length + failures.length + inFlight.length === 0)
    parts.push('Nothing is known: nobody asked lately.\n');
  if (cached.length > 0) parts.push(`\nCached\n${responseTable(cached)}`);
  for (const { type, reason, ttlSeconds } of failures) {
    parts.push(
      `\nFailed   ${type}: ${printable(reason)}; asked again in ${durationText(ttlSeconds)}\n`,
    );
  }
  for (const { name, type, state, clients, ageMs } of inFlight) {
    parts.push(
      `\nWaiting  ${printable(name)} ${type}: ${state}; ${clients} clients, ${Math.round(ageMs)} ms\n`,
    );
  }
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

interface FlushFlags extends AskFlags {
  readonly name?: string;
  readonly suffix?: string;
  readonly all?: boolean;
}

async function flush({ name, suffix, all, ...flags }: FlushFlags): Promise<void> {
  const scopes = [
    ...(name === undefined ? [] : [{ name }]),
    ...(suffix === undefined ? [] : [{ suffix }]),
    ...(all === true ? [{ all }] : []),
  ];
  if (scopes.length !== 1) {
    throw new CommandFailed(EXIT.usage, 'say what to drop: one of --name, --suffix or --all');
  }
  const question = { program: 'resolver', path: '/v1/cache/flush', body: scopes[0] } as const;
  const answer = await ask<{ readonly dropped: number }>(question, flags);
  if (flags.json === true) printJson(answer);
  else process.stdout.write(`${answer.dropped} entries dropped\n`);
}
