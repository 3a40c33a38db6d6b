/** Each program joined with its HTTP: what `up`'s children and the single commands run. */
import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { systemClock } from '../runtime/clock.ts';
import type { HandedSockets } from '../runtime/handed-sockets.ts';
import type { Log } from '../runtime/log.ts';
import { cryptoRandom } from '../runtime/random.ts';
import { type Endpoint, formatEndpoint } from '../runtime/settings.ts';
import type { Reloaded } from './admin/reload.ts';
import { listenAt } from './admin/server.ts';
import type { Supervision } from './admin/upgrade.ts';
import { asksOwnResolver, reachable } from './config/checks.ts';
import { differences } from './config/difference.ts';
import type { Loaded } from './config/load.ts';
import type { Config, RawConfig } from './config/schema.ts';
import type { Addresses, ProgramName } from './protocol.ts';
import { RecoveryListener } from './recovery-listener.ts';
import { startFailure } from './start-failure.ts';

/** HTTP requests under way get so long when the program is handed over. */
const REQUESTS_MS_MAX = 3_000;
/** And SMTP transactions: a client that is cut has no reply, and sends again. */
const TRANSACTIONS_MS_MAX = 5_000;
/** A client that has just connected gets so long to begin: a few round trips. */
const LAST_ORDERS_MS = 1_000;

export interface RunningProgram {
  readonly addresses: Addresses;
  /**
   * Reads the configuration again and takes it over as a whole, or not at all; says in the log which.
   * Idempotent; never rejects.
   */
  reload(): Promise<void>;
  /** Leaves on the disk what a successor can use; never rejects. */
  save(): Promise<void>;
  /** Like {@link stop}, for a successor that works already or waits for it: nothing is refused meanwhile. */
  handOver(): Promise<void>;
  /** HTTP stays up while the program finishes its work, so that it can be watched. */
  stop(): Promise<void>;
}

export interface StartContext {
  readonly log: Log;
  /** As it was written; {@link load} gives it anew. */
  readonly raw: RawConfig;
  /** Reads the configuration once more; throws ConfigInvalid. */
  readonly load: () => Pick<Loaded, 'config' | 'raw'>;
  /** Who can replace us; null when nobody does. */
  readonly supervision: Supervision | null;
}

/** Its code is loaded, and all of the configuration that needs neither sockets nor files of others. */
export interface PreparedProgram {
  /** @throws what the program throws when it cannot start; then nothing of it is left running */
  start(sockets: HandedSockets): Promise<RunningProgram>;
}

/**
 * Prepares a program, which takes the better part of a start.
 *
 * @throws what is wrong with the configuration, as far as it shows by now
 */
export function prepareProgram(
  name: ProgramName,
  config: Config,
  context: StartContext,
): Promise<PreparedProgram> {
  return name === 'resolver' ? prepareForDns(config, context) : prepareForMail(config, context);
}

async function prepareForDns(config: Config, context: StartContext): Promise<PreparedProgram> {
  const { log, supervision } = context;
  const [{ prepareResolver }, { createResolverAdmin }] = await Promise.all([
    import('../resolver/main.ts'),
    import('./admin/resolver.ts'),
  ]);
  const { resolver, listen } = await prepareResolver(config.resolver, ambient(log));
  const reload = reloader(context, (next) => resolver.reload(next.resolver));
  const admin = createResolverAdmin(resolver, {
    reload,
    log,
    hostnames: [hostname()],
    allow: config.resolver.allow,
    startedAtMs: Date.now(),
    clock: systemClock(),
    token: config.admin.token,
    hostname: hostname(),
    mtaAdmin: formatEndpoint(reachable(config.mta.http)),
    supervision,
  });
  await admin.ready();
  return {
    async start(sockets) {
      const isShared = sockets.left.length > 0;
      // DNS comes last: from its first query on the core has nothing else to do.
      const http = await serve(admin, config.resolver.admin, resolver, sockets);
      await listen(sockets).catch(async (error: unknown) => {
        await admin.close();
        throw error;
      });
      for (const { protocol, endpoint } of sockets.left) {
        const fields = { protocol, listen: formatEndpoint(endpoint) };
        log.warn(fields, 'a socket was handed to us that nothing in the configuration names');
      }
      return {
        addresses: { dns: resolver.endpoints.map(formatEndpoint), smtp: [], http },
        async reload() {
          await reload().catch((error: unknown) => notReloaded(error, log));
        },
        save: () => resolver.saveSnapshot(),
        async handOver() {
          await resolver.leaveSnapshot();
          await resolver.drain();
          await resolver.stop();
          await closeWithin(REQUESTS_MS_MAX, admin);
        },
        async stop() {
          if (isShared) await resolver.drain();
          await stopBoth(resolver, admin);
        },
      };
    },
  };
}

async function prepareForMail(config: Config, context: StartContext): Promise<PreparedProgram> {
  const { log, supervision } = context;
  const [{ prepareMta }, { createMtaAdmin }] = await Promise.all([
    import('../mta/main.ts'),
    import('./admin/mta.ts'),
  ]);
  const prepared = await prepareMta(config.mta, ambient(log));
  return {
    async start(sockets) {
      const mta = await prepared.start(sockets);
      const reload = reloader(context, async (next) => mta.reload(next.mta));
      const resolverAdmin = formatEndpoint(reachable(config.resolver.admin));
      const admin = createMtaAdmin(mta, {
        log,
        hostnames: [hostname(), config.mta.hostname],
        allow: mta.allow,
        reload,
        startedAtMs: Date.now(),
        clock: systemClock(),
        token: config.admin.token,
        hostname: config.mta.hostname === '' ? hostname() : config.mta.hostname,
        resolverAdmin,
        supervision,
      });
      const http = await serve(admin, config.mta.http, mta, sockets);
      const recovery = new RecoveryListener({
        address: resolverAdmin,
        clock: systemClock(),
        log,
        recovered: (name) => mta.dnsRecovered(name),
      });
      if (asksOwnResolver(config)) recovery.start();
      return {
        addresses: { dns: [], smtp: mta.endpoints.map(formatEndpoint), http },
        async reload() {
          mta.reopenEvents();
          await reload().catch((error: unknown) => notReloaded(error, log));
        },
        save: async () => undefined,
        async handOver() {
          recovery.stop();
          // Mail is taken for as long as it can be: what waits longest is done first.
          await mta.finishDelivery();
          await closeWithin(REQUESTS_MS_MAX, admin);
          await mta.stop({
            transactionsMs: Math.min(TRANSACTIONS_MS_MAX, config.mta.drain),
            lastOrdersMs: LAST_ORDERS_MS,
          });
        },
        async stop() {
          recovery.stop();
          await stopBoth(mta, admin);
        },
      };
    },
  };
}

/** Of both programs, and read at their start alone. */
const SHARED_FIXED = /^(?:log|admin)\./;

/**
 * @param take gives a configuration to the program, which throws and changes nothing where it cannot take it
 * @returns reads the configuration again and has it taken
 */
function reloader(
  { raw, load, log }: Pick<StartContext, 'raw' | 'load' | 'log'>,
  take: (config: Config) => Promise<readonly string[]>,
): () => Promise<Reloaded> {
  let inForce = raw;
  return async () => {
    const next = load();
    const difference = differences(inForce, next.raw);
    const fixed = difference.filter((line) => SHARED_FIXED.test(line));
    if (fixed.length > 0) throw new SharedSettingFixed(fixed.map((line) => line.split(':', 1)[0]!));
    const changed = await take(next.config);
    inForce = next.raw;
    log.info({ changed, difference }, 'configuration reloaded');
    return { changed, difference };
  };
}

/** A setting of both programs has changed, so nothing was taken over. */
class SharedSettingFixed extends Error {
  override readonly name = 'SharedSettingFixed';
  readonly code = 'SIDECAR_RELOAD_REFUSED';
  constructor(keys: readonly string[]) {
    super(
      `nothing was changed: ${keys.join(', ')} cannot change while it runs; "postilion upgrade" takes it over`,
    );
  }
}

function notReloaded(error: unknown, log: Log): void {
  log.error({ reason: startFailure(error) }, 'configuration not reloaded; nothing changed');
}

const ambient = (log: Log) => ({ clock: systemClock(), random: cryptoRandom(), log });

interface Stoppable {
  stop(): Promise<void>;
}

async function serve(
  admin: FastifyInstance,
  at: Endpoint,
  program: Stoppable,
  sockets: HandedSockets,
): Promise<string> {
  try {
    return formatEndpoint(await listenAt(admin, at, sockets.take('tcp', at)));
  } catch (error) {
    await program.stop();
    throw error;
  }
}

async function stopBoth(program: Stoppable, admin: FastifyInstance): Promise<void> {
  await program.stop();
  await admin.close();
}

/** Serves what it has, then hangs up on those that stay. */
async function closeWithin(waitMs: number, admin: FastifyInstance): Promise<void> {
  const patience = setTimeout(() => admin.server.closeAllConnections(), waitMs);
  await admin.close();
  clearTimeout(patience);
}
