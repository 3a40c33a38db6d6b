/** Puts the mta together and brings it up: spool, router, delivery, then the doors. */
import { readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { networkInterfaces, hostname as systemHostname } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import type { HandedSockets } from '../runtime/handed-sockets.ts';
import type { Endpoint } from '../runtime/settings.ts';
import type { MtaConfig } from './config.ts';
import { Suspensions } from './delivery/suspensions.ts';
import { Delivery } from './delivery.ts';
import { formatRecipientId } from './envelope.ts';
import { SpoolUnavailable } from './errors.ts';
import { createFeedback, type Feedback, ledgerSchema } from './feedback.ts';
import { parseMailbox } from './intake/address.ts';
import { injectionApi } from './intake/http.ts';
import { Intake } from './intake/intake.ts';
import { SmtpDoor } from './intake/smtp.ts';
import { mtaMetrics, newDeliveryCounters } from './metrics.ts';
import { formatNextHop, mailDomainOf } from './next-hop.ts';
import { Operator } from './operator.ts';
import { DnsClient } from './plan/dns.ts';
import type { Family } from './plan/hosts.ts';
import { ownEndpoints } from './plan/own.ts';
import { Reroutes } from './plan/reroutes.ts';
import { Router } from './plan/router.ts';
import { communityProviders, Shaping } from './plan/shaping.ts';
import { SocketmapDoor } from './plan/socketmap.ts';
import { StsPolicies } from './plan/sts.ts';
import { createStsClient, type StsFault } from './plan/sts-fetch.ts';
import { StsFile } from './plan/sts-store.ts';
import { survey } from './plan/survey.ts';
import { TransportMap } from './plan/transport-map.ts';
import { LiveConfig } from './reload.ts';
import { remedyOf } from './remedies.ts';
import { DsnWriter } from './report/dsn.ts';
import { Events } from './report/events.ts';
import { Ledger } from './report/ledger.ts';
import { EventOutlets } from './report/outlets.ts';
import {
  type ExplainedLimit,
  type MtaDeps,
  type MtaStatus,
  type QueueRequest,
  type RunningMta,
  STATUS_SITES_MAX,
  type StopBounds,
  type WaitingRecipient,
} from './running.ts';
import { Signer } from './sign/signer.ts';
import { type ConnectionCounters, newCounters, openConnection } from './smtp/connection.ts';
import { HostMemory } from './smtp/manners.ts';
import { createClientContext, TicketCache } from './smtp/tickets.ts';
import type { QueuedRecipient, Spool } from './spool/spool.ts';
import { prepareSqliteSpool } from './spool/sqlite-engine.ts';
import { createTlsReporting, type TlsReporting } from './tls-reports.ts';

/** In the spool's folder. */
const SUSPENSIONS_FILE = 'suspended.json';
const REROUTES_FILE = 'rerouted.json';
const LEDGER_FILE = 'ledger.sqlite';
/** How often intake learns how much waits; between, it adds what it takes. */
const PRESSURE_MS = 1_000;

/** Has what it needs but for spool and addresses, which another process may still have. */
export interface PreparedMta {
  /** @throws the system's error when an address cannot be bound */
  start(sockets?: HandedSockets): Promise<RunningMta>;
}

/** @throws the system's error when an address cannot be bound or a TLS file cannot be read */
export async function startMta(settings: MtaConfig, deps: MtaDeps): Promise<RunningMta> {
  return (await prepareMta(settings, deps)).start(deps.sockets);
}

/** @throws the system's error when a TLS file cannot be read, and what is wrong with keys that sign */
export async function prepareMta(settings: MtaConfig, deps: MtaDeps): Promise<PreparedMta> {
  const hostname = settings.hostname === '' ? systemHostname() : settings.hostname;
  const live = new LiveConfig({ ...settings, hostname });
  const { config } = live;
  const intakeContext = intakeTls(config);
  const { clock, log } = deps;
  const signer = await Signer.open(config, { clock, log });
  const spool = prepareSqliteSpool({
    folder: config.spool,
    reserveBytes: config.spool_reserve,
    clock,
    log,
    onLost: deps.onFatal,
  });
  return {
    start: async (sockets) => {
      const parts = { live, intakeContext, signer, spool: await spool.open() };
      return startPrepared(parts, sockets === undefined ? deps : { ...deps, sockets });
    },
  };
}

interface Prepared {
  /** With a hostname. */
  readonly live: LiveConfig;
  readonly intakeContext: SecureContext | null;
  readonly signer: Signer;
  readonly spool: Spool;
}

async function startPrepared(
  { live, intakeContext, signer, spool }: Prepared,
  deps: MtaDeps,
): Promise<RunningMta> {
  const { config } = live;
  const { hostname } = config;
  const { clock, log, random } = deps;
  const ledger = await openLedger();
  const dns = new DnsClient({ server: config.dns, clock, random });
  const sts = config.delivery.mta_sts
    ? await openSts(config, {
        clock,
        log,
        dns,
        onFault: (domain, fault) => tlsReporting?.onStsFault(domain, fault),
      })
    : null;
  const tlsReporting: TlsReporting | null = !config.tlsrpt.enabled
    ? null
    : createTlsReporting(config, deps, {
        ledger: ledger!,
        dns,
        extraCa: extraAuthorities(config),
        policyOf: (domain) => sts?.policies.inForce(domain) ?? null,
        isRerouted(domain) {
          const known = router.peek(domain);
          return known?.kind === 'route' && known.route.origin === 'operator';
        },
        accept: (submission) => delivery.accept(submission),
      });
  const sessions = newCounters();
  const outlets = await EventOutlets.open(config, { clock, log, random });
  const events = new Events(outlets.sink, clock);
  const feedback = createFeedback(config, deps, {
    ledger,
    events,
    flushed: () => outlets.flushed(),
  });
  const suspensions = new Suspensions(join(config.spool, SUSPENSIONS_FILE));
  const reroutes = new Reroutes(join(config.spool, REROUTES_FILE));
  const shaping = new Shaping(config, config.shaping.community ? communityProviders() : {});
  const router = makeRouter(config, deps, { dns, shaping, sts, tlsReporting, reroutes });
  const delivery = makeDelivery(config, deps, {
    spool,
    router,
    shaping,
    signer,
    sessions,
    events,
    suspensions,
    tlsReporting,
    feedback,
  });
  const operator = new Operator({ spool, dispatcher: delivery.dispatcher, clock });
  const intake = new Intake(config, {
    accept: (submission) => delivery.accept(submission),
    ownDomains: feedback.ownDomains,
    suppressions: feedback.suppressions,
    clock,
    random,
    log,
  });
  const door = new SmtpDoor(intake, intakeContext);
  const transport = new TransportMap({ router, clock, own: interfaceAddresses() });
  const maps = new SocketmapDoor({
    maps: { route: (key) => transport.lookUp(key) },
    allow: config.allow,
    clock,
    log,
  });
  try {
    return await open();
  } catch (error) {
    dns.close();
    await sts?.close();
    await tlsReporting?.close();
    await ledger?.close();
    await signer.close();
    await spool.close();
    throw error;
  }

  /** @returns null when nothing needs it */
  async function openLedger(): Promise<Ledger | null> {
    const schema = ledgerSchema(config);
    if (schema.length === 0) return null;
    try {
      return await Ledger.open({
        path: join(config.spool, LEDGER_FILE),
        schema,
        nowMs: clock.wallMs(),
        log,
      });
    } catch (error) {
      await signer.close();
      await spool.close();
      throw error;
    }
  }

  async function open(): Promise<RunningMta> {
    const startedAtMs = clock.wallMs();
    const endpoints = await door.listen(config.smtp, deps.sockets);
    const socketmap = await openSocketmap();
    delivery.start();
    tlsReporting?.start();
    measurePressure();
    let stopped: Promise<void> | null = null;
    return {
      endpoints,
      socketmap,
      allow: config.allow,
      metrics: mtaMetrics({
        delivery: delivery.counters,
        sessions,
        refusals: () => intake.counters.refused,
        octetsReceived: () => intake.counters.octets,
        dnsQueries: () => dns.counters().queries,
        causes: () => delivery.causes,
        signing: signer.counters,
        tlsReports: tlsReporting?.counters ?? NO_REPORTS,
        feedback: () => feedback.counters(),
        counts: () => counts(spool),
        connectionsOpen: () => delivery.connections,
        sites: () => delivery.sites(),
        heldDomains: () => delivery.heldCount,
        oldestSeconds: () => oldestSeconds(spool, clock.wallMs()),
        spoolFreeBytes: () => freeBytes(config.spool),
        eventsBehindBytes: () => outlets.behindOctets,
      }),
      injection: (fastify) => injectionApi(fastify, intake),
      ready: () => spool.trouble()?.text ?? (intake.draining ? 'draining: no mail is taken' : null),
      status: () => status(startedAtMs),
      changes: () => delivery.changes(),
      census: () => delivery.census(),
      site: (name) => delivery.site(name),
      async why({ message, index }) {
        const recipients = await spool.inspect(message);
        return recipients
          .filter((recipient) => index === null || recipient.index === index)
          .map(explained);
      },
      queue: async (request) => (await listed(request)).map(explained),
      route: (domain) => survey(router, shaping, domain, () => clock.monotonicMs()),
      suspend: () => delivery.suspend(),
      resume: () => delivery.resume(),
      async show(message) {
        const header = await operator.header(message);
        return { recipients: (await spool.inspect(message)).map(explained), header };
      },
      operate: (verb, selection, how) => operator.act(verb, selection, how),
      dnsRecovered: (name) =>
        delivery.dnsRecovered(name === null ? null : name.toLowerCase().replace(/\.$/, '')),
      rerouteScope(scope, name, to) {
        if (to === null) reroutes.remove(scope, name);
        else reroutes.put({ scope, name, to, sinceMs: clock.wallMs() });
        delivery.rerouted(scope, name);
      },
      suspendScope: (scope, name) => delivery.suspendScope(scope, name),
      resumeScope(scope, name) {
        delivery.resumeScope(scope, name);
        if (scope === 'campaign') void operator.takeUp(name).catch(logFailure);
      },
      suppressions: feedback.list,
      reopenEvents: () => outlets.reopen(),
      reload,
      drain() {
        intake.draining = true;
      },
      finishDelivery: () => delivery.stop(config.drain),
      stop: (bounds = { transactionsMs: config.drain, lastOrdersMs: 0 }) =>
        (stopped ??= stop(bounds)),
    };
  }

  function reload(given: MtaConfig): readonly string[] {
    const next = given.hostname === '' ? { ...given, hostname: systemHostname() } : given;
    const keys = live.compare(next);
    // What may fail comes first.
    const context = intakeTls(next);
    live.take(next);
    door.secureContext = context;
    intake.onReload();
    return keys;
  }

  function logFailure(error: unknown): void {
    log.error({ error }, 'mail of a resumed campaign was not taken up; resume it again');
  }

  /** @throws the system's error when its address cannot be bound; then nothing stays bound */
  async function openSocketmap(): Promise<Endpoint | null> {
    if (config.socketmap === '') return null;
    try {
      return await maps.listen(
        config.socketmap,
        deps.sockets?.take('tcp', config.socketmap) ?? null,
      );
    } catch (error) {
      await door.stop(0);
      throw error;
    }
  }

  /** Tells intake how much waits, for as long as we run. */
  function measurePressure(): void {
    clock.after(PRESSURE_MS, () => {
      if (intake.draining) return;
      void counts(spool).then(({ queued, leased }) => intake.pressure.noteQueued(queued + leased));
      intake.pressure.note('webhook_bytes', outlets.behindOctets / config.webhook_bytes);
      measurePressure();
    });
  }

  async function status(startedAtMs: number): Promise<MtaStatus> {
    const { delivered, received, deferred, bounced, expired } = delivery.counters;
    return {
      hostname,
      startedAtMs,
      ...(await counts(spool)),
      outcomes: { received, delivered, deferred, bounced, expired },
      connections: delivery.connections,
      suspendedAtMs: delivery.suspendedAtMs,
      suspensions: delivery.suspensions.slice(0, STATUS_SITES_MAX),
      reroutes: reroutes.list().slice(0, STATUS_SITES_MAX),
      draining: intake.draining,
      dnsQueries: [...dns.counters().queries.values()].reduce((sum, count) => sum + count, 0),
      sites: delivery.sites().slice(0, STATUS_SITES_MAX),
      heldDomains: delivery.heldDomains(STATUS_SITES_MAX),
      troubles: [
        ...troubles(spool, delivery, signer),
        ...outlets.troubles(),
        ...(ledger?.trouble == null ? [] : [ledger.trouble]),
      ],
    };
  }

  /** Of a domain, also what an operator sends elsewhere. */
  async function listed(request: QueueRequest): Promise<readonly QueuedRecipient[]> {
    if (request.domain === null) return spool.list(request);
    const keys = await operator.routedBy(request.domain);
    const lists = await Promise.all(keys.map((domain) => spool.list({ ...request, domain })));
    return lists
      .flat()
      .sort((one, other) => one.message - other.message || one.index - other.index)
      .slice(0, request.limit);
  }

  function limitsOf(domain: string): ExplainedLimit[] {
    const known = router.peek(domain);
    return known?.kind === 'route' ? shaping.explain(known.route.site, domain) : [];
  }

  /** The operator's choice for a recipient, its domain, or its site where that is known. */
  function nextHopText(domain: string): string | null {
    const chosen = reroutes.ofDomain(domain);
    if (chosen !== null) return formatNextHop(chosen);
    const known = router.peek(domain);
    if (known?.kind !== 'route' || known.route.origin !== 'operator') return null;
    const { ranks, port } = known.route.site;
    return formatNextHop({ host: ranks[0]![0]!, port });
  }

  function explained(recipient: QueuedRecipient): WaitingRecipient {
    const wait = delivery.explain(recipient);
    return {
      id: formatRecipientId(recipient),
      reversePath: recipient.reversePath,
      address: recipient.address,
      domain: mailDomainOf(recipient.domain),
      nextHop: nextHopText(recipient.domain),
      limits: limitsOf(recipient.domain),
      octets: recipient.contentOctets,
      receivedAtMs: recipient.receivedAtMs,
      attempts: recipient.attempts,
      wait,
      change: remedyOf(wait, recipient.reason.code),
    };
  }

  async function stop({ transactionsMs, lastOrdersMs }: StopBounds): Promise<void> {
    maps.stop();
    await Promise.all([door.stop(transactionsMs, lastOrdersMs), delivery.stop(transactionsMs)]);
    await tlsReporting?.close();
    dns.close();
    await sts?.close();
    await signer.close();
    await spool.close();
    await ledger?.close();
    await outlets.close();
  }
}

interface Parts {
  readonly spool: Spool;
  readonly router: Router;
  readonly shaping: Shaping;
  readonly signer: Signer;
  readonly sessions: ConnectionCounters;
  readonly events: Events;
  readonly suspensions: Suspensions;
  readonly tlsReporting: TlsReporting | null;
  readonly feedback: Feedback;
}

interface RouterNeeds {
  readonly dns: DnsClient;
  readonly shaping: Shaping;
  readonly sts: Sts | null;
  readonly reroutes: Reroutes;
  readonly tlsReporting: TlsReporting | null;
}

function makeRouter(
  config: MtaConfig,
  deps: MtaDeps,
  { dns, shaping, sts, tlsReporting, reroutes }: RouterNeeds,
): Router {
  const { hostname, smtp, delivery } = config;
  return new Router({
    dns,
    clock: deps.clock,
    random: deps.random,
    port: delivery.port,
    tls: delivery.tls,
    tlsOf: (domain, ranks) => shaping.tlsOf(domain, ranks),
    dane: delivery.dane,
    ...(sts === null ? {} : { findPolicy: (domain) => sts.policies.find(domain) }),
    onUnnamed: (domain, host, policy) => tlsReporting?.watch.unnamed(domain, host, policy),
    onTlsaFault: (domain, host, fault) => tlsReporting?.watch.tlsaFault(domain, host, fault),
    hostname,
    own: ownEndpoints(smtp, interfaceAddresses()),
    families: usableFamilies(),
    reroutes,
  });
}

function makeDelivery(config: MtaConfig, deps: MtaDeps, parts: Parts): Delivery {
  const { spool, router, shaping, signer, sessions, suspensions, tlsReporting } = parts;
  const { events, feedback } = parts;
  const { clock, log, random } = deps;
  const { hostname, delivery } = config;
  const dsn = new DsnWriter({
    hostname,
    clock,
    random,
    domainOf,
    doubleBounce: config.double_bounce,
  });
  const connection = {
    clock,
    tlsContext: createClientContext(
      delivery.tls_ca === '' ? '' : readFileSync(delivery.tls_ca, 'utf8'),
    ),
    tickets: new TicketCache(clock),
    hosts: new HostMemory(clock),
    counters: sessions,
    timeoutsMs: {
      connect: delivery.connect_timeout,
      greeting: delivery.command_timeout,
      ehlo: delivery.command_timeout,
      mail: delivery.command_timeout,
      rcpt: delivery.command_timeout,
      endOfData: delivery.final_timeout,
    },
  };
  return new Delivery({
    config,
    spool,
    router,
    openLink: ({ host, address, port, tlsa }, tls, handlers) =>
      openConnection(
        { host, address, port, tls, tlsa, clientName: hostname },
        connection,
        handlers,
      ),
    shaping,
    bounce: (leased, failures) => dsn.bounce(leased, failures),
    delayed: (leased, late) => dsn.delayed(leased, late),
    relayed: (leased, recipients, host) => dsn.relayed(leased, recipients, host),
    sign: (submission) => signer.sign(submission),
    suspensions,
    local: feedback.local,
    reversePathFor: feedback.reversePathFor,
    tlsWatch: tlsReporting?.watch,
    events: {
      reception: (id, submission) => events.reception(id, submission),
      delivery: (leased, recipient, host, reply) => events.delivery(leased, recipient, host, reply),
      deferral: (leased, recipient, reason, dueMs) =>
        events.deferral(leased, recipient, reason, dueMs),
      bounce(leased, failure) {
        events.bounce(leased, failure);
        feedback.bounced(failure);
      },
    },
    counters: newDeliveryCounters(),
    clock,
    random,
    log,
  });
}

interface Sts {
  readonly policies: StsPolicies;
  close(): Promise<void>;
}

interface StsNeeds extends Pick<MtaDeps, 'clock' | 'log'> {
  readonly dns: DnsClient;
  readonly onFault: (domain: string, fault: StsFault) => void;
}

/** PEM of the built-in authorities and the configured ones; empty when there are none of these. */
const extraAuthorities = ({ delivery }: MtaConfig): readonly string[] =>
  delivery.tls_ca === '' ? [] : [...rootCertificates, readFileSync(delivery.tls_ca, 'utf8')];

/** The policies survive a restart beside the spool. */
async function openSts(config: MtaConfig, { clock, log, dns, onFault }: StsNeeds): Promise<Sts> {
  const { spool, delivery } = config;
  const extraCa = extraAuthorities(config);
  const client = createStsClient({ dns, port: delivery.mta_sts_port, extraCa });
  const store = new StsFile(join(spool, 'mta-sts.json'), clock, log);
  const policies = await StsPolicies.open({ dns, clock, log, fetch: client.fetch, store, onFault });
  return {
    policies,
    async close() {
      await Promise.all([policies.close(), client.close()]);
    },
  };
}

/** Where a notice to this reverse-path goes; null when it is no mailbox. */
function domainOf(address: string): string | null {
  const mailbox = parseMailbox(address);
  return mailbox.fault === null ? mailbox.domain : null;
}

/** @returns null when intake offers no STARTTLS */
function intakeTls({ tls_certificate, tls_key }: MtaConfig): SecureContext | null {
  if (tls_certificate === '' || tls_key === '') return null;
  return createSecureContext({
    cert: readFileSync(tls_certificate),
    key: readFileSync(tls_key),
    minVersion: 'TLSv1.2',
  });
}

const interfaceAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((faces) =>
    (faces ?? []).map(({ address }) => address),
  );

/** Link-local (fe80::/10) and unique local (fc00::/7, RFC 4193): the internet is not reached from there. */
const LOCAL_IPV6 = /^f(?:e[89ab]|[cd])/;

/** IPv4, and IPv6 where an interface has an address that reaches the internet. */
function usableFamilies(): readonly Family[] {
  const global = Object.values(networkInterfaces())
    .flat()
    .some((face) => face?.family === 'IPv6' && !face.internal && !LOCAL_IPV6.test(face.address));
  return global ? [4, 6] : [4];
}

const NO_REPORTS = { mailed: 0, posted: 0, failed: 0 };
const UNKNOWN = { messages: 0, queued: 0, leased: 0, quarantined: 0 };

/** Counts, or zeros while the spool cannot be read: `troubles` says so beside them. */
async function counts(spool: Spool): Promise<typeof UNKNOWN> {
  try {
    return await spool.counts();
  } catch (error) {
    if (error instanceof SpoolUnavailable) return UNKNOWN;
    throw error;
  }
}

/** @returns 0 with nothing queued, or while the spool cannot be read */
async function oldestSeconds(spool: Spool, nowMs: number): Promise<number> {
  try {
    const [oldest] = await spool.list({ domain: null, after: null, limit: 1 });
    return oldest === undefined ? 0 : Math.max(0, (nowMs - oldest.receivedAtMs) / 1000);
  } catch (error) {
    if (error instanceof SpoolUnavailable) return 0;
    throw error;
  }
}

/** What a user without privilege may still fill. */
const freeBytes = (folder: string): Promise<number> =>
  statfs(folder).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => Number.NaN,
  );

/** What an operator must read now. */
function troubles(spool: Spool, delivery: Delivery, signer: Signer): string[] {
  const sentences: string[] = [];
  const spoolTrouble = spool.trouble();
  if (spoolTrouble !== null) sentences.push(spoolTrouble.text);
  if (delivery.suspendedAtMs !== null) sentences.push('delivery is suspended; mail waits');
  if (delivery.resolverUnreachable)
    sentences.push('the resolver does not answer; mail waits for it');
  sentences.push(...signer.problems);
  return sentences;
}
