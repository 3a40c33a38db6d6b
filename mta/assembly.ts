/** The parts of the mta, made from its configuration; main.ts joins them and brings them up. */
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import type { MtaConfig } from './config.ts';
import type { Suspensions } from './delivery/suspensions.ts';
import { Delivery } from './delivery.ts';
import type { Feedback } from './feedback.ts';
import { parseMailbox } from './intake/address.ts';
import { newDeliveryCounters } from './metrics.ts';
import type { DnsClient } from './plan/dns.ts';
import type { Family } from './plan/hosts.ts';
import { ownEndpoints } from './plan/own.ts';
import type { Reroutes } from './plan/reroutes.ts';
import { Router } from './plan/router.ts';
import type { Shaping } from './plan/shaping.ts';
import { StsPolicies } from './plan/sts.ts';
import { createStsClient, type StsFault } from './plan/sts-fetch.ts';
import { StsFile } from './plan/sts-store.ts';
import { DsnWriter } from './report/dsn.ts';
import type { Events } from './report/events.ts';
import type { MtaDeps } from './running.ts';
import type { Signer } from './sign/signer.ts';
import { type ConnectionCounters, openConnection } from './smtp/connection.ts';
import { HostMemory } from './smtp/manners.ts';
import { createClientContext, TicketCache } from './smtp/tickets.ts';
import type { Spool } from './spool/spool.ts';
import type { TlsReporting } from './tls-reports.ts';

interface DeliveryNeeds {
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

export function makeRouter(
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

export function makeDelivery(config: MtaConfig, deps: MtaDeps, parts: DeliveryNeeds): Delivery {
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
export const extraAuthorities = ({ delivery }: MtaConfig): readonly string[] =>
  delivery.tls_ca === '' ? [] : [...rootCertificates, readFileSync(delivery.tls_ca, 'utf8')];

/** The policies survive a restart beside the spool. */
export async function openSts(
  config: MtaConfig,
  { clock, log, dns, onFault }: StsNeeds,
): Promise<Sts> {
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
export function intakeTls({ tls_certificate, tls_key }: MtaConfig): SecureContext | null {
  if (tls_certificate === '' || tls_key === '') return null;
  return createSecureContext({
    cert: readFileSync(tls_certificate),
    key: readFileSync(tls_key),
    minVersion: 'TLSv1.2',
  });
}

export const interfaceAddresses = (): string[] =>
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
