/** Puts the mta together and brings it up: spool, router, delivery, then the doors. */
import { hostname as systemHostname } from 'node:os';
import { join } from 'node:path';
import type { SecureContext } from 'node:tls';
import type { HandedSockets } from '../runtime/handed-sockets.ts';
import type { Endpoint } from '../runtime/settings.ts';
import {
  extraAuthorities,
  intakeTls,
  interfaceAddresses,
  makeDelivery,
  makeRouter,
  openSts,
} from './assembly.ts';
import type { MtaConfig } from './config.ts';
import { Suspensions } from './delivery/suspensions.ts';
import { createFeedback, ledgerSchema } from './feedback.ts';
import { Inspector } from './inspector.ts';
import { injectionApi } from './intake/http.ts';
import { Intake } from './intake/intake.ts';
import { SmtpDoor } from './intake/smtp.ts';
import { mtaMetrics } from './metrics.ts';
import { Operator } from './operator.ts';
import { DnsClient } from './plan/dns.ts';
import { Reroutes } from './plan/reroutes.ts';
import { communityProviders, Shaping } from './plan/shaping.ts';
import { SocketmapDoor } from './plan/socketmap.ts';
import { survey } from './plan/survey.ts';
import { TransportMap } from './plan/transport-map.ts';
import { LiveConfig } from './reload.ts';
import { Events } from './report/events.ts';
import { Ledger } from './report/ledger.ts';
import { EventOutlets } from './report/outlets.ts';
import type { MtaDeps, RunningMta, StopBounds } from './running.ts';
import { Signer } from './sign/signer.ts';
import { newCounters } from './smtp/connection.ts';
import type { Spool } from './spool/spool.ts';
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
    const inspector = new Inspector({
      hostname,
      folder: config.spool,
      clock,
      spool,
      delivery,
      router,
      shaping,
      reroutes,
      operator,
      intake,
      dns,
      signer,
      outlets,
      ledger,
    });
    const endpoints = await door.listen(config.smtp, deps.sockets);
    const socketmap = await openSocketmap();
    delivery.start();
    tlsReporting?.start();
    measurePressure(inspector);
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
        counts: () => inspector.counts(),
        connectionsOpen: () => delivery.connections,
        sites: () => delivery.sites(),
        heldDomains: () => delivery.heldCount,
        oldestSeconds: () => inspector.oldestSeconds(),
        spoolFreeBytes: () => inspector.freeBytes(),
        eventsBehindBytes: () => outlets.behindOctets,
      }),
      injection: (fastify) => injectionApi(fastify, intake),
      ready: () => spool.trouble()?.text ?? (intake.draining ? 'draining: no mail is taken' : null),
      status: () => inspector.status(),
      changes: () => delivery.changes(),
      census: () => delivery.census(),
      site: (name) => delivery.site(name),
      async why({ message, index }) {
        const recipients = await spool.inspect(message);
        return recipients
          .filter((recipient) => index === null || recipient.index === index)
          .map((recipient) => inspector.explain(recipient));
      },
      queue: (request) => inspector.list(request),
      route: (domain) => survey(router, shaping, domain, () => clock.monotonicMs()),
      suspend: () => delivery.suspend(),
      resume: () => delivery.resume(),
      async show(message) {
        const header = await operator.header(message);
        const recipients = await spool.inspect(message);
        return { recipients: recipients.map((recipient) => inspector.explain(recipient)), header };
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
  function measurePressure(inspector: Inspector): void {
    clock.after(PRESSURE_MS, () => {
      if (intake.draining) return;
      void inspector
        .counts()
        .then(({ queued, leased }) => intake.pressure.noteQueued(queued + leased));
      intake.pressure.note('webhook_bytes', outlets.behindOctets / config.webhook_bytes);
      measurePressure(inspector);
    });
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

const NO_REPORTS = { mailed: 0, posted: 0, failed: 0 };
