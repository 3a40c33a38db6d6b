/** What one program tells of itself at /v1/state: for its own dashboard, and for that of the other. */
import type { LimitChange, MtaStatus, RunningMta, WaitingRecipient } from '../../mta/running.ts';
import type { ResolverEvent } from '../../resolver/events.ts';
import type { LedgerLine } from '../../resolver/ledger.ts';
import type { RunningResolver, UpstreamState } from '../../resolver/running.ts';
import type { Clock } from '../../runtime/clock.ts';
import { formatEndpoint } from '../../runtime/settings.ts';
import { Figures } from '../admin/figures.ts';
import { VERSION } from '../version.ts';
import type { Sampler } from './sampler.ts';
import { type DnsSample, type MailSample, readDns, type SampledSite } from './samples.ts';

/** Samples that come along: rates are over these ten seconds. */
const RECENT = 11;
const TOP_DOMAINS = 10;
const TROUBLED_LOOK_MAX = 50;
const CHANGES_SHOWN = 50;
const WAITING_SHOWN = 25;
const WAITING_EVERY_MS = 3_000;
export const EVENTS_MAX = 50;

interface Part {
  readonly version: string;
  /** Wall ms. */
  readonly startedAtMs: number;
  /** null when it can do its work. */
  readonly unready: string | null;
}

export interface DnsPart extends Part {
  readonly program: 'resolver';
  /** The newest last; at most RECENT. */
  readonly samples: readonly DnsSample[];
  readonly listen: readonly string[];
  /** Since start, as in /metrics. */
  readonly totals: DnsSample;
  readonly cacheBytes: number;
  readonly cacheEntries: number;
  readonly failingNames: number;
  /** Queries given up unanswered since start, by reason. */
  readonly drops: Readonly<Record<string, number>>;
  readonly upstreams: readonly UpstreamState[];
  readonly busiest: readonly LedgerLine[];
  /** Domains that failed or were answered stale, the worst first. */
  readonly troubled: readonly LedgerLine[];
  /** The newest first. */
  readonly events: readonly TimedEvent[];
}

export type TimedEvent = ResolverEvent & { readonly atMs: number };

export interface MailPart extends Part, MtaStatus {
  readonly program: 'mta';
  readonly samples: readonly MailSample[];
  readonly listen: readonly string[];
  /** Where mail waited when it was last counted, the most first. */
  readonly loads: readonly SampledSite[];
  /** The newest first. */
  readonly changes: readonly LimitChange[];
  /** The oldest message first. */
  readonly waiting: readonly WaitingRecipient[];
}

const DNS_STATE_METRICS = [
  'postilion_dns_cache_bytes',
  'postilion_dns_cache_entries',
  'postilion_dns_failing_names',
  'postilion_dns_drops_total',
] as const;

export async function dnsPart(
  resolver: RunningResolver,
  sampler: Sampler<DnsSample>,
  startedAtMs: number,
  events: readonly TimedEvent[],
): Promise<DnsPart> {
  const figures = await Figures.of(resolver.metrics, DNS_STATE_METRICS);
  return {
    program: 'resolver',
    version: VERSION,
    startedAtMs,
    unready: resolver.ready(),
    samples: sampler.history.recent(RECENT),
    listen: resolver.endpoints.map(formatEndpoint),
    totals: await readDns(resolver.metrics, Date.now()),
    cacheBytes: figures.total('postilion_dns_cache_bytes'),
    cacheEntries: figures.total('postilion_dns_cache_entries'),
    failingNames: figures.total('postilion_dns_failing_names'),
    drops: figures.by('reason', 'postilion_dns_drops_total'),
    upstreams: resolver.upstreams(),
    busiest: resolver.top(TOP_DOMAINS, 'lookups'),
    troubled: troubled(resolver),
    events,
  };
}

const troubleOf = ({ failures, stale }: LedgerLine): number => failures + stale;

function troubled(resolver: RunningResolver): readonly LedgerLine[] {
  const lines = new Map<string, LedgerLine>();
  for (const order of ['failures', 'stale'] as const) {
    for (const line of resolver.top(TROUBLED_LOOK_MAX, order)) lines.set(line.domain, line);
  }
  return [...lines.values()]
    .filter((line) => troubleOf(line) > 0)
    .sort((one, other) => troubleOf(other) - troubleOf(one))
    .slice(0, TOP_DOMAINS);
}

/** The oldest mail that waits. A look at the queue costs the spool some work, so it is not one a second. */
export class OldestWaiting {
  readonly #mta: RunningMta;
  readonly #clock: Clock;
  #looked: {
    readonly atMs: number;
    readonly waiting: Promise<readonly WaitingRecipient[]>;
  } | null = null;

  constructor(mta: RunningMta, clock: Clock) {
    this.#mta = mta;
    this.#clock = clock;
  }

  /** Never rejects: a spool that cannot be read has a trouble that says so. */
  list(): Promise<readonly WaitingRecipient[]> {
    const nowMs = this.#clock.monotonicMs();
    if (this.#looked === null || nowMs - this.#looked.atMs >= WAITING_EVERY_MS) {
      const request = { domain: null, after: null, limit: WAITING_SHOWN };
      this.#looked = { atMs: nowMs, waiting: this.#mta.queue(request).catch(() => []) };
    }
    return this.#looked.waiting;
  }
}

export async function mailPart(
  mta: RunningMta,
  sampler: Sampler<MailSample>,
  oldest: OldestWaiting,
): Promise<MailPart> {
  const [status, waiting] = await Promise.all([mta.status(), oldest.list()]);
  return {
    ...status,
    program: 'mta',
    version: VERSION,
    unready: mta.ready(),
    samples: sampler.history.recent(RECENT),
    listen: mta.endpoints.map(formatEndpoint),
    loads: sampler.history.coarse.findLast(({ sites }) => sites !== undefined)?.sites ?? [],
    changes: mta.changes().slice(0, CHANGES_SHOWN),
    waiting,
  };
}
