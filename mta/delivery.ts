/**
 * The planner: takes domains as their mail falls due, asks DNS where it goes, hands them to the queue
 * of their site, and settles what comes of it.
 *
 *   accept / ledger ─due─► Domains ─route─► SiteQueue ─facts─► Outcomes ─► Settler ─► spool
 *                            └─ trouble ─► held until, then again   └─► bounces, events, counters
 *
 * Where a domain stands is domains.ts, what an outcome means outcomes.ts, why mail waits explain.ts;
 * this file joins them.
 */
import type { Timer } from '../runtime/clock.ts';
import { Allotment } from './delivery/allotment.ts';
import type { Failure } from './delivery/consignment.ts';
import { Crowding } from './delivery/crowding.ts';
import type { DeliveryDeps } from './delivery/deps.ts';
import { Domains } from './delivery/domains.ts';
import { explain } from './delivery/explain.ts';
import { Handover } from './delivery/handover.ts';
import { HostHealth } from './delivery/hosts.ts';
import { Lateness } from './delivery/lateness.ts';
import { Lessons } from './delivery/lessons.ts';
import { LocalMail } from './delivery/local-mail.ts';
import { Outcomes } from './delivery/outcomes.ts';
import { Census } from './delivery/queue-census.ts';
import { Returns } from './delivery/returns.ts';
import { Settler } from './delivery/settler.ts';
import type { SiteContext } from './delivery/site-context.ts';
import { siteDetail } from './delivery/site-detail.ts';
import { SiteQueue } from './delivery/site-queue.ts';
import { Suspensions, siteSuspension } from './delivery/suspensions.ts';
import { Throttles } from './delivery/throttle.ts';
import { Watch } from './delivery/watch.ts';
import type { MessageId, Submission } from './envelope.ts';
import { SpoolUnavailable } from './errors.ts';
import type { DeliveryCounters } from './metrics.ts';
import { type Dispatcher, NEVER_MS } from './operator.ts';
import type { RouteResult } from './plan/route.ts';
import type {
  LimitChange,
  QueueCensus,
  RerouteScope,
  SiteDetail,
  SiteStatus,
  Suspension,
  SuspensionScope,
  Wait,
} from './running.ts';
import type { LeasedMessage, QueuedRecipient } from './spool/spool.ts';

export type { DeliveryDeps, DeliveryEvents } from './delivery/deps.ts';

/** Content in memory for delivery, all sites together. */
const MEMORY_OCTETS_MAX = 128 * 1024 * 1024;
/** Domains asked of the spool at a time at start. */
const DOMAINS_PAGE = 1_000;
const TIDY_MS = 1_000;
/** Of all connections, what sites may hold that have not taken mail since they came up or last failed. */
const TRIALS_SHARE = 0.5;
const EXPIRY_MS = 60_000;
const SPOOL_RETRY_MS = 1_000;
/** A stop waits so long for a spool that cannot record outcomes; what it has not got is delivered again. */
const SETTLE_MS_MAX = 5_000;

export class Delivery {
  readonly #deps: DeliveryDeps;
  readonly #domains: Domains;
  readonly #settler: Settler;
  readonly #outcomes: Outcomes;
  readonly #returns: Returns;
  readonly #local: LocalMail;
  readonly #lateness: Lateness;
  readonly #slots: Allotment;
  readonly #trials: Allotment;
  readonly #crowding: Crowding;
  readonly #memory = new Allotment(MEMORY_OCTETS_MAX);
  readonly #sites = new Map<string, SiteQueue>();
  readonly #suspensions: Suspensions;
  #heldTenants: readonly string[];
  readonly #siteContext: SiteContext;
  readonly #watch = new Watch();
  readonly #census: Census;
  readonly #handover: Handover;
  #timers: Timer[] = [];
  /** What the spool holds is known: until then any domain may have mail that waits. */
  #loaded = false;
  #stopping = false;
  /** Wall ms since when an operator holds all mail back, or null. */
  #suspendedAtMs: number | null;

  constructor(deps: DeliveryDeps) {
    const { config, spool, clock, log } = deps;
    this.#deps = deps;
    this.#suspendedAtMs = config.delivery.suspended ? clock.wallMs() : null;
    this.#suspensions = deps.suspensions ?? new Suspensions(null);
    this.#heldTenants = this.#suspensions.names('tenant');
    this.#settler = new Settler({ spool, clock, log, sign: deps.sign });
    const { connections_total } = config.delivery;
    this.#slots = new Allotment(connections_total);
    this.#trials = new Allotment(Math.ceil(connections_total * TRIALS_SHARE));
    this.#crowding = new Crowding({
      clock,
      slots: this.#slots,
      trials: this.#trials,
      sites: () => this.#sites.values(),
    });
    this.#domains = new Domains({
      deps,
      suspensions: this.#suspensions,
      siteQueue: (result) => this.#siteQueue(result),
      takeLocally: (domain) => this.#takeLocally(domain),
      refuse: (domain, verdict) => void this.#returns.refuse(domain, verdict),
    });
    this.#outcomes = new Outcomes({
      deps,
      settler: this.#settler,
      watch: this.#watch,
      arrived: (id, notice) => this.#arrived(id, notice),
      due: (domain, dueMs) => this.#domains.due(domain, dueMs),
    });
    this.#returns = new Returns({
      deps,
      outcomes: this.#outcomes,
      stopping: () => this.#stopping,
      later: (domain, dueMs) => this.#domains.later(domain, dueMs),
    });
    this.#lateness = new Lateness({
      deps,
      outcomes: this.#outcomes,
      explain: (recipient) => this.explain(recipient),
      stopping: () => this.#stopping,
    });
    this.#local = new LocalMail({
      deps,
      outcomes: this.#outcomes,
      stopping: () => this.#stopping,
      later: (domain, dueMs) => this.#domains.later(domain, dueMs),
    });
    this.#siteContext = this.#makeSiteContext();
    this.#handover = new Handover({
      deps,
      domains: this.#domains,
      suspensions: this.#suspensions,
    });
    this.#census = new Census(spool, (domain) => this.#aliasOf(domain));
  }

  #aliasOf(domain: string): string | null {
    const queue = this.#domains.siteOf(domain);
    if (queue !== undefined) return queue.site.alias;
    const known = this.#deps.router.peek(domain);
    return known?.kind === 'route' ? known.route.site.alias : null;
  }

  #makeSiteContext(): SiteContext {
    const { config, spool, clock, random, log, openLink, shaping, router } = this.#deps;
    const domains = this.#domains;
    const outcomes = this.#outcomes;
    return {
      config: config.delivery,
      spool,
      clock,
      random,
      log,
      hosts: new HostHealth(clock),
      slots: this.#slots,
      trials: this.#trials,
      memory: this.#memory,
      openLink,
      shaping,
      throttles: new Throttles(),
      lessons: new Lessons(),
      tlsWatch: this.#deps.tlsWatch ?? null,
      reversePathFor: this.#deps.reversePathFor ?? null,
      itinerary: (site) => router.itinerary(site),
      accepting: (site) =>
        this.#suspendedAtMs === null &&
        siteSuspension(this.#suspensions, site) === null &&
        !this.#settler.saturated(),
      park: (leased) => this.#park(leased),
      heldTenants: () => this.#heldTenants,
      crowding: this.#crowding,
      suspendDomain: (domain, wait) => domains.rest(domain, wait),
      finished: (consignment, facts, host, site) =>
        outcomes.finished(consignment, facts, host, site),
      changed: (change) => this.#watch.changed(change),
      release: (consignments) => outcomes.release(consignments),
      drained: (domain, nextDueMs) => domains.drained(domain, nextDueMs),
      reroute: (ofSite) => domains.reroute(ofSite),
    };
  }

  /** Begins, and takes up what the spool holds as soon as it can be read; cost grows with domains, not with mail. */
  start(): void {
    void this.#load();
    this.#every(TIDY_MS, () => this.#tidy());
    this.#every(EXPIRY_MS, () => this.#expire());
    this.#every(EXPIRY_MS, () => void this.#lateness.sweep());
  }

  /**
   * Signs a message, keeps it, then sees to its delivery. Resolves when it is durable. What is kept is
   * signed, so that no retry, restart or crash can make another signature, or send it without.
   */
  async accept(unsigned: Submission): Promise<MessageId> {
    const submission = await this.#deps.sign(unsigned);
    const reservation = this.#loaded ? this.#handover.reserve(submission) : null;
    let id: MessageId;
    try {
      id = await this.#deps.spool.append(submission, reservation !== null);
    } catch (error) {
      reservation?.withdraw();
      throw error;
    }
    this.#received(id, submission);
    if (reservation === null) this.#due(submission);
    else reservation.redeem(id);
    return id;
  }

  /**
   * Starts nothing new, lets transactions under way finish until `drainMs` have passed, and records
   * every outcome. Mail not tried stays in the spool.
   */
  async stop(drainMs: number): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#domains.stop();
    this.#crowding.stop();
    for (const timer of this.#timers) timer.cancel();
    for (const site of this.#sites.values()) site.stop();
    const deadlineMs = this.#deps.clock.monotonicMs() + drainMs;
    while (this.#slots.taken > 0 && this.#deps.clock.monotonicMs() < deadlineMs) {
      await this.#sleep(20);
    }
    for (const site of this.#sites.values()) site.abort();
    const settled = this.#local.idle().then(() => this.#settler.idle());
    await Promise.race([settled, this.#sleep(SETTLE_MS_MAX)]);
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
    if (scope === 'domain') this.#domains.remove(name);
  }

  /** Idempotent. Mail of a campaign that was set aside is to be rescheduled besides. */
  resumeScope(scope: SuspensionScope, name: string): void {
    this.#suspensions.remove(scope, name);
    if (scope === 'tenant') this.#heldTenants = this.#suspensions.names('tenant');
    for (const site of this.#sites.values()) site.work();
    void this.#load();
  }

  /** What is named goes elsewhere from now on. To be called once the router would say so. */
  rerouted(scope: RerouteScope, name: string): void {
    const domains = this.#deps.router.forget((domain, result) =>
      scope === 'domain' ? domain === name : isOfSite(result, name),
    );
    this.#domains.anew(scope === 'domain' ? [name] : domains);
    for (const queue of this.#sites.values()) queue.letGo();
  }

  /** DNS answers again: for this name, or for all when it is null. */
  dnsRecovered(name: string | null): void {
    this.#domains.recovered(name);
  }

  get suspensions(): readonly Suspension[] {
    return this.#suspensions.list();
  }

  /** For the verbs of operators. */
  readonly dispatcher: Dispatcher = {
    reschedule: (leased, next) => this.#outcomes.reschedule(leased, next),
    giveUp: (leased, text, tell) =>
      new Promise((resolve) => {
        this.#outcomes.giveBack(leased, () => returned(text), { tell, settled: resolve });
      }),
    look: (domain) => this.#domains.look(domain),
    hurry: (domain, endRests) => this.#domains.hurry(domain, endRests),
  };

  /** A campaign has no lane of its own: its mail is set aside one by one, as its turn comes. */
  #park(leased: LeasedMessage): boolean {
    if (leased.campaign === '') return false;
    const suspension = this.#suspensions.find('campaign', leased.campaign);
    if (suspension === null) return false;
    const text = `the campaign ${leased.campaign} is suspended`;
    const reason = { code: 'suspended', text, sinceMs: suspension.sinceMs };
    void this.#outcomes.reschedule(leased, () => ({ dueMs: NEVER_MS, reason }));
    return true;
  }

  get suspendedAtMs(): number | null {
    return this.#suspendedAtMs;
  }

  get counters(): DeliveryCounters {
    return this.#deps.counters;
  }

  get heldCount(): number {
    return this.#domains.heldCount;
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

  /** Attempts put off since start, by cause. */
  get causes(): ReadonlyMap<string, number> {
    return this.#watch.causes;
  }

  changes(): readonly LimitChange[] {
    return this.#watch.changes();
  }

  /** Where mail waits. @throws SpoolUnavailable */
  census(): Promise<QueueCensus> {
    return this.#census.take();
  }

  /** @param name id or alias */
  site(name: string): SiteDetail | null {
    const byAlias = () => [...this.#sites.values()].find(({ site }) => site.alias === name);
    const queue = this.#sites.get(name) ?? byAlias() ?? null;
    const site = queue?.site ?? this.#watch.siteOf(name);
    if (site === null) return null;
    return siteDetail(site, queue, {
      limits: this.#deps.shaping.limitsOf(site, null),
      replies: this.#watch.repliesOf(site.id),
      lesson: this.#siteContext.lessons.peek(site.id, this.#deps.clock.monotonicMs()),
    });
  }

  /** Domains that DNS holds up. */
  heldDomains(limit: number): { domain: string; wait: Wait }[] {
    return this.#domains.held(limit);
  }

  /** The one thing that has to change before this recipient moves on. */
  explain(recipient: QueuedRecipient): Wait {
    return explain(recipient, {
      nowMs: this.#deps.clock.wallMs(),
      sites: this.#sites.values(),
      domains: this.#domains,
      suspensions: this.#suspensions,
      suspendedAtMs: this.#suspendedAtMs,
      spoolTrouble: this.#deps.spool.trouble(),
      saturated: this.#settler.saturated(),
      owed: (message) => this.#settler.owes(message),
    });
  }

  /** DNS gave no response at all, for some domain, just now. */
  get resolverUnreachable(): boolean {
    return this.#domains.resolverUnreachable;
  }

  async #load(): Promise<void> {
    const { spool } = this.#deps;
    for (let after: string | null = null; !this.#stopping; ) {
      try {
        const page = await spool.domains(after, DOMAINS_PAGE);
        for (const { domain, nextDueMs } of page) this.#domains.due(domain, nextDueMs);
        const last = page.at(-1);
        if (last === undefined || page.length < DOMAINS_PAGE) break;
        after = last.domain;
      } catch (error) {
        if (!(error instanceof SpoolUnavailable)) throw error;
        await this.#sleep(SPOOL_RETRY_MS);
      }
    }
    this.#loaded = !this.#stopping;
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

  #received(id: MessageId, submission: Submission): void {
    this.#deps.counters.received += submission.envelope.recipients.length;
    this.#deps.events.reception(id, submission);
  }

  #arrived(id: MessageId, submission: Submission): void {
    this.#received(id, submission);
    this.#due(submission);
  }

  #due(submission: Submission): void {
    const seen = new Set<string>();
    for (const { domain } of submission.envelope.recipients) {
      if (seen.has(domain)) continue;
      seen.add(domain);
      const { receivedAtMs, notBeforeMs = receivedAtMs } = submission;
      this.#domains.due(domain, Math.max(receivedAtMs, notBeforeMs), true);
      if (submission.priority === 'urgent') this.#domains.hasten(domain);
    }
  }

  #takeLocally(domain: string): boolean {
    if (!this.#local.owns(domain)) return false;
    this.#local.take(domain);
    return true;
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

  /** Mail is not returned for want of a resolver. */
  #expire(): void {
    if (this.#stopping || this.resolverUnreachable) return;
    void this.#returns.expire();
  }

  #tidy(): void {
    this.#domains.prefetch();
    this.#domains.releaseRecovered();
    for (const [id, site] of this.#sites) {
      site.tidy();
      if (!site.idle) continue;
      site.retire();
      this.#sites.delete(id);
    }
    this.#crowding.look();
  }
}

/** Of the site, or sent elsewhere: perhaps from there. */
const isOfSite = (result: RouteResult, name: string): boolean => {
  if (result.kind !== 'route') return false;
  const { site, origin } = result.route;
  return origin === 'operator' || site.alias === name || site.id === name;
};

/** An operator's decision (RFC 3463 X.7.1, delivery not authorized). */
const returned = (text: string): Omit<Failure, 'recipient'> => ({
  status: '5.7.1',
  text,
  reply: null,
  host: null,
  expired: false,
});
