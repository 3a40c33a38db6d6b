/** `why` and `queue`: what waits in the mta, and for what. */
import type { Command } from 'commander';
import type { MtaStatus, WaitingRecipient } from '../../mta/running.ts';
import type { QueuePage } from '../admin/mta.ts';
import { type AskFlags, ask } from './ask.ts';
import { wholeNumber } from './cache.ts';
import { columns, durationText, printable, printJson } from './print.ts';
import { addVerbCommands } from './verbs.ts';

export function addQueueCommands(root: Command): void {
  withMta(root.command('why <ID>'))
    .description('why a message, or one of its recipients, is still here')
    .addHelpText('after', '\nExample:\n  postilion why 1hzk3v8q2m0')
    .action(why);
  const queue = root.command('queue').description('look at the mail that waits, and act on it');
  withMta(queue.command('list'))
    .description('recipients that wait, oldest message first')
    .option('--domain <DOMAIN>', 'only those of this domain')
    .option('--after <ID>', 'continue behind this recipient')
    .option('--limit <COUNT>', 'how many at most', wholeNumber, 100)
    .addHelpText('after', '\nExample:\n  postilion queue list --domain gmail.com --limit 20')
    .action(list);
  withMta(queue.command('counts'))
    .description('how much waits')
    .addHelpText('after', '\nExample:\n  postilion queue counts --json')
    .action(counts);
  addVerbCommands(root, queue, withMta);
}

/** Flags of a command that asks the mta. */
export const withMta = (command: Command): Command =>
  command
    .option('--config <FILE>', 'TOML file that names the address')
    .option('--http <ADDRESS:PORT>', "the mta's HTTP address")
    .option('--json', 'machine-readable');

async function why(id: string, flags: AskFlags): Promise<void> {
  const path = `/v1/messages/${encodeURIComponent(id)}`;
  const answer = await ask<Pick<QueuePage, 'recipients'>>({ program: 'mta', path }, flags);
  if (flags.json === true) printJson(answer);
  else process.stdout.write(answer.recipients.map(reasonText).join('\n'));
}

function reasonText(recipient: WaitingRecipient): string {
  const { id, address, reversePath, receivedAtMs, attempts, octets, nextHop, limits, wait } =
    recipient;
  const now = Date.now();
  return columns([
    [id, `<${printable(reversePath)}> to <${printable(address)}>, ${octets} octets`],
    ['accepted', `${durationText((now - receivedAtMs) / 1000)} ago, ${attempts} attempts so far`],
    ['waits for', `${wait.on}: ${printable(wait.text)}`],
    ['since', `${durationText((now - wait.sinceMs) / 1000)} ago`],
    ['until', nextText(wait.untilMs, now)],
    ...(nextHop === null ? [] : [['goes to', `${printable(nextHop)}, by order of an operator`]]),
    ['changed by', printable(recipient.change)],
    ...limits.map(({ name, value, source }) => [
      'limit',
      `${name} ${value}  (${printable(source)})`,
    ]),
  ]);
}

const nextText = (untilMs: number | null, now: number): string => {
  if (untilMs === null) return 'as soon as that changes';
  return untilMs <= now ? 'now' : `in ${durationText((untilMs - now) / 1000)}`;
};

interface ListFlags extends AskFlags {
  readonly domain?: string;
  readonly after?: string;
  readonly limit: number;
}

async function list({ domain, after, limit, ...flags }: ListFlags): Promise<void> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (domain !== undefined) query.set('domain', domain);
  if (after !== undefined) query.set('after', after);
  const page = await ask<QueuePage>({ program: 'mta', path: `/v1/queue?${query}` }, flags);
  if (flags.json === true) {
    printJson(page);
    return;
  }
  const now = Date.now();
  const rows = page.recipients.map(({ id, address, receivedAtMs, attempts, nextHop, wait }) => [
    id,
    durationText((now - receivedAtMs) / 1000),
    String(attempts),
    nextText(wait.untilMs, now),
    printable(address),
    printable(nextHop === null ? wait.text : `${wait.text}; goes to ${nextHop}`),
  ]);
  process.stdout.write(columns([['ID', 'AGE', 'TRIES', 'NEXT', 'RECIPIENT', 'WHY'], ...rows]));
  if (page.next !== null) process.stdout.write(`More: --after ${page.next}\n`);
}

async function counts(flags: AskFlags): Promise<void> {
  const status = await ask<MtaStatus>({ program: 'mta', path: '/v1/status' }, flags);
  const { messages, queued, leased, quarantined } = status;
  const answer = { messages, queued, leased, quarantined };
  if (flags.json === true) printJson(answer);
  else
    process.stdout.write(
      columns(Object.entries(answer).map(([name, count]) => [name, String(count)])),
    );
}
