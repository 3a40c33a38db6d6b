/** `drain`: no more mail is taken, what waits is delivered, and what remains is told with its reasons. */
import { type Command, InvalidArgumentError } from 'commander';
import type { MtaStatus, WaitingRecipient } from '../../mta/running.ts';
import { parseDuration } from '../../runtime/settings.ts';
import type { QueuePage } from '../admin/mta.ts';
import type { DrainAnswer } from '../admin/verbs.ts';
import { EXIT } from '../exit.ts';
import { type AskFlags, ask } from './ask.ts';
import { columns, printable, printJson } from './print.ts';

const POLL_MS = 500;
/** Recipients looked at for the reasons; of a longer queue these are the oldest. */
const LOOKED_AT_MAX = 1_000;

export function addDrainCommand(root: Command, withMta: (command: Command) => Command): void {
  withMta(root.command('drain'))
    .description('take no more mail, deliver what waits, and report what remains and why')
    .option('--within <DURATION>', 'how long to wait for it', durationMs, 60_000)
    .option('--dry-run', 'only say what waits')
    .addHelpText('after', '\nExample:\n  postilion drain --within 10m')
    .action(drain);
}

function durationMs(text: string): number {
  const milliseconds = parseDuration(text);
  if (milliseconds === null) throw new InvalidArgumentError('Write a duration such as "10m".');
  return milliseconds;
}

interface DrainFlags extends AskFlags {
  readonly within: number;
  readonly dryRun?: boolean;
}

/** What keeps some of what remains. */
interface Remainder {
  /** As in `why`. */
  readonly on: string;
  readonly recipients: number;
  /** Of the oldest. */
  readonly id: string;
  readonly text: string;
}

/** Exits with EXIT.failed when something remains. */
async function drain({ within, dryRun = false, ...flags }: DrainFlags): Promise<void> {
  const body = { dry_run: dryRun };
  const asked = await ask<DrainAnswer>({ program: 'mta', path: '/v1/drain', body }, flags);
  const deadlineMs = Date.now() + (dryRun ? 0 : within);
  let left: Pick<MtaStatus, 'messages' | 'queued' | 'leased'> = asked;
  while (left.messages > 0 && Date.now() < deadlineMs) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    left = await ask<MtaStatus>({ program: 'mta', path: '/v1/status' }, flags);
  }
  const { messages, queued, leased } = left;
  const remains = messages === 0 ? [] : await remainders(flags);
  if (flags.json === true) printJson({ dryRun, messages, queued, leased, remains });
  else process.stdout.write(messages === 0 ? 'Nothing remains.\n' : remainsText(left, remains));
  if (messages > 0 && !dryRun) process.exitCode = EXIT.failed;
}

/** The most first. */
async function remainders(flags: AskFlags): Promise<Remainder[]> {
  const path = `/v1/queue?limit=${LOOKED_AT_MAX}`;
  const { recipients } = await ask<QueuePage>({ program: 'mta', path }, flags);
  return [...Map.groupBy(recipients, ({ wait }: WaitingRecipient) => wait.on)]
    .map(([on, group]) => ({
      on,
      recipients: group.length,
      id: group[0]!.id,
      text: group[0]!.wait.text,
    }))
    .sort((one, other) => other.recipients - one.recipients);
}

function remainsText(
  { messages, queued, leased }: Pick<MtaStatus, 'messages' | 'queued' | 'leased'>,
  remains: readonly Remainder[],
): string {
  const rows = remains.map(({ on, recipients, id, text }) => [
    on,
    String(recipients),
    id,
    printable(text),
  ]);
  const head = `${messages} messages remain: ${queued} recipients queued, ${leased} in delivery. See them with: postilion queue list\n`;
  return head + columns([['WAITS FOR', 'RECIPIENTS', 'SUCH AS', 'WHY'], ...rows]);
}
