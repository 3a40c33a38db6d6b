/** `queue hold|release|retry|reroute|bounce|delete`, `show`, `suspend`, `resume`, `reroute`: what operators do to mail. */
import { type Command, Option } from 'commander';
import {
  MESSAGE_VERBS,
  type MessageVerb,
  REROUTE_SCOPES,
  type RerouteScope,
  type ShownMessage,
  SUSPENSION_SCOPES,
  type SuspensionScope,
  type VerbReport,
} from '../../mta/running.ts';
import type { RerouteAnswer, SuspensionAnswer } from '../admin/verbs.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { addDrainCommand } from './drain.ts';
import { columns, durationText, printable, printJson } from './print.ts';

const DOES: Readonly<Record<MessageVerb, string>> = {
  hold: 'keep mail from being tried until it is released',
  release: 'let mail go on that was held',
  retry: 'try mail now, sites that are left alone for a while included',
  reroute: 'send what waits to another next hop, and try it now',
  bounce: 'return mail to its senders',
  delete: 'drop mail without a notice',
};

type WithMta = (command: Command) => Command;

export function addVerbCommands(root: Command, queue: Command, withMta: WithMta): void {
  for (const verb of MESSAGE_VERBS) {
    const command = queue.command(`${verb} [ID...]`);
    withMta(command)
      .description(`${DOES[verb]}: messages, recipients, or all of what is named`)
      .option('--domain <DOMAIN>', 'all that waits for this domain')
      .option('--tenant <NAME>', 'all of this tenant')
      .option('--campaign <NAME>', 'all of this campaign')
      .option('--note <TEXT>', 'why; quoted in "why" and in bounces')
      .option('--dry-run', 'only say what it is for')
      .addHelpText('after', `\nExample:\n  postilion queue ${exampleOf(verb)} --dry-run`)
      .action((ids: readonly string[], flags: VerbFlags) => act(verb, ids, flags));
    if (verb === 'retry') {
      command.option('--end-rests', 'also where a rule lets a site or domain rest');
    }
    if (verb === 'reroute') command.requiredOption('--to <HOP>', NEXT_HOP_TEXT);
  }
  withMta(queue.command('show <ID>'))
    .description('header and recipients of a message that waits')
    .addHelpText('after', '\nExample:\n  postilion queue show 1hzk3v8q2m0')
    .action(show);
  for (const verb of ['suspend', 'resume'] as const) {
    const command = root.command(`${verb} [NAME]`);
    withMta(command)
      .description(verb === 'suspend' ? 'deliver nothing of what is named' : 'deliver it again')
      .addOption(new Option('--scope <SCOPE>', 'what NAME is').choices(SUSPENSION_SCOPES))
      .option('--dry-run', 'only say what would be suspended')
      .addHelpText('after', `\nExample:\n  postilion ${verb} --scope domain example.net`)
      .action((name: string | undefined, flags: SuspendFlags) => toggle(verb, name, flags));
  }
  withMta(root.command('reroute <NAME>'))
    .description('send all mail of a domain or site to another next hop, until it is taken back')
    .addOption(
      new Option('--scope <SCOPE>', 'what NAME is').choices(REROUTE_SCOPES).default('domain'),
    )
    .requiredOption('--to <HOP>', NEXT_HOP_TEXT)
    .option('--dry-run', 'only say what would be rerouted')
    .addHelpText(
      'after',
      `
What waits for its next attempt goes there then, or now with "queue retry". Single messages: "queue reroute".

Example:
  postilion reroute example.net --to relay.example.com:2525
  postilion reroute example.net --to mx`,
    )
    .action(reroute);
  addDrainCommand(root, withMta);
}

const NEXT_HOP_TEXT = 'HOST or HOST:PORT, whose own addresses are meant; "mx" goes back to the MX';

const exampleOf = (verb: MessageVerb): string =>
  `${verb} --domain example.net${verb === 'reroute' ? ' --to relay.example.com:2525' : ''}`;

interface VerbFlags extends AskFlags {
  readonly domain?: string;
  readonly tenant?: string;
  readonly campaign?: string;
  readonly note?: string;
  readonly to?: string;
  readonly endRests?: boolean;
  readonly dryRun?: boolean;
}

async function act(verb: MessageVerb, ids: readonly string[], flags: VerbFlags): Promise<void> {
  const { domain, tenant, campaign, note, to, endRests, dryRun = false } = flags;
  const body = {
    ...(ids.length === 0 ? {} : { ids }),
    domain,
    tenant,
    campaign,
    note,
    to,
    end_rests: endRests,
    dry_run: dryRun,
  };
  const path = `/v1/queue/${verb}`;
  const report = await ask<VerbReport>({ program: 'mta', path, body }, flags);
  if (flags.json === true) printJson(report);
  else process.stdout.write(reportText(report));
  if (report.matched === 0) process.exitCode = EXIT.failed;
}

function reportText({ verb, dryRun, matched, busy, done, more, ids }: VerbReport): string {
  const rows = [
    [dryRun ? `would ${verb}` : verb, `${dryRun ? matched - busy : done} recipients`],
    ['in hand', `${busy}, left alone`],
  ];
  if (more) rows.push(['more', 'call again for the rest']);
  return columns(rows) + ids.map((id) => `${id}\n`).join('');
}

async function show(id: string, flags: AskFlags): Promise<void> {
  const path = `/v1/messages/${encodeURIComponent(id)}/header`;
  const shown = await ask<ShownMessage>({ program: 'mta', path }, flags);
  if (flags.json === true) {
    printJson(shown);
    return;
  }
  const header = (shown.header ?? 'All of it is in hand.\n').split(/\r?\n/).map(printable);
  const now = Date.now();
  const rows = shown.recipients.map(({ id: own, address, receivedAtMs, wait }) => [
    own,
    printable(address),
    durationText((now - receivedAtMs) / 1000),
    printable(wait.text),
  ]);
  process.stdout.write(`${header.join('\n')}\n${columns(rows)}`);
}

interface SuspendFlags extends AskFlags {
  readonly scope?: SuspensionScope;
  readonly dryRun?: boolean;
}

/** Without a name: all delivery. */
async function toggle(
  verb: 'suspend' | 'resume',
  name: string | undefined,
  flags: SuspendFlags,
): Promise<void> {
  const { scope, dryRun = false } = flags;
  if ((name === undefined) !== (scope === undefined)) {
    throw new CommandFailed(EXIT.usage, 'give NAME and --scope together, or neither for all mail');
  }
  if (name === undefined) {
    const answer = dryRun
      ? { suspended: verb === 'suspend', dryRun }
      : await ask<object>({ program: 'mta', path: `/v1/delivery/${verb}`, body: {} }, flags);
    if (flags.json === true) printJson(answer);
    else process.stdout.write(`${dryRun ? 'would ' : ''}${verb} all delivery\n`);
    return;
  }
  const body = { scope, name, dry_run: dryRun };
  const path = `/v1/suspensions/${verb}`;
  const answer = await ask<SuspensionAnswer>({ program: 'mta', path, body }, flags);
  if (flags.json === true) printJson(answer);
  else {
    const rows = answer.suspensions.map((one) => [one.scope, printable(one.name)]);
    process.stdout.write(rows.length === 0 ? 'Nothing is suspended.\n' : columns(rows));
  }
}

interface RerouteFlags extends AskFlags {
  readonly scope: RerouteScope;
  readonly to: string;
  readonly dryRun?: boolean;
}

async function reroute(name: string, flags: RerouteFlags): Promise<void> {
  const { scope, to, dryRun = false } = flags;
  const body = { scope, name, to, dry_run: dryRun };
  const answer = await ask<RerouteAnswer>({ program: 'mta', path: '/v1/reroutes', body }, flags);
  if (flags.json === true) printJson(answer);
  else {
    const rows = answer.reroutes.map((one) => [one.scope, printable(one.name), one.to]);
    process.stdout.write(rows.length === 0 ? 'Nothing is rerouted.\n' : columns(rows));
  }
}
