/** `up`, `resolver` and `mta`: programs in the foreground until a signal. */
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { activatedSockets } from '../../runtime/activation.ts';
import { systemClock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { type Loaded, type LoadRequest, loadConfig } from '../config/load.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { greet } from '../greeting.ts';
import { socketsFor } from '../listening.ts';
import { createLog } from '../log.ts';
import type { ProgramName } from '../protocol.ts';
import { hangupReloads, stopSignal } from '../signals.ts';
import { startFailure } from '../start-failure.ts';
import type { ChildSpec } from '../supervised.ts';
import type { Supervisor } from '../supervisor.ts';
import {
  addConfigFlags,
  type ConfigFlags,
  MTA_FLAGS,
  overridesOf,
  RESOLVER_FLAGS,
} from './flags.ts';

const CHILD_MODULE = fileURLToPath(new URL('../child.ts', import.meta.url));
/** What a program needs beyond its own drain to close files and sockets. */
const STOP_MARGIN_MS = 5_000;

export function addRunCommands(root: Command): void {
  const joined = [...RESOLVER_FLAGS, ...MTA_FLAGS];
  addConfigFlags(root.command('up'), joined)
    .description('run resolver and mta together, supervised, until Ctrl-C')
    .addHelpText('after', '\nExample:\n  postilion up --config /etc/postilion/postilion.toml')
    .action((flags: ConfigFlags) => up(loadFor(flags, 'up', joined)));
  addConfigFlags(root.command('resolver'), RESOLVER_FLAGS)
    .description('run the caching DNS resolver alone')
    .addHelpText(
      'after',
      '\nExample:\n  postilion resolver --listen 127.0.0.1:5335 --upstream 192.0.2.53 --admin 127.0.0.1:8053',
    )
    .action((flags: ConfigFlags) =>
      runAlone('resolver', loadFor(flags, 'resolver', RESOLVER_FLAGS)),
    );
  addConfigFlags(root.command('mta'), MTA_FLAGS)
    .description('run the outbound mail server alone')
    .addHelpText(
      'after',
      '\nExample:\n  postilion mta --smtp 127.0.0.1:2525 --dns 127.0.0.1:5335 --spool /var/lib/postilion/spool',
    )
    .action((flags: ConfigFlags) => runAlone('mta', loadFor(flags, 'mta', MTA_FLAGS)));
}

type RunFlags = Parameters<typeof overridesOf>[1];

interface Start extends Loaded {
  /** How to read the same configuration again. */
  readonly request: LoadRequest;
}

function loadFor(flags: ConfigFlags, role: ProgramName | 'up', accepted: RunFlags): Start {
  const request = { file: flags.config ?? null, overrides: overridesOf(flags, accepted), role };
  return { ...loadConfig(request), request };
}

async function up({ config, raw, file, warnings, request }: Start): Promise<void> {
  process.title = 'postilion up';
  const { Supervisor } = await import('../supervisor.ts');
  const log = createLog('postilion', config.log.level);
  const handed = await socketsFor(config.resolver, log);
  const specs: readonly ChildSpec[] = [
    {
      name: 'mta',
      module: CHILD_MODULE,
      stopTimeoutMs: config.mta.drain + STOP_MARGIN_MS,
      request,
    },
    {
      name: 'resolver',
      module: CHILD_MODULE,
      stopTimeoutMs: config.resolver.deadline + STOP_MARGIN_MS,
      request,
      sockets: handed.sockets,
    },
  ];
  const supervisor = new Supervisor(specs, raw, systemClock(), log);
  const onHangup = hangupReloads() ? () => supervisor.reload() : null;
  const signalled = stopSignal(() => supervisor.kill(), onHangup);
  process.on('SIGUSR2', () => void replaceResolver(supervisor, request, log));
  const started = supervisor.start().catch((error: Error) => error);
  const first = await Promise.race([started, signalled]);
  if (first instanceof Error) throw new CommandFailed(EXIT.failed, first.message);
  if (typeof first !== 'string') {
    const readyMs = performance.now();
    process.stdout.write(`${greet({ addresses: first, file, readyMs, warnings })}\n`);
    await held(signalled);
    process.stdout.write('\nStopping: mail under way is finished first.\n');
  }
  await supervisor.stop();
  handed.close();
}

/** A planned restart, with the configuration as it is now; without one that works, nothing happens. */
async function replaceResolver(
  supervisor: Supervisor,
  request: LoadRequest,
  log: Log,
): Promise<void> {
  try {
    await supervisor.replace('resolver', loadConfig(request).raw);
    log.info({}, 'another resolver has taken over');
  } catch (error) {
    log.error({ reason: startFailure(error) }, 'the resolver was not replaced');
  }
}

async function runAlone(
  name: ProgramName,
  { config, file, warnings, request }: Start,
): Promise<void> {
  process.title = `postilion ${name}`;
  const { startProgram } = await import('../programs.ts');
  const log = createLog(name, config.log.level);
  const sockets = name === 'resolver' ? activatedSockets() : [];
  const load = () => loadConfig(request).config;
  const started = startProgram(name, config, { log, load, sockets });
  const onHangup = () => void started.then((program) => program.reload()).catch(() => undefined);
  const signalled = stopSignal(() => undefined, hangupReloads() ? onHangup : null);
  const running = await started.catch((error: unknown) => {
    throw new CommandFailed(EXIT.failed, `${name}: ${startFailure(error)}`);
  });
  const addresses = new Map([[name, running.addresses]]);
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
