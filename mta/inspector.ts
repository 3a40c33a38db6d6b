/** What runs and what waits, in the words of operators: for status, queue, why, and metrics. */
import { statfs } from 'node:fs/promises';
import type { Clock } from '../runtime/clock.ts';
import type { Delivery } from './delivery.ts';
import { formatRecipientId } from './envelope.ts';
import { SpoolUnavailable } from './errors.ts';
import type { Intake } from './intake/intake.ts';
import { formatNextHop, mailDomainOf } from './next-hop.ts';
import type { Operator } from './operator.ts';
import type { DnsClient } from './plan/dns.ts';
import type { Reroutes } from './plan/reroutes.ts';
import type { Router } from './plan/router.ts';
import type { Shaping } from './plan/shaping.ts';
import { remedyOf } from './remedies.ts';
import type { Ledger } from './report/ledger.ts';
import type { EventOutlets } from './report/outlets.ts';
import {
  type ExplainedLimit,
  type MtaStatus,
  type QueueRequest,
  STATUS_SITES_MAX,
  type WaitingRecipient,
} from './running.ts';
import type { Signer } from './sign/signer.ts';
import type { QueuedRecipient, Spool, SpoolCounts } from './spool/spool.ts';

export interface InspectorNeeds {
  readonly hostname: string;
  /** Folder of the spool. */
  readonly folder: string;
  readonly clock: Clock;
  readonly spool: Spool;
  readonly delivery: Delivery;
  readonly router: Router;
  readonly shaping: Shaping;
  readonly reroutes: Reroutes;
  readonly operator: Operator;
  readonly intake: Intake;
  readonly dns: DnsClient;
  readonly signer: Signer;
  readonly outlets: EventOutlets;
  readonly ledger: Ledger | null;
}

const UNKNOWN: SpoolCounts = { messages: 0, queued: 0, leased: 0, quarantined: 0 };

export class Inspector {
  readonly #needs: InspectorNeeds;
  readonly #startedAtMs: number;

  constructor(needs: InspectorNeeds) {
    this.#needs = needs;
    this.#startedAtMs = needs.clock.wallMs();
  }

  async status(): Promise<MtaStatus> {
    const { hostname, delivery, reroutes, intake, dns, outlets, ledger } = this.#needs;
    const { delivered, received, deferred, bounced, expired } = delivery.counters;
    return {
      hostname,
      startedAtMs: this.#startedAtMs,
      ...(await this.counts()),
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
        ...this.#troubles(),
        ...outlets.troubles(),
        ...(ledger?.trouble == null ? [] : [ledger.trouble]),
      ],
    };
  }

  /** Of a domain, also what an operator sends elsewhere. @throws SpoolUnavailable */
  async list(request: QueueRequest): Promise<WaitingRecipient[]> {
    return (await this.#listed(request)).map((recipient) => this.explain(recipient));
  }

  async #listed(request: QueueRequest): Promise<readonly QueuedRecipient[]> {
    const { spool, operator } = this.#needs;
    if (request.domain === null) return spool.list(request);
    const keys = await operator.routedBy(request.domain);
    const lists = await Promise.all(keys.map((domain) => spool.list({ ...request, domain })));
    return lists
      .flat()
      .sort((one, other) => one.message - other.message || one.index - other.index)
      .slice(0, request.limit);
  }

  #limitsOf(domain: string): ExplainedLimit[] {
    const { router, shaping } = this.#needs;
    const known = router.peek(domain);
    return known?.kind === 'route' ? shaping.explain(known.route.site, domain) : [];
  }

  /** The operator's choice for a recipient, its domain, or its site where that is known. */
  #nextHopText(domain: string): string | null {
    const { router, reroutes } = this.#needs;
    const chosen = reroutes.ofDomain(domain);
    if (chosen !== null) return formatNextHop(chosen);
    const known = router.peek(domain);
    if (known?.kind !== 'route' || known.route.origin !== 'operator') return null;
    const { ranks, port } = known.route.site;
    return formatNextHop({ host: ranks[0]![0]!, port });
  }

  explain(recipient: QueuedRecipient): WaitingRecipient {
    const wait = this.#needs.delivery.explain(recipient);
    return {
      id: formatRecipientId(recipient),
      reversePath: recipient.reversePath,
      address: recipient.address,
      domain: mailDomainOf(recipient.domain),
      nextHop: this.#nextHopText(recipient.domain),
      limits: this.#limitsOf(recipient.domain),
      octets: recipient.contentOctets,
      receivedAtMs: recipient.receivedAtMs,
      attempts: recipient.attempts,
      wait,
      change: remedyOf(wait, recipient.reason.code),
    };
  }

  /** Counts, or zeros while the spool cannot be read: `troubles` says so beside them. */
  async counts(): Promise<SpoolCounts> {
    try {
      return await this.#needs.spool.counts();
    } catch (error) {
      if (error instanceof SpoolUnavailable) return UNKNOWN;
      throw error;
    }
  }

  /** @returns 0 with nothing queued, or while the spool cannot be read */
  async oldestSeconds(): Promise<number> {
    const { spool, clock } = this.#needs;
    try {
      const [oldest] = await spool.list({ domain: null, after: null, limit: 1 });
      const ageMs = oldest === undefined ? 0 : clock.wallMs() - oldest.receivedAtMs;
      return Math.max(0, ageMs / 1000);
    } catch (error) {
      if (error instanceof SpoolUnavailable) return 0;
      throw error;
    }
  }

  /** What a user without privilege may still fill. */
  freeBytes(): Promise<number> {
    return statfs(this.#needs.folder).then(
      ({ bavail, bsize }) => bavail * bsize,
      () => Number.NaN,
    );
  }

  /** What an operator must read now. */
  #troubles(): string[] {
    const { spool, delivery, signer } = this.#needs;
    const sentences: string[] = [];
    const spoolTrouble = spool.trouble();
    if (spoolTrouble !== null) sentences.push(spoolTrouble.text);
    if (delivery.suspendedAtMs !== null) sentences.push('delivery is suspended; mail waits');
    if (delivery.resolverUnreachable)
      sentences.push('the resolver does not answer; mail waits for it');
    sentences.push(...signer.problems);
    return sentences;
  }
}
