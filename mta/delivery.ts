/**
 * The planner: takes domains as their mail falls due, asks DNS where it goes, hands them to the queue
 * of their site, and settles what comes of it.
 *
 *   accept / ledger ─due─► take ─route─► SiteQueue ─facts─► dispose ─► Settler ─► spool
 *                            └─ trouble ─► held until, then again     └─► bounces, events, counters
 *
 * Invariants
 * - A domain is in one of: the ledger (nothing due), #routing, #held (DNS has trouble), #resting (by a
 *   rule), one site's ready set, or refused (#refusing: DNS says it takes no mail).
 * - DNS trouble touches no message: the domain waits as a whole, and burns no attempt.
 */
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { MtaConfig } from './config.ts';
import { Allotment } from './delivery/allotment.ts';
import {
  type Consignment,
  type Disposal,
  dispose,
  expiry,
  type Failure,
} from './delivery/consignment.ts';
import { DueLedger } from './delivery/due-ledger.ts';
import { HostHealth } from './delivery/hosts.ts';
import type { LinkOpener } from './delivery/link.ts';
import { Settler } from './delivery/settler.ts';
import { type SiteContext, SiteQueue } from './delivery/site-queue.ts';
import { Suspensions } from './delivery/suspensions.ts';
import { Throttles } from './delivery/throttle.ts';
import type { MessageId, Submission } from './envelope.ts';
import { SpoolUnavailable } from './errors.ts';
import type { DeliveryCounters } from './metrics.ts';
import { type Dispatcher, isOperators, NEVER_MS } from './operator.ts';
import type { RouteResult, Undeliverable } from './plan/route.ts';
import type { Router } from './plan/router.ts';
import type { Shaping } from './plan/shaping.ts';
import type { Site } from './plan/site.ts';
import type { SiteStatus, Suspension, SuspensionScope, Wait } from './running.ts';
import type { Reply } from './smtp/reply.ts';
import type { RecipientFact } from './smtp/transaction.ts';
import type {
  LeasedMessage,
  LeasedRecipient,
  QueuedRecipient,
  Settlement,
  Spool,
  WaitReason,
} from './spool/spool.ts';

/** Content in memory for delivery, all sites together. */
const MEMORY_OCTETS_MAX = 128 * 1024 * 1024;
/** Domains asked of the spool at a time at start. */
const DOMAINS_PAGE = 1_000;
const TIDY_MS = 1_000;
/** Routes are looked up so long before mail falls due; a route is fresh for a minute at least. */
const PREFETCH_MS = 10_000;
/** Lookups ahead of time at once, and domains looked at for them each second. */
const PREFETCHES_MAX = 32;
const PREFETCH_LOOK_MAX = 1_000;
/** Of all connections one yields to a site without in so long. */
const YIELD_MS = 100;
const EXPIRY_MS = 60_000;
const EXPIRY_BLOCK = 100;
const BLOCK_OCTETS_MAX = 8 * 1024 * 1024;
/** A domain in DNS trouble is asked for again after 15 s, doubling to 5 min; RFC 9520 wants no less than 1 s. */
const DNS_WAIT_MS_FIRST = 15_000;
const DNS_WAIT_MS_MAX = 300_000;
/** When no resolver answers at all: the same for every domain, short, for it will be back at once. */
const RESOLVER_WAIT_MS = 5_000;
const SPOOL_RETRY_MS = 1_000;
/** A stop waits so long for a spool that cannot record outcomes; what it has not got is delivered again. */
const SETTLE_MS_MAX = 5_000;

export interface DeliveryDeps {
  readonly config: MtaConfig;
  readonly spool: Spool;
  readonly router: Router;
  readonly openLink: LinkOpener;
  readonly shaping: Shaping;
  /** @returns the notice to the reverse-path, or null where none may be sent (RFC 5321 §4.5.5) */
  readonly bounce: (leased: LeasedMessage, failures: readonly Failure[]) => Submission | null;
  /** @returns the notice that these recipients are late, or null where none may be sent */
  readonly delayed: (leased: LeasedMessage, late: readonly Failure[]) => Submission | null;
  /** @throws MessageNotSigned, IntakeBusy */
  readonly sign: (submission: Submission) => Promise<Submission>;
  /** @returns the notice that a host has taken mail of which it will tell nobody, where one is wanted */
  readonly relayed?: (
    leased: LeasedMessage,
    recipients: Disposal['delivered'],
    host: string,
  ) => Submission | null;
  /** Default: none, and they are not kept. */
  readonly suspensions?: Suspensions;
  readonly events: DeliveryEvents;
  readonly counters: DeliveryCounters;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** Told of everything that happens to a recipient, once each. */
export interface DeliveryEvents {
  reception(id: MessageId, submission: Submission): void;
  delivery(leased: LeasedMessage, recipient: LeasedRecipient, host: string, reply: Reply): void;
  deferral(
    leased: LeasedMessage,
    recipient: LeasedRecipient,
    reason: WaitReason,
    dueMs: number,
  ): void;
  bounce(leased: LeasedMessage, failure: Failure): void;
}

interface Held {
  readonly wait: Wait;
  readonly troubles: number;
  /** The resolver gave no response at all. */
  readonly unreachable: boolean;
}

export class Delivery {
  readonly #deps: DeliveryDeps;
  readonly #ledger: DueLedger;
  readonly #settler: Settler;
  readonly #slots: Allotment;
  readonly #memory = new Allotment(MEMORY_OCTETS_MAX);
  readonly #sites = new Map<string, SiteQueue>();
  readonly #routing = new Set<string>();
  readonly #refusing = new Set<string>();
  /** Asked of DNS ahead of time. */
  readonly #prefetching = new Set<string>();
  readonly #held = new Map<string, Held>();
  /** Domains that a rule lets rest. */
  readonly #resting = new Map<string, Wait>();
  /** Domains that got urgent mail while DNS was being asked. */
  readonly #hurried = new Set<string>();
  readonly #suspensions: Suspensions;
  #heldTenants: readonly string[];
  #yieldedAtMs = Number.NEGATIVE_INFINITY;
  /** Domain → site that has it in its ready set. */
  readonly #placed = new Map<string, SiteQueue>();
  readonly #siteContext: SiteContext;
  #timers: Timer[] = [];
  #expiring = false;
  #stopping = false;
  /** Wall ms since when an operator holds all mail back, or null. */
  #suspendedAtMs: number | null;

  constructor(deps: DeliveryDeps) {
    const { config, spool, clock, log, random } = deps;
    this.#deps = deps;
    this.#suspendedAtMs = config.delivery.suspended ? clock.wallMs() : null;
    this.#suspensions = deps.suspensions ?? new Suspensions(null);
    this.#heldTenants = this.#suspensions.names('tenant');
    this.#ledger = new DueLedger(clock, (domain) => this.#take(domain));
    this.#settler = new Settler({ spool, clock, log, sign: deps.sign });
    this.#slots = new Allotment(config.delivery.connections_total);
    this.#siteContext = {
      config: config.delivery,
      spool,
      clock,
      random,
      log,
      hosts: new HostHealth(clock),
      slots: this.#slots,
      memory: this.#memory,
      openLink: deps.openLink,
      shaping: deps.shaping,
      throttles: new Throttles(),
      itinerary: (site) => deps.router.itinerary(site),
      accepting: (site) =>
        this.#suspendedAtMs === null &&
        this.#suspensionOf(site) === null &&
        !this.#settler.saturated(),
      park: (leased) => this.#park(leased),
      heldTenants: () => this.#heldTenants,
      crowded: () => this.#crowded(),
      suspendDomain: (domain, wait) => this.#suspendDomain(domain, wait),
      finished: (consignment, facts, host) => this.#finished(consignment, facts, host),
      release: (consignments) => this.#release(consignments),
      drained: (domain, nextDueMs) => this.#drained(domain, nextDueMs),
      reroute: (domains) => this.#reroute(domains),
    };
  }

  /** Begins, and takes up what the spool holds as soon as it can be read; cost grows with domains, not with mail. */
  start(): void {
    void this.#load();
    this.#every(TIDY_MS, () => this.#tidy());
    this.#every(EXPIRY_MS, () => void this.#expire());
  }

  /**
   * Signs a message, keeps it, then sees to its delivery. Resolves when it is durable. What is kept is
   * signed, so that no retry, restart or crash can make another signature, or send it without.
   */
  async accept(unsigned: Submission): Promise<MessageId> {
    const submission = await this.#deps.sign(unsigned);
    const id = await this.#deps.spool.append(submission);
    this.#arrived(id, submission);
    return id;
  }

  /**
   * Starts nothing new, lets transactions under way finish until `drainMs` have passed, and records
   * every outcome. Mail not tried stays in the spool.
   */
  async stop(drainMs: number): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#ledger.stop();
    for (const timer of this.#timers) timer.cancel();
    for (const site of this.#sites.values()) site.stop();
    const deadlineMs = this.#deps.clock.monotonicMs() + drainMs;
    while (this.#slots.taken > 0 && this.#deps.clock.monotonicMs() < deadlineMs) {
      await this.#sleep(20);
    }
    for (const site of this.#sites.values()) site.abort();
    await Promise.race([this.#settler.idle(), this.#sleep(SETTLE_MS_MAX)]);
  }

  /** Begins no transaction from here on; those under way go on, and mail is still taken. Idempotent. */
  suspend(): void {
    this.#suspendedAtMs ??= this.#deps.clock.wallMs();
  }

  /** Undoes suspend(). Idempotent. */
  resume(): void {
    this.#suspendedAtMs = null;
    for (const site of this.#sites.values()) site.work();
  }

  /** Holds back what is named until resumeScope(); mail in hand goes on. Idempotent. */
  suspendScope(scope: SuspensionScope, name: string): void {
    this.#suspensions.add({ scope, name, sinceMs: this.#deps.clock.wallMs() });
    if (scope === 'tenant') this.#heldTenants = this.#suspensions.names('tenant');
    if (scope !== 'domain') return;
    this.#placed.get(name)?.remove(name);
    this.#placed.delete(name);
  }

  /** Idempotent. Mail of a campaign that was set aside is to be rescheduled besides. */
  resumeScope(scope: SuspensionScope, name: string): void {
    this.#suspensions.remove(scope, name);
    if (scope === 'tenant') this.#heldTenants = this.#suspensions.names('tenant');
    for (const site of this.#sites.values()) site.work();
    void this.#load();
  }

  get suspensions(): readonly Suspension[] {
    return this.#suspensions.list();
  }

  /** For the verbs of operators. */
  readonly dispatcher: Dispatcher = {
    reschedule: (leased, next) =>
      new Promise((resolve) => {
        const settlements = leased.recipients.map((recipient) => ({
          key: { message: leased.message, index: recipient.index },
          kind: 'deferred' as const,
          attempts: recipient.attempts,
          ...next(recipient),
        }));
        this.#settler.add(settlements, [], () => {
          for (const [position, { dueMs }] of settlements.entries()) {
            this.#due(leased.recipients[position]!.domain, dueMs);
          }
          resolve();
        });
      }),
    giveUp: (leased, text, tell) =>
      new Promise((resolve) => {
        const failures = leased.recipients.map((recipient) => ({ ...returned(text), recipient }));
        const settlements = leased.recipients.map(({ index }) => ({
          key: { message: leased.message, index },
          kind: 'done' as const,
        }));
        this.#settle(leased, settlements, failures, { tell, settled: resolve });
      }),
    hurry: (domain) => {
      this.#held.delete(domain);
      this.#resting.delete(domain);
      this.#take(domain);
    },
  };

  #suspensionOf(site: Site): Suspension | null {
    return this.#suspensions.find('site', site.alias) ?? this.#suspensions.find('site', site.id);
  }

  /** A campaign has no lane of its own: its mail is set aside one by one, as its turn comes. */
  #park(leased: LeasedMessage): boolean {
    if (leased.campaign === '') return false;
    const suspension = this.#suspensions.find('campaign', leased.campaign);
    if (suspension === null) return false;
    const text = `the campaign ${leased.campaign} is suspended`;
    const reason = { code: 'suspended', text, sinceMs: suspension.sinceMs };
    void this.dispatcher.reschedule(leased, () => ({ dueMs: NEVER_MS, reason }));
    return true;
  }

  get suspendedAtMs(): number | null {
    return this.#suspendedAtMs;
  }

  get counters(): DeliveryCounters {
    return this.#deps.counters;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  get connections(): number {
    return this.#slots.taken;
  }

  /** Every site with work, the most buffered first. */
  sites(): SiteStatus[] {
    return [...this.#sites.values()]
      .map((queue) => ({
        id: queue.site.id,
        alias: queue.site.alias,
        domains: queue.domains,
        buffered: queue.buffered,
        connections: queue.connections,
        hold: queue.hold,
      }))
      .sort((one, other) => other.buffered - one.buffered || (one.id < other.id ? -1 : 1));
  }

  /** Domains that DNS holds up. */
  heldDomains(limit: number): { domain: string; wait: Wait }[] {
    const held: { domain: string; wait: Wait }[] = [];
    for (const [domain, { wait }] of this.#held) {
      if (held.push({ domain, wait }) >= limit) break;
    }
    return held;
  }

  /** The one thing that has to change before this recipient moves on. */
  explain(recipient: QueuedRecipient): Wait {
    const nowMs = this.#deps.clock.wallMs();
    const { domain, reason, dueMs, leased } = recipient;
    const site = (leased ? this.#bufferedAt(recipient.message) : null) ?? this.#placed.get(domain);
    if (leased && !site?.buffers(recipient.message)) {
      const where = site === undefined ? '' : ` at ${site.site.alias}`;
      return { on: 'delivering', text: `in hand${where}`, sinceMs: reason.sinceMs, untilMs: null };
    }
    if (isOperators(reason)) {
      return { on: 'operator', text: reason.text, sinceMs: reason.sinceMs, untilMs: null };
    }
    if (dueMs > nowMs && !leased) {
      const on = reason.code === 'new' ? 'schedule' : 'retry';
      const text = on === 'retry' ? reason.text : 'not before the instant that its sender chose';
      return { on, text, sinceMs: reason.sinceMs, untilMs: dueMs };
    }
    if (this.#suspendedAtMs !== null) {
      const text = 'delivery is suspended; resume it with POST /v1/delivery/resume';
      return { on: 'operator', text, sinceMs: this.#suspendedAtMs, untilMs: null };
    }
    const suspended = this.#suspensionFor(recipient, site);
    if (suspended !== null) return suspended;
    const held = this.#held.get(domain);
    if (held !== undefined) return held.wait;
    const resting = this.#resting.get(domain);
    if (resting !== undefined) return resting;
    const trouble = this.#deps.spool.trouble();
    if (this.#settler.saturated() && trouble !== null) {
      return { on: 'spool', text: trouble.text, sinceMs: trouble.sinceMs, untilMs: null };
    }
    if (site !== undefined) return site.wait(dueMs);
    return {
      on: 'route',
      text: `asking DNS where ${domain} takes mail`,
      sinceMs: dueMs,
      untilMs: null,
    };
  }

  #bufferedAt(message: MessageId): SiteQueue | null {
    for (const site of this.#sites.values()) if (site.buffers(message)) return site;
    return null;
  }

  #suspensionFor(
    { domain, tenant, campaign }: QueuedRecipient,
    queue: SiteQueue | undefined,
  ): Wait | null {
    const suspension =
      this.#suspensions.find('domain', domain) ??
      this.#suspensions.find('tenant', tenant) ??
      this.#suspensions.find('campaign', campaign) ??
      (queue === undefined ? null : this.#suspensionOf(queue.site));
    if (suspension === null) return null;
    const { scope, name, sinceMs } = suspension;
    return { on: 'operator', text: `the ${scope} ${name} is suspended`, sinceMs, untilMs: null };
  }

  /** DNS gave no response at all, for some domain, just now. */
  get resolverUnreachable(): boolean {
    for (const { unreachable } of this.#held.values()) if (unreachable) return true;
    return false;
  }

  async #load(): Promise<void> {
    const { spool } = this.#deps;
    for (let after: string | null = null; !this.#stopping; ) {
      try {
        const page = await spool.domains(after, DOMAINS_PAGE);
        for (const { domain, nextDueMs } of page) this.#due(domain, nextDueMs);
        const last = page.at(-1);
        if (last === undefined || page.length < DOMAINS_PAGE) return;
        after = last.domain;
      } catch (error) {
        if (!(error instanceof SpoolUnavailable)) throw error;
        await this.#sleep(SPOOL_RETRY_MS);
      }
    }
  }

  #every(periodMs: number, task: () => void): void {
    const index = this.#timers.length;
    const arm = (): void => {
      this.#timers[index] = this.#deps.clock.after(periodMs, () => {
        task();
        if (!this.#stopping) arm();
      });
    };
    arm();
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#deps.clock.after(delayMs, resolve));
  }

  #arrived(id: MessageId, submission: Submission): void {
    this.#deps.counters.received += submission.envelope.recipients.length;
    this.#deps.events.reception(id, submission);
    const seen = new Set<string>();
    for (const { domain } of submission.envelope.recipients) {
      if (seen.has(domain)) continue;
      seen.add(domain);
      const { receivedAtMs, notBeforeMs = receivedAtMs } = submission;
      this.#due(domain, Math.max(receivedAtMs, notBeforeMs));
      if (submission.priority !== 'urgent') continue;
      const site = this.#placed.get(domain);
      if (site !== undefined) site.hasten(domain);
      else if (this.#routing.has(domain)) this.#hurried.add(domain);
    }
  }

  /** The domain has work that is due then. */
  #due(domain: string, dueMs: number): void {
    if (this.#stopping) return;
    if (dueMs <= this.#deps.clock.wallMs()) this.#take(domain);
    else this.#ledger.note(domain, dueMs);
  }

  #take(domain: string): void {
    if (this.#stopping || this.#routing.has(domain)) return;
    // resumeScope() finds it again.
    if (this.#suspensions.find('domain', domain) !== null) return;
    if (this.#placed.get(domain)?.touch(domain)) return;
    const held = this.#held.get(domain);
    if (held !== undefined && (held.wait.untilMs ?? 0) > this.#deps.clock.wallMs()) {
      this.#ledger.note(domain, held.wait.untilMs ?? 0);
      return;
    }
    const restUntilMs = this.#resting.get(domain)?.untilMs ?? 0;
    if (restUntilMs > this.#deps.clock.wallMs()) {
      this.#ledger.note(domain, restUntilMs);
      return;
    }
    this.#resting.delete(domain);
    this.#routing.add(domain);
    void this.#route(domain);
  }

  async #route(domain: string): Promise<void> {
    const result = await this.#deps.router.route(domain);
    this.#routing.delete(domain);
    const hurried = this.#hurried.delete(domain);
    if (this.#stopping) return;
    if (result.kind === 'trouble') {
      this.#holdDomain(domain, result);
      return;
    }
    this.#held.delete(domain);
    if (result.kind === 'undeliverable') return void this.#refuse(domain, result);
    if (this.#suspensions.find('domain', domain) !== null) return;
    const queue = this.#siteQueue(result);
    const before = this.#placed.get(domain);
    if (before !== undefined && before !== queue) before.remove(domain);
    this.#placed.set(domain, queue);
    queue.add(domain, result.freshUntilMs);
    if (hurried) queue.hasten(domain);
  }

  #siteQueue({ route }: RouteResult & { kind: 'route' }): SiteQueue {
    const { site } = route;
    let queue = this.#sites.get(site.id);
    if (queue === undefined) {
      queue = new SiteQueue(site, this.#siteContext);
      this.#sites.set(site.id, queue);
    }
    return queue;
  }

  #holdDomain(domain: string, trouble: RouteResult & { kind: 'trouble' }): void {
    const before = this.#held.get(domain);
    const troubles = (before?.troubles ?? 0) + 1;
    const nowMs = this.#deps.clock.wallMs();
    const doubledMs = Math.min(DNS_WAIT_MS_FIRST * 2 ** (troubles - 1), DNS_WAIT_MS_MAX);
    const waitMs = trouble.reachable ? doubledMs : RESOLVER_WAIT_MS;
    const untilMs = nowMs + Math.round(waitMs * (0.9 + 0.2 * this.#deps.random.fraction()));
    this.#held.set(domain, {
      wait: { on: 'dns', text: trouble.text, sinceMs: before?.wait.sinceMs ?? nowMs, untilMs },
      troubles,
      unreachable: !trouble.reachable,
    });
    this.#ledger.note(domain, untilMs);
  }

  #suspendDomain(domain: string, wait: Wait): void {
    this.#placed.delete(domain);
    this.#resting.set(domain, wait);
    this.#ledger.note(domain, wait.untilMs ?? 0);
  }

  /** A site has no connection and gets none: the one with the most lets go of one of its own. */
  #crowded(): void {
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs - this.#yieldedAtMs < YIELD_MS) return;
    this.#yieldedAtMs = nowMs;
    let largest: SiteQueue | null = null;
    for (const site of this.#sites.values()) {
      if (site.closeIdle()) return;
      if (largest === null || site.connections > largest.connections) largest = site;
    }
    largest?.yieldLink();
  }

  #reroute(domains: readonly string[]): void {
    for (const domain of domains) {
      this.#placed.delete(domain);
      this.#take(domain);
    }
  }

  #drained(domain: string, nextDueMs: number | null): void {
    this.#placed.delete(domain);
    if (nextDueMs !== null) this.#due(domain, nextDueMs);
  }

  /** DNS says that the domain takes no mail: all of its due mail is returned. */
  async #refuse(domain: string, verdict: Undeliverable): Promise<void> {
    if (this.#refusing.has(domain)) return;
    this.#refusing.add(domain);
    const { spool, clock } = this.#deps;
    try {
      for (;;) {
        const lease = await spool.lease({
          domains: [domain],
          nowMs: clock.wallMs(),
          messagesMax: EXPIRY_BLOCK,
          bytesMax: BLOCK_OCTETS_MAX,
          recipientsMax: Number.MAX_SAFE_INTEGER,
        });
        for (const leased of lease.messages) this.#return(leased, () => refusal(verdict));
        const nextDueMs = lease.nextDueMs.get(domain) ?? null;
        if (lease.messages.length > 0 && nextDueMs !== null && nextDueMs <= clock.wallMs())
          continue;
        if (nextDueMs !== null) this.#ledger.note(domain, nextDueMs);
        return;
      }
    } catch (error) {
      if (!(error instanceof SpoolUnavailable)) throw error;
      this.#ledger.note(domain, clock.wallMs() + SPOOL_RETRY_MS);
    } finally {
      this.#refusing.delete(domain);
    }
  }

  /** Returns mail whose time is up, whatever holds it; but not for want of a resolver. */
  async #expire(): Promise<void> {
    if (this.#expiring || this.#stopping || this.resolverUnreachable) return;
    this.#expiring = true;
    const { spool, clock, config } = this.#deps;
    try {
      for (let full = true; full && !this.#stopping; ) {
        const expired = await spool.leaseExpired({
          acceptedBeforeMs: clock.wallMs() - config.max_age,
          messagesMax: EXPIRY_BLOCK,
          bytesMax: BLOCK_OCTETS_MAX,
        });
        for (const leased of expired) this.#return(leased, expiry);
        full = expired.length === EXPIRY_BLOCK;
      }
    } catch (error) {
      if (!(error instanceof SpoolUnavailable)) throw error;
    } finally {
      this.#expiring = false;
    }
  }

  /** Ends every recipient of the lease with a failure. */
  #return(
    leased: LeasedMessage,
    failureOf: (recipient: LeasedMessage['recipients'][number]) => Omit<Failure, 'recipient'>,
  ): void {
    const failures = leased.recipients.map((recipient) => ({ ...failureOf(recipient), recipient }));
    const settlements = leased.recipients.map(({ index }) => ({
      key: { message: leased.message, index },
      kind: 'done' as const,
    }));
    this.#settle(leased, settlements, failures);
  }

  #finished(consignment: Consignment, facts: readonly RecipientFact[], host: string): void {
    const { config, clock, random, counters, events } = this.#deps;
    const { leased } = consignment;
    const disposal = dispose(consignment, facts, {
      retry: { waitsMs: consignment.limits.retryMs, ageMsMax: config.max_age },
      random,
      nowMs: clock.wallMs(),
      host,
      delayWarningMs: config.delay_warning,
    });
    for (const { recipient, reply } of disposal.delivered) {
      counters.delivered += 1;
      events.delivery(leased, recipient, host, reply);
    }
    for (const { recipient, reason, dueMs } of disposal.deferred) {
      counters.deferred += 1;
      events.deferral(leased, recipient, reason, dueMs);
    }
    // A host that offers DSN tells of success itself; of the others we say what we know.
    const silent = consignment.dsn !== undefined && !consignment.dsn.passedOn;
    const relayed = silent
      ? (this.#deps.relayed?.(leased, disposal.delivered, host) ?? null)
      : null;
    const late = disposal.late.length > 0 ? this.#deps.delayed(leased, disposal.late) : null;
    const settled = (): void => {
      for (const { recipient, dueMs } of disposal.deferred) this.#due(recipient.domain, dueMs);
      for (const [position, settlement] of disposal.settlements.entries()) {
        if (settlement.kind !== 'released') continue;
        const { domain } = leased.recipients[position]!;
        this.#due(domain, 0);
      }
    };
    this.#settle(leased, disposal.settlements, disposal.failures, {
      others: [relayed, late],
      settled,
    });
  }

  #settle(
    leased: LeasedMessage,
    settlements: readonly Settlement[],
    failures: readonly Failure[],
    {
      others = [],
      tell = true,
      settled = () => undefined,
    }: {
      /** Notices besides that of failures. */
      readonly others?: readonly (Submission | null)[];
      /** Failures cause a notice. */
      readonly tell?: boolean;
      readonly settled?: () => void;
    } = {},
  ): void {
    const { counters, events, bounce } = this.#deps;
    for (const failure of failures) {
      if (failure.expired) counters.expired += 1;
      else counters.bounced += 1;
      events.bounce(leased, failure);
    }
    const notice = tell && failures.length > 0 ? bounce(leased, failures) : null;
    const notices = [...others, notice].filter((one) => one !== null);
    this.#settler.add(settlements, notices, (ids) => {
      for (const [position, id] of ids.entries()) this.#arrived(id, notices[position]!);
      settled();
    });
  }

  #release(consignments: readonly Consignment[]): void {
    const settlements = consignments.flatMap(({ leased }) =>
      leased.recipients.map(({ index }) => ({
        key: { message: leased.message, index },
        kind: 'released' as const,
      })),
    );
    this.#settler.add(settlements, [], () => {
      for (const { leased } of consignments) {
        for (const { domain } of leased.recipients) this.#due(domain, 0);
      }
    });
  }

  /** Asks DNS for what is due soon, so that mail does not wait for it; and only where nothing fresh is known. */
  #prefetch(): void {
    if (this.#stopping || this.resolverUnreachable) return;
    const { clock, router } = this.#deps;
    for (const domain of this.#ledger.soon(clock.wallMs() + PREFETCH_MS, PREFETCH_LOOK_MAX)) {
      if (this.#prefetching.size >= PREFETCHES_MAX) return;
      if (this.#prefetching.has(domain) || this.#held.has(domain)) continue;
      if (router.peek(domain) !== null) continue;
      this.#prefetching.add(domain);
      void router.route(domain).then(() => this.#prefetching.delete(domain));
    }
  }

  #tidy(): void {
    this.#prefetch();
    for (const [id, site] of this.#sites) {
      site.tidy();
      if (site.idle) this.#sites.delete(id);
    }
    if (this.#slots.waiting === 0) return;
    // Others wait for a connection: those that idle must yield.
    for (const site of this.#sites.values()) if (site.closeIdle()) return;
  }
}

/** An operator's decision (RFC 3463 X.7.1, delivery not authorized). */
const returned = (text: string): Omit<Failure, 'recipient'> => ({
  status: '5.7.1',
  text,
  reply: null,
  host: null,
  expired: false,
});

const refusal = ({ enhanced, text }: Undeliverable): Omit<Failure, 'recipient'> => ({
  status: enhanced,
  text,
  reply: null,
  host: null,
  expired: false,
});
