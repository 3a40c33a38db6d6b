/** `up`, `resolver` and `mta`: programs in the foreground until a signal. */
import type { Command } from 'commander';
import { activatedSockets } from '../../runtime/activation.ts';
import { systemClock } from '../../runtime/clock.ts';
import { HandedSockets } from '../../runtime/handed-sockets.ts';
import { type Loaded, type LoadRequest, loadConfig } from '../config/load.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { greet } from '../greeting.ts';
import { createLog, logUncaught } from '../log.ts';
import { planOf } from '../plan.ts';
import type { ProgramName } from '../protocol.ts';
import { outliveReaders } from '../readers.ts';
import { ownRelease } from '../release.ts';
import { hangupReloads, stopSignal } from '../signals.ts';
import { startFailure } from '../start-failure.ts';
import { VERSION } from '../version.ts';
import {
  addConfigFlags,
  type ConfigFlags,
  MTA_FLAGS,
  overridesOf,
  RESOLVER_FLAGS,
} from './flags.ts';

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
  outliveReaders();
  const [{ Supervisor }, { SocketShelf }, { specsOf, succeed }] = await Promise.all([
    import('../supervisor.ts'),
    import('../shelf.ts'),
    import('../succession.ts'),
  ]);
  const log = createLog('postilion', config.log.level);
  logUncaught(log);
  const clock = systemClock();
  const shelf = await SocketShelf.open(log);
  const { specs, settle } = specsOf(planOf(config, raw), ownRelease(), { request, shelf });
  settle(true);
  const supervisor = new Supervisor(specs, {
    version: VERSION,
    succeed: () => succeed(process.argv[1]!, request, { shelf, clock }),
    clock,
    log,
  });
  const onHangup = hangupReloads() ? () => supervisor.reload() : null;
  const signalled = stopSignal(() => supervisor.kill(), onHangup);
  process.on('SIGUSR2', () => void supervisor.upgrade());
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
  shelf.close();
}

async function runAlone(
  name: ProgramName,
  { config, raw, file, warnings, request }: Start,
): Promise<void> {
  process.title = `postilion ${name}`;
  outliveReaders();
  const { prepareProgram } = await import('../programs.ts');
  const log = createLog(name, config.log.level);
  logUncaught(log);
  const load = () => loadConfig(request);
  const sockets = new HandedSockets(activatedSockets());
  const context = { log, raw, load, supervision: null };
  const started = prepareProgram(name, config, context).then((program) => program.start(sockets));
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
