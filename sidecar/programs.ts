/** Each program joined with its HTTP: what `up`'s children and the single commands run. */
import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import type { HandedSocket } from '../resolver/sockets.ts';
import { systemClock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { cryptoRandom } from '../runtime/random.ts';
import { type Endpoint, formatEndpoint } from '../runtime/settings.ts';
import { listenAt } from './admin/server.ts';
import { reachable } from './config/checks.ts';
import type { Config } from './config/schema.ts';
import type { Addresses, ProgramName } from './protocol.ts';
import { startFailure } from './start-failure.ts';

export interface RunningProgram {
  readonly addresses: Addresses;
  /**
   * Reads the configuration again and takes it over as a whole, or not at all; says in the log which.
   * Idempotent; never rejects.
   */
  reload(): Promise<void>;
  /** HTTP stays up while the program finishes its work, so that it can be watched. */
  stop(): Promise<void>;
}

/** @throws what the program throws when it cannot start; then nothing of it is left running */
export interface StartContext {
  readonly log: Log;
  /** Reads the configuration once more; throws ConfigInvalid. */
  readonly load: () => Config;
  /** Bound for us by whoever started us; empty when it will not start others on them. */
  readonly sockets: readonly HandedSocket[];
}

export function startProgram(
  name: ProgramName,
  config: Config,
  context: StartContext,
): Promise<RunningProgram> {
  return name === 'resolver' ? runResolver(config, context) : runMta(config, context.log);
}

async function runResolver(
  config: Config,
  { log, load, sockets }: StartContext,
): Promise<RunningProgram> {
  const [{ startResolver }, { createResolverAdmin }] = await Promise.all([
    import('../resolver/main.ts'),
    import('./admin/resolver.ts'),
  ]);
  const resolver = await startResolver(config.resolver, { ...ambient(log), sockets });
  const isHanded = sockets.length > 0;
  const reload = async (): Promise<readonly string[]> => resolver.reload(load().resolver);
  const admin = createResolverAdmin(resolver, {
    reload,
    log,
    hostnames: [hostname()],
    allow: config.resolver.allow,
    startedAtMs: Date.now(),
  });
  // Who replaces us starts before we end.
  const http = await serve(admin, config.resolver.admin, resolver, isHanded);
  return {
    addresses: { dns: resolver.endpoints.map(formatEndpoint), smtp: [], http },
    async reload() {
      await reload().catch((error: unknown) => {
        log.error({ reason: startFailure(error) }, 'configuration not reloaded; nothing changed');
      });
    },
    async stop() {
      if (isHanded) await resolver.drain();
      await stopBoth(resolver, admin);
    },
  };
}

async function runMta(config: Config, log: Log): Promise<RunningProgram> {
  const [{ startMta }, { createMtaAdmin }] = await Promise.all([
    import('../mta/main.ts'),
    import('./admin/mta.ts'),
  ]);
  const mta = await startMta(config.mta, ambient(log));
  const admin = createMtaAdmin(mta, {
    log,
    hostnames: [hostname(), config.mta.hostname],
    allow: config.mta.allow,
    startedAtMs: Date.now(),
    resolverAdmin: formatEndpoint(reachable(config.resolver.admin)),
  });
  const http = await serve(admin, config.mta.http, mta);
  return {
    addresses: { dns: [], smtp: mta.endpoints.map(formatEndpoint), http },
    async reload() {
      mta.reopenEvents();
      log.warn({}, 'file of events reopened; the mta takes no configuration while it runs');
    },
    stop: () => stopBoth(mta, admin),
  };
}

const ambient = (log: Log) => ({ clock: systemClock(), random: cryptoRandom(), log });

interface Stoppable {
  stop(): Promise<void>;
}

async function serve(
  admin: FastifyInstance,
  at: Endpoint,
  program: Stoppable,
  reusePort = false,
): Promise<string> {
  try {
    return formatEndpoint(await listenAt(admin, at, reusePort));
  } catch (error) {
    await program.stop();
    throw error;
  }
}

async function stopBoth(program: Stoppable, admin: FastifyInstance): Promise<void> {
  await program.stop();
  await admin.close();
}
