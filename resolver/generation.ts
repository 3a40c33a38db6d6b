/**
 * What a change of upstreams replaces as a whole: the forwarder with its groups and sockets, and the
 * controller of its budget.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { Endpoint } from '../runtime/settings.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import type { CacheStore } from './cache/store.ts';
import type { ResolverConfig } from './config.ts';
import { Deadlines } from './deadlines.ts';
import { UpstreamLoop } from './errors.ts';
import type { Events } from './events.ts';
import { isOurselves, parseNameservers } from './resolv-conf.ts';
import type { ResolverDeps } from './running.ts';
import { plainUpstream, type UpstreamAddress } from './upstream/address.ts';
import { assembleGroups } from './upstream/assemble.ts';
import { AutoBudget } from './upstream/auto-budget.ts';
import { Forwarder } from './upstream/forward.ts';
import { systemSignals } from './upstream/signals.ts';
import { upstreamSettings } from './upstream-settings.ts';

const RESOLV_CONF = '/etc/resolv.conf';

export interface Generation {
  readonly config: ResolverConfig;
  readonly forwarder: Forwarder;
  /** null when the budget is a number. */
  readonly autoBudget: AutoBudget | null;
}

export interface GenerationParts extends ResolverDeps {
  readonly wheel: TimerWheel;
  readonly cache: CacheStore;
  readonly events: Events;
}

/** @throws UpstreamLoop when a configured upstream is one of our own listeners */
export async function openGeneration(
  config: ResolverConfig,
  parts: GenerationParts,
): Promise<Generation> {
  const { clock, random, log, wheel, cache, events } = parts;
  const settings = upstreamSettings(config, chooseUpstreams(config, parts));
  const forwarder = new Forwarder({
    ...(await assembleGroups(settings, { clock, random, wheel })),
    deadlineMs: new Deadlines(config.clients, config.deadline).longestMs,
    clock,
    random,
    wheel,
    onDown: (upstream) => {
      const { name, lastFailure: reason } = upstream;
      log.warn({ upstream: name, reason }, 'upstream is down');
      events.publish({ event: 'upstream-down', upstream: name, reason });
    },
    onReturned: (upstream) => {
      log.info({ upstream: upstream.name }, 'upstream answers again');
      events.publish({ event: 'upstream-up', upstream: upstream.name });
      // What failed for want of it shall not stay failed.
      cache.flushFailures();
    },
  });
  const autoBudget = config.budget === 'auto' ? startAutoBudget(forwarder, parts) : null;
  return { config, forwarder, autoBudget };
}

export function closeGeneration({ forwarder, autoBudget }: Generation): void {
  autoBudget?.stop();
  forwarder.stop();
}

const startAutoBudget = (forwarder: Forwarder, { log }: ResolverDeps): AutoBudget =>
  new AutoBudget({
    budget: forwarder.groups[0]!.budget,
    upstreams: forwarder.upstreams,
    read: systemSignals(),
    clock: forwarder.clock,
    wheel: forwarder.wheel,
    onCut: (reason, packetsPerSecond) => {
      log.warn({ reason, packetsPerSecond }, 'packets were lost: the budget is lowered');
    },
  });

function chooseUpstreams(
  config: ResolverConfig,
  { log }: ResolverDeps,
): readonly UpstreamAddress[] {
  const own = new Set(
    Object.values(networkInterfaces()).flatMap((addresses) =>
      (addresses ?? []).map(({ address }) => address),
    ),
  );
  if (config.upstreams.length > 0) {
    const all = [config, ...config.forward].flatMap((it) => [...it.upstreams, ...it.spill]);
    const loop = all.find((upstream) => isOurselves(upstream, config.listen, own));
    if (loop !== undefined) throw new UpstreamLoop(loop);
    return config.upstreams;
  }
  const found = systemNameservers()
    .filter((it) => !isOurselves(it, config.listen, own))
    .map(plainUpstream);
  if (found.length > 0) {
    log.info({ upstreams: found.map(({ text }) => text) }, `upstreams are those of ${RESOLV_CONF}`);
  } else {
    log.warn(
      {},
      `${RESOLV_CONF} names no other server: set resolver.upstreams; until then SERVFAIL`,
    );
  }
  return found;
}

/** @returns none when the file cannot be read, as on systems without it */
function systemNameservers(): Endpoint[] {
  try {
    return parseNameservers(readFileSync(RESOLV_CONF, 'utf8'));
  } catch {
    return [];
  }
}
