/**
 * The mta's counters, plain numbers on the hot path, and their Prometheus form, made when asked for.
 * No label takes a value from outside: series do not grow with domains.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import type { FeedbackCounters } from './feedback.ts';
import type { ReportCounters } from './report/tls/reporter.ts';
import type { SiteStatus } from './running.ts';
import type { SigningCounters } from './sign/signer.ts';
import type { ConnectionCounters } from './smtp/connection.ts';
import type { SpoolCounts } from './spool/spool.ts';

/** Recipients, since start. received + bounces sent = delivered + bounced + expired + taken + still queued. */
export interface DeliveryCounters {
  received: number;
  delivered: number;
  deferred: number;
  bounced: number;
  expired: number;
  /** For our own domains, and read here. */
  taken: number;
}

export const newDeliveryCounters = (): DeliveryCounters => ({
  received: 0,
  delivered: 0,
  deferred: 0,
  bounced: 0,
  expired: 0,
  taken: 0,
});

export interface MetricSources {
  readonly delivery: DeliveryCounters;
  readonly sessions: ConnectionCounters;
  /** Refusals by reason; keys are ours. */
  refusals(): Readonly<Record<string, number>>;
  /** Octets of content taken in. */
  octetsReceived(): number;
  /** Lookups asked of the resolver, by type. */
  dnsQueries(): ReadonlyMap<string, number>;
  /** Attempts put off, by cause; keys are ours. */
  causes(): ReadonlyMap<string, number>;
  readonly signing: SigningCounters;
  readonly tlsReports: ReportCounters;
  feedback(): FeedbackCounters;
  counts(): Promise<SpoolCounts>;
  connectionsOpen(): number;
  sites(): readonly SiteStatus[];
  heldDomains(): number;
  /** Of the oldest message in the spool; 0 without one. */
  oldestSeconds(): Promise<number>;
  /** Left on the disk of the spool; NaN when that cannot be told. */
  spoolFreeBytes(): Promise<number>;
  /** Of events that wait for the webhook that is furthest behind. */
  eventsBehindBytes(): number;
}

const OUTCOMES = ['received', 'delivered', 'deferred', 'bounced', 'expired', 'taken'] as const;

export function mtaMetrics(sources: MetricSources): Registry {
  const registry = new Registry();
  const registers = [registry];
  counter(
    'messages_total',
    'Recipients by outcome; deferred counts attempts.',
    ['outcome'],
    (set) => {
      for (const outcome of OUTCOMES) set({ outcome }, sources.delivery[outcome]);
    },
  );
  counter('deferrals_total', 'Attempts put off, by cause.', ['reason'], (set) => {
    for (const [reason, count] of sources.causes()) set({ reason }, count);
  });
  counter('refusals_total', 'Mail not taken at intake, by reason.', ['reason'], (set) => {
    for (const [reason, count] of Object.entries(sources.refusals())) set({ reason }, count);
  });
  counter('received_bytes_total', 'Content of mail taken.', [], (set) => {
    set({}, sources.octetsReceived());
  });
  counter('connections_total', 'Sessions opened to MX hosts, by TLS handshake.', ['tls'], (set) => {
    const { readyFull, readyResumed, readyClear } = sources.sessions;
    set({ tls: 'full' }, readyFull);
    set({ tls: 'resumed' }, readyResumed);
    set({ tls: 'none' }, readyClear);
  });
  counter('connection_failures_total', 'Attempts that have not become a session.', [], (set) => {
    const { attempted, readyFull, readyResumed, readyClear } = sources.sessions;
    set({}, Math.max(0, attempted - readyFull - readyResumed - readyClear));
  });
  counter('dns_queries_total', 'Lookups asked of the resolver.', ['type'], (set) => {
    for (const [type, count] of sources.dnsQueries()) set({ type }, count);
  });
  counter('dkim_signatures_total', 'Signatures made.', ['algorithm'], (set) => {
    for (const [algorithm, count] of Object.entries(sources.signing.signatures)) {
      set({ algorithm }, count);
    }
  });
  counter('dkim_failures_total', 'Messages not taken, for want of a signature.', [], (set) => {
    set({}, sources.signing.failures);
  });
  counter(
    'tls_reports_total',
    'TLS reports (RFC 8460), and failed attempts.',
    ['outcome'],
    (set) => {
      for (const [outcome, count] of Object.entries(sources.tlsReports)) set({ outcome }, count);
    },
  );
  counter(
    'feedback_total',
    'What came back to our domains, and recipients suppressed.',
    ['kind'],
    (set) => {
      const { bounceReports, complaints, unrecognised, suppressed } = sources.feedback();
      set({ kind: 'bounce-report' }, bounceReports);
      set({ kind: 'complaint' }, complaints);
      set({ kind: 'unrecognised' }, unrecognised);
      set({ kind: 'suppressed' }, suppressed);
    },
  );
  gauge(
    'dns_queries_per_delivery',
    'Lookups asked since start, by message delivered.',
    [],
    (set) => {
      let queries = 0;
      for (const count of sources.dnsQueries().values()) queries += count;
      set({}, queries / Math.max(1, sources.delivery.delivered));
    },
  );
  counter('sent_ahead_total', 'Transactions sent ahead of consent, see CHUNKING.', [], (set) => {
    set({}, sources.sessions.sentAhead);
  });
  gauge('connections_open', 'Connections to MX hosts now.', [], (set) => {
    set({}, sources.connectionsOpen());
  });
  gauge('sites', 'Sites with work or connections now, and those held.', ['state'], (set) => {
    const sites = sources.sites();
    set({ state: 'active' }, sites.length);
    set({ state: 'held' }, sites.filter(({ hold }) => hold !== null).length);
  });
  gauge('held_domains', 'Domains that wait for DNS.', [], (set) => set({}, sources.heldDomains()));
  gauge('queue_messages', 'Recipients in the spool.', ['state'], async (set) => {
    const { queued, leased, quarantined } = await sources.counts();
    set({ state: 'queued' }, queued);
    set({ state: 'leased' }, leased);
    set({ state: 'quarantined' }, quarantined);
  });
  gauge('queue_oldest_seconds', 'Age of the oldest message in the spool.', [], async (set) => {
    set({}, await sources.oldestSeconds());
  });
  gauge('spool_free_bytes', 'Left on the disk of the spool.', [], async (set) => {
    set({}, await sources.spoolFreeBytes());
  });
  gauge(
    'events_behind_bytes',
    'Events that wait for the webhook that is furthest behind.',
    [],
    (set) => set({}, sources.eventsBehindBytes()),
  );
  return registry;

  type Labels = Partial<Record<string, string>>;
  type Set = (labels: Labels, value: number) => void;

  function counter(
    name: string,
    help: string,
    labelNames: string[],
    read: (set: Set) => void,
  ): void {
    new Counter({
      name: `postilion_mta_${name}`,
      help,
      labelNames,
      registers,
      collect() {
        this.reset();
        read((labels, value) => this.inc(labels, value));
      },
    });
  }

  function gauge(
    name: string,
    help: string,
    labelNames: string[],
    read: (set: Set) => void | Promise<void>,
  ): void {
    new Gauge({
      name: `postilion_mta_${name}`,
      help,
      labelNames,
      registers,
      async collect() {
        await read((labels, value) => this.set(labels, value));
      },
    });
  }
}
