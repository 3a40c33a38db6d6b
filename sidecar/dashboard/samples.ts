/**
 * One reading of a program's counters, once a second, so that a page opened later has a past.
 *
 * Invariants: atMs is a whole second of wall time; counters are as they were, never differences, so
 * that a sample left out costs nothing but its own instant.
 */
import type { Registry } from 'prom-client';
import type { QueueCensus } from '../../mta/running.ts';
import { SOURCES, type Source } from '../../resolver/counters.ts';
import { Figures } from '../admin/figures.ts';

export interface DnsSample {
  readonly atMs: number;
  /** Responses sent since start, by {@link SOURCES}. */
  readonly answers: Readonly<Record<Source, number>>;
  readonly queries: number;
  /** Packets to upstreams since start. */
  readonly sent: number;
  /** Those of the main budget, its limit in packets/s (null without one), and what waits for it now. */
  readonly spent: number;
  readonly budget: number | null;
  readonly budgetWaiting: number;
  /** Packets that had to wait for the budget, and questions that failed for want of it, since start. */
  readonly budgetDelayed: number;
  readonly budgetRefused: number;
}

export interface MailSample {
  readonly atMs: number;
  /** Recipients since start; deferred counts attempts. */
  readonly received: number;
  readonly delivered: number;
  readonly deferred: number;
  readonly bounced: number;
  readonly expired: number;
  /** Attempts put off since start, by cause. */
  readonly causes: Readonly<Record<string, number>>;
  readonly queued: number;
  readonly leased: number;
  readonly connections: number;
  /** Sessions since start, by TLS handshake, and attempts that did not become one. */
  readonly full: number;
  readonly resumed: number;
  readonly clear: number;
  readonly failed: number;
  /** Lookups asked of the resolver since start. */
  readonly asked: number;
  /** Where mail waits, at most SITES_KEPT; only in samples for which it was counted. */
  readonly sites?: readonly SampledSite[];
}

export interface SampledSite {
  readonly alias: string;
  readonly recipients: number;
  /** Age of the oldest message. */
  readonly oldestSeconds: number;
}

/** Those with most mail; two hours of them are some 2 MB. */
const SITES_KEPT = 30;

const DNS_METRICS = [
  'postilion_dns_answers_total',
  'postilion_dns_queries_total',
  'postilion_dns_upstream_packets_total',
  'postilion_dns_budget_packets_per_second',
  'postilion_dns_budget_packets_total',
  'postilion_dns_budget_waiting',
  'postilion_dns_budget_delayed_total',
  'postilion_dns_budget_refused_total',
] as const;

export async function readDns(registry: Registry, atMs: number): Promise<DnsSample> {
  const figures = await Figures.of(registry, DNS_METRICS);
  const answers = figures.by('source', 'postilion_dns_answers_total');
  // The first group is the main one; zones with upstreams of their own come behind it.
  const limits = figures.by('group', 'postilion_dns_budget_packets_per_second');
  const [group = ''] = Object.keys(limits);
  const limit = limits[group] ?? Number.POSITIVE_INFINITY;
  return {
    atMs,
    answers: Object.fromEntries(
      SOURCES.map((source) => [source, answers[source] ?? 0]),
    ) as DnsSample['answers'],
    queries: figures.total('postilion_dns_queries_total'),
    sent: figures.by('direction', 'postilion_dns_upstream_packets_total').sent ?? 0,
    spent: figures.by('group', 'postilion_dns_budget_packets_total')[group] ?? 0,
    budget: Number.isFinite(limit) ? limit : null,
    budgetWaiting: figures.total('postilion_dns_budget_waiting'),
    budgetDelayed: figures.total('postilion_dns_budget_delayed_total'),
    budgetRefused: figures.total('postilion_dns_budget_refused_total'),
  };
}

const MAIL_METRICS = [
  'postilion_mta_messages_total',
  'postilion_mta_deferrals_total',
  'postilion_mta_queue_messages',
  'postilion_mta_connections_open',
  'postilion_mta_connections_total',
  'postilion_mta_connection_failures_total',
  'postilion_mta_dns_queries_total',
] as const;

/** @param census where mail waits, or null when it was not counted */
export async function readMail(
  registry: Registry,
  atMs: number,
  census: QueueCensus | null,
): Promise<MailSample> {
  const figures = await Figures.of(registry, MAIL_METRICS);
  const outcomes = figures.by('outcome', 'postilion_mta_messages_total');
  const queue = figures.by('state', 'postilion_mta_queue_messages');
  const sessions = figures.by('tls', 'postilion_mta_connections_total');
  return {
    atMs,
    received: outcomes.received ?? 0,
    delivered: outcomes.delivered ?? 0,
    deferred: outcomes.deferred ?? 0,
    bounced: outcomes.bounced ?? 0,
    expired: outcomes.expired ?? 0,
    causes: figures.by('reason', 'postilion_mta_deferrals_total'),
    queued: queue.queued ?? 0,
    leased: queue.leased ?? 0,
    connections: figures.total('postilion_mta_connections_open'),
    full: sessions.full ?? 0,
    resumed: sessions.resumed ?? 0,
    clear: sessions.none ?? 0,
    failed: figures.total('postilion_mta_connection_failures_total'),
    asked: figures.total('postilion_mta_dns_queries_total'),
    ...(census === null ? {} : { sites: sampledSites(census, atMs) }),
  };
}

/** Mail without a route is told of under the domains that DNS holds up. */
function sampledSites({ sites }: QueueCensus, atMs: number): SampledSite[] {
  const sampled: SampledSite[] = [];
  for (const { alias, recipients, oldestMs } of sites) {
    if (alias === null) continue;
    const oldestSeconds = Math.max(0, Math.round((atMs - oldestMs) / 1000));
    if (sampled.push({ alias, recipients, oldestSeconds }) === SITES_KEPT) break;
  }
  return sampled;
}
