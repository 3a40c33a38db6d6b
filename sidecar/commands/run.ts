/** `resolver`: in the foreground until a signal. */
import type { Command } from 'commander';
import { type Loaded, loadConfig } from '../config/load.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { greet } from '../greeting.ts';
import { createLog } from '../log.ts';
import { stopSignal } from '../signals.ts';
import { startFailure } from '../start-failure.ts';
import { addConfigFlags, type ConfigFlags, overridesOf, RESOLVER_FLAGS } from './flags.ts';

export function addRunCommands(root: Command): void {
  addConfigFlags(root.command('resolver'), RESOLVER_FLAGS)
    .description('run the caching DNS resolver alone')
    .addHelpText(
      'after',
      '\nExample:\n  postilion resolver --listen 127.0.0.1:5335 --upstream 192.0.2.53 --admin 127.0.0.1:8053',
    )
    .action((flags: ConfigFlags) => runAlone(load(flags)));
}

const load = (flags: ConfigFlags): Loaded =>
  loadConfig({
    file: flags.config ?? null,
    overrides: overridesOf(flags, RESOLVER_FLAGS),
    role: 'resolver',
  });

async function runAlone({ config, file, warnings }: Loaded): Promise<void> {
  process.title = 'postilion resolver';
  const { runResolver } = await import('../programs.ts');
  const log = createLog('resolver', config.log.level);
  const signalled = stopSignal(() => undefined);
  const running = await runResolver(config, log).catch((error: unknown) => {
    throw new CommandFailed(EXIT.failed, `resolver: ${startFailure(error)}`);
  });
  const addresses = new Map([['resolver', running.addresses]] as const);
  const readyMs = performance.now();
  process.stdout.write(`${greet({ addresses, file, readyMs, warnings })}\n`);
  await held(signalled);
  await running.stop();
}

/** setInterval's own ceiling. */
const HOLD_MS = 2_147_483_647;

/** Keeps the process alive until then: while both children are down, nothing else would. */
async function held<T>(until: Promise<T>): Promise<T> {
  const hold = setInterval(() => undefined, HOLD_MS);
  const value = await until;
  clearInterval(hold);
  return value;
}
