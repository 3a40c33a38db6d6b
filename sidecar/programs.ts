/** Each program joined with its HTTP: what `up`'s children and the single commands run. */
import { hostname } from 'node:os';
import type { FastifyInstance } from 'fastify';
import { systemClock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { cryptoRandom } from '../runtime/random.ts';
import { type Endpoint, formatEndpoint } from '../runtime/settings.ts';
import { listenAt } from './admin/server.ts';
import { reachable } from './config/checks.ts';
import type { Config } from './config/schema.ts';
import type { Addresses, ProgramName } from './protocol.ts';

export interface RunningProgram {
  readonly addresses: Addresses;
  /** HTTP stays up while the program finishes its work, so that it can be watched. */
  stop(): Promise<void>;
}

/** @throws what the program throws when it cannot start; then nothing of it is left running */
export function startProgram(name: ProgramName, config: Config, log: Log): Promise<RunningProgram> {
  return name === 'resolver' ? runResolver(config, log) : runMta(config, log);
}

async function runResolver(config: Config, log: Log): Promise<RunningProgram> {
  const [{ startResolver }, { createResolverAdmin }] = await Promise.all([
    import('../resolver/main.ts'),
    import('./admin/resolver.ts'),
  ]);
  const resolver = await startResolver(config.resolver, ambient(log));
  const admin = createResolverAdmin(resolver, {
    log,
    hostnames: [hostname()],
    allow: config.resolver.allow,
    startedAtMs: Date.now(),
  });
  const http = await serve(admin, config.resolver.admin, resolver);
  return {
    addresses: { dns: resolver.endpoints.map(formatEndpoint), smtp: [], http },
    stop: () => stopBoth(resolver, admin),
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
    stop: () => stopBoth(mta, admin),
  };
}

const ambient = (log: Log) => ({ clock: systemClock(), random: cryptoRandom(), log });

interface Stoppable {
  stop(): Promise<void>;
}

async function serve(admin: FastifyInstance, at: Endpoint, program: Stoppable): Promise<string> {
  try {
    return formatEndpoint(await listenAt(admin, at));
  } catch (error) {
    await program.stop();
    throw error;
  }
}

async function stopBoth(program: Stoppable, admin: FastifyInstance): Promise<void> {
  await program.stop();
  await admin.close();
}
