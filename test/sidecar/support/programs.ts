/** Programs that only remember what they were asked, for tests of what stands in front of them. */
import { Counter, Registry } from 'prom-client';
import type {
  QueueRequest,
  RouteSurvey,
  RunningMta,
  WaitingRecipient,
} from '../../../mta/running.ts';
import type { EventListener } from '../../../resolver/events.ts';
import type { LedgerLine } from '../../../resolver/ledger.ts';
import type { FlushScope, RunningResolver } from '../../../resolver/running.ts';
import { silentLog } from '../../../runtime/log.ts';
import { parseNetwork } from '../../../runtime/settings.ts';
import type { MtaAdminContext } from '../../../sidecar/admin/mta.ts';
import type { ResolverAdminContext } from '../../../sidecar/admin/resolver.ts';
import { ManualClock } from '../../support/clock.ts';

export const SCRIPT = '<script>alert(1)</script>';

const LEDGER_LINE: LedgerLine = {
  domain: `${SCRIPT}.example.`,
  lookups: 5,
  lookupsOver: 0,
  packets: 2,
  failures: 0,
  stale: 0,
  upstream: '192.0.2.53:53',
  rttMs: 1.5,
};

export const WAITING: WaitingRecipient = {
  id: '1hzk3v8q2m0.0',
  reversePath: 'a@example.net',
  address: `${SCRIPT}@example.org`,
  domain: 'example.org',
  octets: 1234,
  receivedAtMs: 1_700_000_000_000,
  attempts: 2,
  nextHop: null,
  limits: [{ name: 'connections', value: '20', source: 'default' }],
  wait: { on: 'retry', text: `450 \x1b[31m${SCRIPT}`, sinceMs: 1_700_000_000_000, untilMs: null },
  change: 'time',
};

export const SURVEY: RouteSurvey = {
  domain: 'example.org',
  verdict: 'route',
  text: 'mail goes to the MX hosts',
  enhanced: null,
  origin: 'mx',
  authenticated: true,
  stale: false,
  freshForMs: 90_000,
  site: {
    id: '1:25:opportunistic::mx1.example.net/mx2.example.net',
    alias: 'mx1.example.net+1~k3f9',
    port: 25,
    tls: 'opportunistic',
    dane: false,
  },
  limits: [
    { name: 'connections', value: '20', source: 'community limits of google' },
    { name: 'retry', value: '1m 5m', source: 'mta.delivery, mta.retry' },
  ],
  ranks: [
    [{ host: 'mx1.example.net', addresses: ['192.0.2.1', '2001:db8::1'], trouble: null }],
    [{ host: 'mx2.example.net', addresses: [], trouble: 'looking up mx2.example.net: SERVFAIL' }],
  ],
};

export const CONTEXT: MtaAdminContext & ResolverAdminContext = {
  reload: async () => ({ changed: ['resolver.bundles'], difference: [] }),
  log: silentLog,
  hostnames: ['mta.example.net'],
  allow: [parseNetwork('127.0.0.0/8')!],
  startedAtMs: 1_700_000_000_000,
  supervision: null,
  resolverAdmin: '127.0.0.1:1',
  mtaAdmin: '127.0.0.1:1',
  clock: new ManualClock(),
  token: '',
  hostname: 'mta.example.net',
};

export interface FakeResolver extends RunningResolver {
  readonly flushed: FlushScope[];
  readonly warmed: string[];
  readonly listeners: Set<EventListener>;
  unready: string | null;
}

export function fakeResolver(): FakeResolver {
  const metrics = new Registry();
  const answers = new Counter({
    name: 'postilion_dns_answers_total',
    help: 'Answers.',
    labelNames: ['source'],
    registers: [metrics],
  });
  answers.inc({ source: 'hot' }, 3);
  answers.inc({ source: 'upstream' }, 1);
  return {
    encrypted: [],
    endpoints: [{ address: '127.0.0.1', port: 5335 }],
    metrics,
    flushed: [],
    warmed: [],
    listeners: new Set(),
    top: (limit, order) => [{ ...LEDGER_LINE, [order]: 9 }].slice(0, limit),
    warm(lines) {
      this.warmed.push(...lines);
      return { accepted: lines.length, malformed: 0, refused: 0 };
    },
    subscribe(listener) {
      this.listeners.add(listener);
      return () => this.listeners.delete(listener);
    },
    unready: null,
    ready() {
      return this.unready;
    },
    upstreams: () => [],
    explain: (domain) => ({
      domain,
      cached: [],
      failures: [],
      inFlight: [],
      ledger: null,
      upstreams: [],
    }),
    cacheDump: (limit) =>
      Array.from({ length: Math.min(limit, 2) }, (_, index) => ({
        name: `${SCRIPT}${index}.example.`,
        type: 'MX',
        kind: 'answer' as const,
        dnssecOk: false,
        checkingDisabled: false,
        ageSeconds: 1,
        ttlSeconds: -5,
        octets: 100,
        upstream: null,
        records: [],
      })),
    flush(scope) {
      this.flushed.push(scope);
      return 7;
    },
    reload: async () => ['resolver.bundles'],
    drain: async () => undefined,
    saveSnapshot: async () => undefined,
    leaveSnapshot: async () => undefined,
    stop: async () => undefined,
  };
}

export interface FakeMta extends RunningMta {
  readonly asked: QueueRequest[];
  readonly verbs: string[];
}

export function fakeMta(): FakeMta {
  const asked: QueueRequest[] = [];
  const verbs: string[] = [];
  return {
    asked,
    verbs,
    endpoints: [{ address: '127.0.0.1', port: 2525 }],
    socketmap: null,
    allow: CONTEXT.allow,
    reload: () => ['mta.max_age'],
    suppressions: null,
    metrics: new Registry(),
    injection: async (server) => {
      server.setErrorHandler((_error, _request, reply) => reply.code(500).send({}));
      server.post('/v1/inject', async () => ({ accepted: true }));
    },
    ready: () => null,
    status: async () => ({
      hostname: 'mta.example.net',
      startedAtMs: 1_700_000_000_000,
      messages: 1,
      queued: 1,
      leased: 0,
      quarantined: 0,
      outcomes: { received: 1 },
      connections: 0,
      suspendedAtMs: null,
      suspensions: [],
      reroutes: [],
      draining: false,
      dnsQueries: 4,
      sites: [],
      heldDomains: [],
      troubles: [],
    }),
    changes: () => [],
    census: async () => ({ sites: [], isMore: false }),
    site: () => null,
    why: async ({ message }) => (message === 1_234_567_890 ? [WAITING] : []),
    async queue(request) {
      asked.push(request);
      return [WAITING];
    },
    show: async () => ({ recipients: [WAITING], header: 'Subject: s\r\n' }),
    async operate(verb, selection, { dryRun, note, to, endRests }) {
      const hop = to === undefined ? '' : ` to ${to}`;
      verbs.push(
        `${verb} ${JSON.stringify(selection)} ${dryRun} ${note}${hop}${endRests === true ? ' ending rests' : ''}`,
      );
      return {
        verb,
        dryRun,
        matched: 1,
        busy: 0,
        done: dryRun ? 0 : 1,
        more: false,
        ids: [WAITING.id],
      };
    },
    dnsRecovered: (name) => void verbs.push(`recovered ${name}`),
    rerouteScope: (scope, name, to) => void verbs.push(`reroute ${scope} ${name} ${to}`),
    suspendScope: (scope, name) => void verbs.push(`suspend ${scope} ${name}`),
    resumeScope: (scope, name) => void verbs.push(`resume ${scope} ${name}`),
    reopenEvents: () => undefined,
    drain: () => void verbs.push('drain'),
    route: async (domain) => ({ ...SURVEY, domain }),
    suspend: () => void verbs.push('suspend'),
    resume: () => void verbs.push('resume'),
    finishDelivery: async () => undefined,
    stop: async () => undefined,
  };
}
