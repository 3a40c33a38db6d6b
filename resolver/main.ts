import { Registry } from 'prom-client';
import type { Clock } from '../runtime/clock.ts';
import type { HandedSockets } from '../runtime/handed-sockets.ts';
import { TimerWheel } from '../runtime/timer-wheel.ts';
import { AnswerTable } from './cache/answer-table.ts';
import { parseKey } from './cache/key.ts';
import { NxdomainCuts } from './cache/nxdomain-cut.ts';
import { Popularity } from './cache/popularity.ts';
import { SnapshotFile, type SnapshotOptions } from './cache/snapshot-file.ts';
import { CacheStore } from './cache/store.ts';
import type { ResolverConfig } from './config.ts';
import { Counters } from './counters.ts';
import { Events } from './events.ts';
import { describeEntry, describeUpstream, domainKey, explainDomain } from './explain.ts';
import { closeGeneration, type Generation, openGeneration } from './generation.ts';
import { Listeners } from './listen/listeners.ts';
import { LocalNames } from './local-names.ts';
import { fillMetrics } from './metrics.ts';
import { changesBetween } from './reload.ts';
import type { FlushScope, ResolverDeps, RunningResolver, WarmReport } from './running.ts';
import { Service } from './service.ts';
import type { Upstream } from './upstream/upstream.ts';
import { warmKey } from './warm.ts';
import { typeNumber } from './wire/constants.ts';

const DRAIN_LOOK_MS = 20;
/** Exchanges of upstreams that were replaced have ended by their deadline; their timers a little later. */
const RETIRE_MARGIN_MS = 1_000;
/** How long a start waits for its snapshot at most: some 100,000 responses are read meanwhile. */
const SNAPSHOT_HEAD_START_MS = 500;

/** One part in this many of the cache is for the copies that fronts serve. */
const TABLE_SHARE = 3;

/** Does all but answer. */
export interface PreparedResolver {
  /** Without endpoints until {@link listen}. */
  readonly resolver: RunningResolver;
  /** @throws ListenFailed when an address cannot be bound; then the resolver is stopped */
  listen(sockets?: HandedSockets): Promise<void>;
}

/**
 * @throws ListenFailed when an address cannot be bound; what was bound before is closed
 * @throws UpstreamLoop when a configured upstream is one of our own listeners
 */
export async function startResolver(
  config: ResolverConfig,
  deps: ResolverDeps,
): Promise<RunningResolver> {
  const { resolver, listen } = await prepareResolver(config, deps);
  await listen(deps.sockets);
  return resolver;
}

/**
 * Everything that takes time comes before the first query: whoever shares the sockets answers meanwhile.
 *
 * @throws UpstreamLoop when a configured upstream is one of our own listeners
 */
export async function prepareResolver(
  config: ResolverConfig,
  deps: ResolverDeps,
): Promise<PreparedResolver> {
  const { clock, random, log } = deps;
  const wheel = new TimerWheel(clock);
  const table =
    config.fronts === 0 || config.rate_limit > 0 || config.require_cookies
      ? null
      : new AnswerTable(config.cache.bytes / TABLE_SHARE, random.integer(2 ** 32));
  const cacheBytes = config.cache.bytes - (table?.octets ?? 0);
  const cuts = config.cache.nxdomain_cut ? new NxdomainCuts() : null;
  const cache = new CacheStore(cacheBytes, { table, cuts, seed: random.integer(2 ** 32) });
  const counters = new Counters();
  const events = new Events();
  const parts = { ...deps, wheel, cache, events };
  let generation = await openGeneration(config, parts);
  const retired = new Set<Generation>();
  const service = new Service({
    config,
    cache,
    counters,
    clock,
    wheel,
    forwarder: generation.forwarder,
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
          service.onServed(key, cache.peek(key, 'answer'), clock.monotonicMs());
          attendants.ledger.countLookup(key, 'answer', hits);
        });
  const snapshot = openSnapshot(config, {
    ...deps,
    cache,
    wheel,
    accepts: (key) => !service.localNames.owns(parseKey(key).name),
  });
  const listeners = new Listeners();
  const listen = async (sockets?: HandedSockets): Promise<void> => {
    const listenParts = { config, service, counters, clock, wheel, log, table };
    try {
      await listeners.open({ ...listenParts, handed: sockets ?? null });
    } catch (error) {
      // Whoever has the address may have the file too.
      await snapshot?.leave();
      await stop();
      throw error;
    }
  };
  let reloading: Promise<readonly string[]> = Promise.resolve([]);
  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    await listeners.close();
    service.inFlight.stop();
    popularity?.stop();
    for (const old of [...retired, generation]) closeGeneration(old);
    await snapshot?.stop();
    wheel.stop();
  };
  // Whoever asks while it is read asks upstream: so the first to ask wait a moment for it.
  await snapshot?.start(SNAPSHOT_HEAD_START_MS);
  const registry = new Registry();
  const sources = () => ({
    counters,
    cache,
    service,
    snapshot,
    autoBudget: generation.autoBudget,
    forwarder: generation.forwarder,
    upstreams: generation.forwarder.upstreams,
  });
  fillMetrics(registry, sources());
  const reload = async (next: ResolverConfig): Promise<readonly string[]> => {
    const { keys, needsForwarder } = changesBetween(generation.config, next);
    const localNames = new LocalNames(next);
    const old = generation;
    const successor = needsForwarder ? await openGeneration(next, parts) : { ...old, config: next };
    generation = successor;
    service.reconfigure(next, successor.forwarder, localNames);
    // What is answered here by now must not be answered from what was cached before.
    cache.flushWhere((key) => localNames.owns(parseKey(key).name));
    if (needsForwarder) {
      fillMetrics(registry, sources());
      retired.add(old);
      clock.after(old.forwarder.deadlineMs + RETIRE_MARGIN_MS, () => {
        if (retired.delete(old)) closeGeneration(old);
      });
    }
    if (keys.length > 0) events.publish({ event: 'reloaded', changed: keys });
    return keys;
  };
  /** Each is compared with what is in force when its turn comes. */
  const reloadInTurn = async (next: ResolverConfig): Promise<readonly string[]> => {
    await reloading.catch(() => []);
    return reload(next);
  };
  const resolver: RunningResolver = {
    endpoints: listeners.endpoints,
    encrypted: listeners.encrypted,
    metrics: registry,
    ready: () =>
      whyNotReady(generation.forwarder.groups[0]!.routes.map(({ upstream }) => upstream)),
    upstreams: () => generation.forwarder.upstreams.map(describeUpstream),
    explain: (domain) => explainDomain(domain, { ...sources(), nowMs: clock.monotonicMs() }),
    cacheDump: (limit) =>
      [...cache.dump(limit)].map(([key, entry]) => describeEntry(key, entry, clock.monotonicMs())),
    flush: (scope) => {
      snapshot?.onFlushed();
      return flush(cache, scope) + flush(attendants.dnsbl.cache, scope);
    },
    top: (limit, order) => attendants.ledger.top(limit, order),
    warm: (lines) => warm(service, lines),
    subscribe: (listener) => events.subscribe(listener),
    reload: (next) => (reloading = reloadInTurn(next)),
    drain: () => drain(listeners, service, clock),
    saveSnapshot: async () => snapshot?.saveNow(),
    leaveSnapshot: async () => snapshot?.leave(),
    stop: () => (stopped ??= stop()),
  };
  return { resolver, listen };
}

function openSnapshot(
  config: ResolverConfig,
  parts: ResolverDeps & Pick<SnapshotOptions, 'cache' | 'wheel' | 'accepts'>,
): SnapshotFile | null {
  if (config.snapshot === '') return null;
  const { snapshot: file, snapshot_every: everyMs, stale: staleMs } = config;
  return new SnapshotFile({ ...parts, file, everyMs, staleMs });
}

function whyNotReady(upstreams: readonly Upstream[]): string | null {
  if (upstreams.length === 0) return 'no upstream is known; set resolver.upstreams';
  if (upstreams.some(({ up }) => up)) return null;
  const reasons = upstreams.map(({ name, lastFailure }) => `${name}: ${lastFailure ?? 'down'}`);
  return `no upstream answers (${reasons.join('; ')})`;
}

/** @returns when no client waits, or none can any more */
async function drain(listeners: Listeners, { inFlight }: Service, clock: Clock): Promise<void> {
  await listeners.drain();
  const endsAtMs = clock.monotonicMs() + inFlight.deadlineMs;
  await new Promise<void>((resolve) => {
    const look = (): void => {
      if (inFlight.waiters === 0 || clock.monotonicMs() >= endsAtMs) resolve();
      else clock.after(DRAIN_LOOK_MS, look);
    };
    // What fronts have handed over is taken within a turn or two.
    clock.after(DRAIN_LOOK_MS, look);
  });
}

function warm({ attendants }: Service, lines: readonly string[]): WarmReport {
  const keys = lines.map(warmKey);
  const accepted = keys.filter((key) => key !== null && attendants.queue.add(key, 'warm')).length;
  const malformed = keys.filter((key) => key === null).length;
  return { accepted, malformed, refused: lines.length - accepted - malformed };
}

function flush(cache: CacheStore, scope: FlushScope): number {
  if ('all' in scope) return cache.flushAll();
  if ('type' in scope) return cache.flushType(typeNumber(scope.type) ?? 0);
  const key = domainKey('name' in scope ? scope.name : scope.suffix);
  if (key === null) return 0;
  return 'name' in scope ? cache.flushName(key) : cache.flushSuffix(key);
}
