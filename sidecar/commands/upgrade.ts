/** `upgrade`: has the running `up` replace its programs by what is on the disk, and waits for the outcome. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { CommandFailed, EXIT } from '../exit.ts';
import type { UpgradeStatus } from '../protocol.ts';
import { type AskFlags, ask } from './ask.ts';
import { printable, printJson } from './print.ts';

interface UpgradeFlags extends AskFlags {
  readonly wait: boolean;
}

interface Answer {
  readonly upgrade: UpgradeStatus | null;
}

const POLL_MS = 250;
/** While one program hands its address to the next nobody may answer for a while. */
const SILENCE_MS_MAX = 60_000;

export function addUpgradeCommand(root: Command): void {
  root
    .command('upgrade')
    .description('start the version and configuration on the disk in place of those that run')
    .option('--config <FILE>', 'TOML file that names the addresses')
    .option('--admin <ADDRESS:PORT>', "the resolver's admin address")
    .option('--no-wait', 'do not wait for the outcome')
    .option('--json', 'machine-readable')
    .addHelpText(
      'after',
      `
Exit codes: ${EXIT.ok} upgraded, ${EXIT.failed} not upgraded and the old version goes on, ${EXIT.usage} bad usage, ${EXIT.notRunning} nothing running answers.

Example:
  postilion upgrade --config /etc/postilion/postilion.toml`,
    )
    .action(upgrade);
}

async function upgrade(flags: UpgradeFlags): Promise<void> {
  const path = '/v1/upgrade';
  const before = (await ask<Answer>({ program: 'resolver', path }, flags)).upgrade?.number ?? 0;
  await ask<Answer>({ program: 'resolver', path, body: {} }, flags);
  if (!flags.wait) return;
  const outcome = await outcomeAfter(before, flags);
  if (flags.json === true) printJson(outcome);
  else process.stdout.write(`${upgradeText(outcome)}\n`);
  if (outcome.state !== 'done') process.exitCode = EXIT.failed;
}

async function outcomeAfter(before: number, flags: UpgradeFlags): Promise<UpgradeStatus> {
  let shown = '';
  for (let silentSinceMs = performance.now(); ; await sleep(POLL_MS)) {
    try {
      const { upgrade: now } = await ask<Answer>(
        { program: 'resolver', path: '/v1/upgrade' },
        flags,
      );
      silentSinceMs = performance.now();
      // One under way is waited for, whoever began it.
      if (now === null || (now.number <= before && now.endedAtMs !== null)) continue;
      if (now.endedAtMs !== null) return now;
      if (now.state !== shown && flags.json !== true) process.stderr.write(`${now.state} …\n`);
      shown = now.state;
    } catch (error) {
      const isSilence = error instanceof CommandFailed && error.exitCode === EXIT.notRunning;
      if (!isSilence || performance.now() - silentSinceMs > SILENCE_MS_MAX) throw error;
    }
  }
}

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

/** One line: how an upgrade goes, or went. */
export function upgradeText(upgrade: UpgradeStatus): string {
  const { state, from, to, reason, finishMs, openMs } = upgrade;
  const what = to === null || to === from ? from : `${from} → ${to}`;
  switch (state) {
    case 'done':
      return `upgraded, ${what}: the old mta finished in ${seconds(finishMs ?? 0)}, the new one began in ${seconds(openMs ?? 0)}`;
    case 'refused':
      return `not upgraded, nothing was changed: ${printable(reason ?? '')}`;
    case 'rolled-back':
      return `not upgraded, the old version goes on: ${printable(reason ?? '')}`;
    default:
      return `an upgrade is under way, ${what}: ${state}`;
  }
}
