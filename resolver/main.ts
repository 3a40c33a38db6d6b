/**
 * Puts the resolver together and starts it. What it yields is data for the sidecar, which owns HTTP,
 * signals and the process.
 */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import type { Endpoint } from '../runtime/settings.ts';
import { TimerWheel } from '../runtime/timer-wheel.ts';
import { AnswerTable } from './cache/answer-table.ts';
import { Popularity } from './cache/popularity.ts';
import { SnapshotFile } from './cache/snapshot-file.ts';
import { CacheStore } from './cache/store.ts';
import type { ResolverConfig } from './config.ts';
import { Counters } from './counters.ts';
import { Deadlines } from './deadlines.ts';
import { UpstreamLoop } from './errors.ts';
import { Events } from './events.ts';
import { describeEntry, domainKey, explainDomain } from './explain.ts';
import { Listeners } from './listen/listeners.ts';
import { createMetrics } from './metrics.ts';
import { isOurselves, parseNameservers } from './resolv-conf.ts';
import type { FlushScope, ResolverDeps, RunningResolver, WarmReport } from './running.ts';
import { Service } from './service.ts';
import { plainUpstream, type UpstreamAddress } from './upstream/address.ts';
import { assembleGroups } from './upstream/assemble.ts';
import { AutoBudget } from './upstream/auto-budget.ts';
import { Forwarder } from './upstream/forward.ts';
import { systemSignals } from './upstream/signals.ts';
import type { Upstream } from './upstream/upstream.ts';
import { upstreamSettings } from './upstream-settings.ts';
import { warmKey } from './warm.ts';

const RESOLV_CONF = '/etc/resolv.conf';

/** One part in this many of the cache is for the copies that fronts serve. */
const TABLE_SHARE = 3;

/**
 * @throws ListenFailed when an address cannot be bound; what was bound before is closed
 * @throws UpstreamLoop when a configured upstream is one of our own listeners
 */
export async function startResolver(
  config: ResolverConfig,
  deps: ResolverDeps,
): Promise<RunningResolver> {
  const { clock, random, log } = deps;
  const wheel = new TimerWheel(clock);
  const settings = upstreamSettings(config, chooseUpstreams(config, deps));
  const table =
    config.fronts === 0 || config.rate_limit > 0 || config.require_cookies
      ? null
      : new AnswerTable(config.cache.bytes / TABLE_SHARE, random.integer(2 ** 32));
  const cacheBytes = config.cache.bytes - (table?.octets ?? 0);
  const cache = new CacheStore(cacheBytes, { table, seed: random.integer(2 ** 32) });
  const counters = new Counters();
  const events = new Events();
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
  const { upstreams } = forwarder;
  const autoBudget = config.budget === 'auto' ? startAutoBudget(forwarder, deps) : null;
  const service = new Service({
    config,
    cache,
    counters,
    clock,
    wheel,
    forwarder,
    random,
    log,
    events,
  });
  const { attendants } = service;
  const popularity =
    table === null
      ? null
      : new Popularity(cache, clock, (key, hits) => {
          attendants.onHit(key);
          attendants.ledger.countLookup(key, 'answer', hits);
        });
  const snapshot = openSnapshot(config, { ...deps, cache, wheel });
  const listeners = new Listeners();
  const parts = { config, service, counters, clock, wheel, log, table };
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    await listeners.close();
    service.inFlight.stop();
    autoBudget?.stop();
    popularity?.stop();
    forwarder.stop();
    await snapshot?.stop();
    wheel.stop();
  };
  try {
    await listeners.open(parts);
  } catch (error) {
    await stop();
    throw error;
  }
  snapshot?.start();
  const sources = { counters, cache, service, forwarder, upstreams, autoBudget, snapshot };
  return {
    endpoints: listeners.endpoints,
    encrypted: listeners.encrypted,
    metrics: createMetrics(sources),
    ready: () => whyNotReady(forwarder.groups[0]!.routes.map(({ upstream }) => upstream)),
    explain: (domain) => explainDomain(domain, { ...sources, nowMs: clock.monotonicMs() }),
    cacheDump: (limit) =>
      [...cache.dump(limit)].map(([key, entry]) => describeEntry(key, entry, clock.monotonicMs())),
    flush: (scope) => {
      snapshot?.onFlushed();
      return flush(cache, scope) + flush(attendants.dnsbl.cache, scope);
    },
    top: (limit, order) => attendants.ledger.top(limit, order),
    warm: (lines) => warm(service, lines),
    subscribe: (listener) => events.subscribe(listener),
    stop: () => (stopped ??= stop()),
  };
}

function openSnapshot(
  config: ResolverConfig,
  parts: ResolverDeps & { readonly cache: CacheStore; readonly wheel: TimerWheel },
): SnapshotFile | null {
  if (config.snapshot === '') return null;
  const { snapshot: file, snapshot_every: everyMs, stale: staleMs } = config;
  return new SnapshotFile({ ...parts, file, everyMs, staleMs });
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

function whyNotReady(upstreams: readonly Upstream[]): string | null {
  if (upstreams.length === 0) return 'no upstream is known; set resolver.upstreams';
  if (upstreams.some(({ up }) => up)) return null;
  const reasons = upstreams.map(({ name, lastFailure }) => `${name}: ${lastFailure ?? 'down'}`);
  return `no upstream answers (${reasons.join('; ')})`;
}

function warm({ attendants }: Service, lines: readonly string[]): WarmReport {
  const keys = lines.map(warmKey);
  const accepted = keys.filter((key) => key !== null && attendants.queue.add(key, 'warm')).length;
  const malformed = keys.filter((key) => key === null).length;
  return { accepted, malformed, refused: lines.length - accepted - malformed };
}

function flush(cache: CacheStore, scope: FlushScope): number {
  if ('all' in scope) return cache.flushAll();
  const key = domainKey('name' in scope ? scope.name : scope.suffix);
  if (key === null) return 0;
  return 'name' in scope ? cache.flushName(key) : cache.flushSuffix(key);
}
