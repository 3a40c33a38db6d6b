/**
 * Series `postilion_dns_*`, read from the plain counters when somebody scrapes. No label takes its
 * values from clients.
 */
import { Histogram, type MetricObjectWithValues, type Registry } from 'prom-client';
import { addAttendants } from './attendant-metrics.ts';
import { addAutoBudget, addBudgets } from './budget-metrics.ts';
import type { SnapshotFile } from './cache/snapshot-file.ts';
import type { CacheStore } from './cache/store.ts';
import {
  ANSWER_SECONDS_BOUNDS,
  type Counters,
  DROPS,
  SOURCES,
  TRANSPORTS,
  TYPE_LABELS,
} from './counters.ts';
import { addCounter, addGauge, type Sample } from './metric-kinds.ts';
import type { Service } from './service.ts';
import type { AutoBudget } from './upstream/auto-budget.ts';
import type { Forwarder } from './upstream/forward.ts';
import type { Upstream } from './upstream/upstream.ts';
import { rcodeName } from './wire/constants.ts';

export interface MetricsSources {
  readonly snapshot: SnapshotFile | null;
  readonly counters: Counters;
  readonly cache: CacheStore;
  readonly service: Service;
  readonly forwarder: Forwarder;
  readonly autoBudget: AutoBudget | null;
}

/** Writes every series anew, as after a change of upstreams. */
export function fillMetrics(registry: Registry, sources: MetricsSources): void {
  registry.clear();
  addServing(registry, sources);
  addUpstreams(registry, sources.forwarder);
  addBudgets(registry, sources.forwarder);
  if (sources.autoBudget !== null) addAutoBudget(registry, sources.autoBudget);
  addState(registry, sources);
  addAttendants(registry, sources.service.attendants);
}

function addServing(registry: Registry, { counters }: MetricsSources): void {
  addCounter(registry, 'queries', 'Queries received.', ['type', 'transport'], () => {
    counters.gather();
    return TRANSPORTS.flatMap((transport, index) =>
      TYPE_LABELS.map(
        (type, label): Sample => [[type, transport], counters.queries[index]![label]!],
      ).filter(([, value]) => value > 0),
    );
  });
  addCounter(registry, 'answers', 'Responses sent, by where they came from.', ['source'], () => {
    counters.gather();
    return SOURCES.map((source) => [[source], counters.answers[source]]);
  });
  addCounter(
    registry,
    'packets_avoided',
    'Exchanges with upstreams that were not needed, by what answered in their place.',
    ['by'],
    () => [
      [['cache'], counters.answers.hot + counters.answers.cache],
      [['coalesced'], counters.answers.coalesced],
      [['local'], counters.answers.local],
    ],
  );
  addCounter(
    registry,
    'front_batches',
    'Batches of queries that fronts received, each with one system call, and answered with one.',
    [],
    () => {
      counters.gather();
      return [[[], counters.batches]];
    },
  );
  addCounter(registry, 'responses', 'Responses sent, by RCODE.', ['rcode'], () => {
    counters.gather();
    return [...counters.rcodes.entries()]
      .filter(([, value]) => value > 0)
      .map(([rcode, value]): Sample => [[rcodeName(rcode)], value]);
  });
  addCounter(registry, 'drops', 'Queries and connections given up unanswered.', ['reason'], () => {
    counters.gather();
    return DROPS.map((reason) => [[reason], counters.drops[reason]]);
  });
  registry.registerMetric(new AnswerSeconds(counters));
}

function addUpstreams(registry: Registry, { upstreams }: Forwarder): void {
  const perUpstream = (name: string, help: string, value: (upstream: Upstream) => number): void =>
    addCounter(registry, name, help, ['upstream'], () =>
      upstreams.map((upstream) => [[upstream.name], value(upstream)]),
    );
  addCounter(
    registry,
    'upstream_packets',
    'Packets to and from upstreams: UDP datagrams, and TCP segments as estimated.',
    ['upstream', 'direction'],
    () =>
      upstreams.flatMap((upstream): Sample[] => [
        [[upstream.name, 'sent'], upstream.packetsSent],
        [[upstream.name, 'received'], upstream.packetsReceived],
      ]),
  );
  perUpstream('upstream_responses', 'Responses accepted.', ({ responses }) => responses);
  perUpstream('upstream_timeouts', 'Times that no response came in time.', (it) => it.timeouts);
  perUpstream(
    'upstream_mismatches',
    'Datagrams that matched no question of ours: wrong ID, question or form.',
    ({ datagramsMismatched }) => datagramsMismatched,
  );
  perUpstream('upstream_late', 'Responses that came too late.', (it) => it.responsesLate);
  addGauge(registry, 'upstream_up', '1 while the upstream answers.', ['upstream'], () =>
    upstreams.map(({ name, up }) => [[name], up ? 1 : 0]),
  );
  addGauge(registry, 'upstream_rtt_seconds', 'Smoothed round trip.', ['upstream'], () =>
    upstreams
      .filter(({ rttMs }) => rttMs !== null)
      .map(({ name, rttMs }): Sample => [[name], rttMs! / 1000]),
  );
  addGauge(
    registry,
    'upstream_rtt_p95_seconds',
    '95th percentile of the last round trips.',
    ['upstream'],
    () =>
      upstreams
        .filter(({ latency }) => latency.p95Ms !== null)
        .map(({ name, latency }): Sample => [[name], latency.p95Ms! / 1000]),
  );
  addGauge(
    registry,
    'upstream_cookies',
    '1 while the upstream speaks DNS cookies (RFC 7873).',
    ['upstream'],
    () => upstreams.map(({ name, cookies }): Sample => [[name], cookies?.established ? 1 : 0]),
  );
  addGauge(
    registry,
    'upstream_success_ratio',
    'Smoothed share of questions answered in time.',
    ['upstream'],
    () => upstreams.map(({ name, success }): Sample => [[name], success]),
  );
}

function addState(registry: Registry, { cache, service, snapshot }: MetricsSources): void {
  const { inFlight } = service;
  const single = (name: string, help: string, value: () => number): void =>
    addGauge(registry, name, help, [], () => [[[], value()]]);
  single('cache_bytes', 'Memory of cached responses and their keys.', () => cache.bytes);
  single('cache_entries', 'Cached responses, failures included.', () => cache.entries);
  addCounter(registry, 'cache_evictions', 'Cached responses given up for want of room.', [], () => [
    [[], cache.evicted],
  ]);
  addCounter(
    registry,
    'nxdomain_cuts',
    'Questions answered from the denial of a name above.',
    [],
    () => [[[], cache.cuts?.usedTotal ?? 0]],
  );
  addGauge(
    registry,
    'snapshot_entries',
    'Responses read from the snapshot at the start, and written to it last.',
    ['direction'],
    () =>
      snapshot === null
        ? []
        : [
            [['loaded'], snapshot.entriesLoaded],
            [['saved'], snapshot.entriesSaved],
          ],
  );
  single('in_flight', 'Distinct questions under way at upstreams.', () => inFlight.size);
  single('waiting', 'Queries that wait for an upstream.', () => inFlight.waiters);
}

const SECONDS_NAME = 'postilion_dns_answer_seconds';
const SECONDS_HELP = 'From the arrival of a query to its response.';

/** A histogram whose buckets were counted elsewhere; prom-client's own would be asked per answer. */
class AnswerSeconds extends Histogram<'le'> {
  readonly #counters: Counters;

  constructor(counters: Counters) {
    super({ name: SECONDS_NAME, help: SECONDS_HELP, registers: [] });
    this.#counters = counters;
  }

  override async get(): ReturnType<Histogram<'le'>['get']> {
    return this.#read();
  }

  /** What the registry asks for in place of get(), where there is one. */
  async getForPromString(): ReturnType<Histogram<'le'>['get']> {
    return this.#read();
  }

  #read(): MetricObjectWithValues<Value> {
    this.#counters.gather();
    const { answerBuckets, answerSecondsSum } = this.#counters;
    const values: Value[] = [];
    let count = 0;
    for (const [index, bound] of [...ANSWER_SECONDS_BOUNDS, '+Inf'].entries()) {
      count += answerBuckets[index]!;
      values.push({ metricName: `${SECONDS_NAME}_bucket`, labels: { le: bound }, value: count });
    }
    values.push({ metricName: `${SECONDS_NAME}_sum`, labels: {}, value: answerSecondsSum });
    values.push({ metricName: `${SECONDS_NAME}_count`, labels: {}, value: count });
    // The typings call the type a number; what is printed is this word.
    const shape = { name: SECONDS_NAME, help: SECONDS_HELP, type: 'histogram', aggregator: 'sum' };
    return { ...shape, values } as unknown as MetricObjectWithValues<Value>;
  }
}

type Value = Awaited<ReturnType<Histogram<'le'>['get']>>['values'][number];
