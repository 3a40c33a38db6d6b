/**
 * One site at work: the domains that have due mail for it, a small buffer of leased messages, and the
 * connections that carry them.
 *
 * Invariants
 * - buffered <= LOW_WATER + BLOCK_MESSAGES, and as much again of urgent mail: the rest of the queue
 *   stays in the spool. (Messages; one may be several consignments.)
 * - A domain is in #ready exactly while the spool may hold due, unleased mail of it.
 * - Every consignment is in the buffer or on one connection, and leaves by settler.add(), once.
 * - While the site is held nothing is leased and nothing is buffered.
 */
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { DeliveryConfig } from '../config.ts';
import { judge } from '../disposition.ts';
import type { MessageId } from '../envelope.ts';
import { SpoolUnavailable } from '../errors.ts';
import { BackOff } from '../plan/back-off.ts';
import { SiteConcurrency } from '../plan/concurrency.ts';
import type { Itinerary, Target } from '../plan/route.ts';
import type { Limits, Shaping } from '../plan/shaping.ts';
import type { Site } from '../plan/site.ts';
import type { Wait } from '../running.ts';
import { type CloseCause, describeCause, type RecipientFact } from '../smtp/transaction.ts';
import type { Lease, LeasedMessage, Spool } from '../spool/spool.ts';
import type { Allotment } from './allotment.ts';
import { Buffer } from './buffer.ts';
import { type Consignment, consign } from './consignment.ts';
import { Dialler, factsOf } from './dialler.ts';
import type { HostHealth } from './hosts.ts';
import { Link, type LinkOpener } from './link.ts';
import type { Throttles } from './throttle.ts';
import { type Change, Tuner } from './tuner.ts';

/** Messages leased at a time. Larger blocks save little more, and keep others' memory. */
const BLOCK_MESSAGES = 100;
const BLOCK_OCTETS_MAX = 8 * 1024 * 1024;
/** Lease again when fewer are left. */
const LOW_WATER = 50;
/** Leased at a time of a site that has not taken a message since it was made or last failed: what many
 *  such hold in memory keeps others from theirs. */
const UNPROVEN_MESSAGES = 10;
/** Domains served by one lease. */
const DOMAINS_PER_LEASE = 64;
/** How far the guess at the backlog behind full blocks may double. */
const FULL_BLOCKS_MAX = 6;
const SPOOL_RETRY_MS = 1_000;
/** Domains that come to an idle site within so long of each other are leased for together, so that the
 *  recipients of one message travel in one transaction. */
const GATHER_MS = 10;
/** A rate limit that holds everything up is looked at again no later than this. */
const PACE_MS_MAX = 60_000;

/** What a site queue needs of the planner that made it. */
export interface SiteContext {
  readonly config: DeliveryConfig;
  readonly spool: Spool;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly hosts: HostHealth;
  /** Connections, over all sites. */
  readonly slots: Allotment;
  /** Octets of content in memory, over all sites. */
  readonly memory: Allotment;
  readonly openLink: LinkOpener;
  readonly shaping: Shaping;
  readonly throttles: Throttles;
  itinerary(site: Site): Itinerary;
  /** Whether outcomes are taken; false while the spool cannot record those it has. */
  accepting(site: Site): boolean;
  /** Takes mail that an operator holds back off the site's hands, by rescheduling it. @returns whether it did */
  park(leased: LeasedMessage): boolean;
  /** Tenants whose mail an operator holds back. */
  heldTenants(): readonly string[];
  /** No connection is to be had, and urgent mail waits for one. */
  crowded(): void;
  /** A rule lets a domain rest. */
  suspendDomain(domain: string, wait: Wait): void;
  /** A consignment is over. */
  finished(consignment: Consignment, facts: readonly RecipientFact[], host: string): void;
  /** Leases to be given back untried. */
  release(consignments: readonly Consignment[]): void;
  /** The domain has nothing due now; its next work is due then, or there is none. */
  drained(domain: string, nextDueMs: number | null): void;
  /** DNS no longer speaks for the site as it did: ask it again for these domains. */
  reroute(domains: readonly string[]): void;
}

export class SiteQueue {
  readonly site: Site;
  readonly #context: SiteContext;
  readonly #concurrency: SiteConcurrency;
  readonly #backOff: BackOff;
  readonly #limits: Limits;
  readonly #tuner: Tuner;
  /** Domain → monotonic ms until which its route is fresh. Insertion order is the order of service. */
  readonly #ready = new Map<string, number>();
  /** Domains that got mail while a lease was under way, so its nextDue may be outdated. */
  readonly #woken = new Set<string>();
  /** Domains that got urgent mail; leased for at once, however much is buffered. */
  readonly #urgent = new Set<string>();
  readonly #buffer = new Buffer();
  /** Consignments under way of domains with a limit of connections of their own. */
  readonly #underWay = new Map<string, number>();
  /** A host has answered a transaction since the site was made or last failed. */
  #proven = false;
  #leasing = false;
  #gathering = false;
  /** Leases in succession that came back full: the backlog is at least as long as that suggests. */
  #fullBlocks = 0;
  readonly #links = new Set<Link>();
  readonly #diallers = new Set<Dialler>();
  #opening = 0;
  #hold: Wait | null = null;
  /** Monotonic ms until which a rule lets the site rest. */
  #restUntilMs = Number.NEGATIVE_INFINITY;
  /** All that is buffered waits for its rate, or null; until this monotonic instant at most. */
  #pace: Wait | null = null;
  #paceUntilMs = 0;
  /** Domains whose own limits keep some of what is buffered, as last looked; no more is leased of them. */
  readonly #blocked = new Set<string>();
  #blockedCount = 0;
  #timer: Timer | null = null;
  #stopping = false;
  /** One function each, so that an allotment knows a waiter again. */
  readonly #resume = (): void => this.work();

  constructor(site: Site, context: SiteContext) {
    this.site = site;
    this.#context = context;
    this.#limits = context.shaping.limitsOf(site, null);
    this.#tuner = new Tuner(site.alias);
    this.#concurrency = new SiteConcurrency(this.#limits.connections.max);
    this.#backOff = new BackOff(context.random);
  }

  get domains(): number {
    return this.#ready.size;
  }

  get buffered(): number {
    return this.#buffer.length;
  }

  get connections(): number {
    return this.#links.size + this.#opening;
  }

  get hold(): Wait | null {
    return this.#hold;
  }

  /** Nothing due, nothing open: the planner may forget it. */
  get idle(): boolean {
    return (
      this.#ready.size === 0 &&
      this.#buffer.length === 0 &&
      this.connections === 0 &&
      !this.#leasing &&
      !this.#waiting()
    );
  }

  /** The message is leased, and waits here for a connection or its rate. */
  buffers(message: MessageId): boolean {
    return this.#buffer.length > 0 && this.#buffer.has(message);
  }

  /** What keeps due mail of this site from being under way. */
  wait(nowMs: number): Wait {
    if (this.#hold !== null) return this.#hold;
    if (this.#pace !== null) return this.#pace;
    const open = this.#links.size;
    const text =
      open > 0
        ? `next in line at ${this.site.alias}, over ${open} connection${open === 1 ? '' : 's'}`
        : `connecting to ${this.site.alias}`;
    return { on: open > 0 ? 'ready' : 'connection', text, sinceMs: nowMs, untilMs: null };
  }

  /** The domain routes here and may have due mail. @param freshUntilMs monotonic */
  add(domain: string, freshUntilMs: number): void {
    this.#ready.set(domain, freshUntilMs);
    if (this.#leasing) this.#woken.add(domain);
    if (this.#gathering) return;
    this.#gathering = true;
    this.#context.clock.after(GATHER_MS, () => {
      this.#gathering = false;
      this.work();
    });
  }

  /** More mail of a domain that is here already. @returns false when it is not */
  touch(domain: string): boolean {
    if (!this.#ready.has(domain)) return false;
    if (this.#leasing) this.#woken.add(domain);
    else if (!this.#gathering) this.work();
    return true;
  }

  /** Urgent mail of a domain that is here. */
  hasten(domain: string): void {
    if (!this.#ready.has(domain)) return;
    this.#urgent.add(domain);
    this.work();
  }

  /** The domain now routes elsewhere. Mail of it that is in hand goes out from here all the same. */
  remove(domain: string): void {
    this.#ready.delete(domain);
    this.#urgent.delete(domain);
  }

  /** Does whatever can be done now: lease, open connections, hand out work. Cheap when nothing can. */
  work(): void {
    if (this.#stopping || this.#heldBack()) return;
    const nowMs = this.#context.clock.monotonicMs();
    if (nowMs >= this.#paceUntilMs) this.#pace = null;
    if (this.#hold?.on === 'rule') this.#hold = null;
    if (this.#wantsLease()) void this.#lease();
    for (const link of this.#links) {
      if (this.#buffer.length === 0 || this.#pace !== null) break;
      link.wake();
    }
    this.#openSome();
  }

  /** Closes what has idled or lived too long. Called now and then. */
  tidy(): void {
    const nowMs = this.#context.clock.monotonicMs();
    for (const link of this.#links) link.tidy(nowMs, this.#context.config);
    if (this.#ready.size > 0 || this.#buffer.length > 0) this.work();
  }

  /** Closes the link that has idled longest, to free its slot. @returns false when none idles */
  closeIdle(): boolean {
    for (const link of this.#links) {
      if (!link.idle) continue;
      link.quit();
      return true;
    }
    return false;
  }

  /** Lets go of a busy link, once it has finished what it is at. @returns false when it would be the last */
  yieldLink(): boolean {
    if (this.#links.size < 2) return false;
    const [link] = this.#links;
    link?.quit();
    return link !== undefined;
  }

  /** No new work; transactions under way go on. Leases not begun are given back. */
  stop(): void {
    this.#stopping = true;
    this.#timer?.cancel();
    const { slots, memory } = this.#context;
    slots.leave(this.#resume);
    memory.leave(this.#resume);
    this.#providerConnections?.leave(this.#resume);
    this.#releaseBuffer();
    for (const link of this.#links) link.quit();
    for (const dialler of this.#diallers) dialler.abandon();
  }

  /** Ends transactions under way; their outcome is as if the connection had been lost. */
  abort(): void {
    for (const link of this.#links) link.destroy();
  }

  #heldBack(): boolean {
    return this.#waiting() || !this.#context.accepting(this.site);
  }

  #waiting(): boolean {
    const nowMs = this.#context.clock.monotonicMs();
    return nowMs < this.#restUntilMs || this.#backOff.state(nowMs) === 'waiting';
  }

  /** The connections that its provider's sites share, where they do. */
  get #providerConnections(): Allotment | null {
    return this.#context.throttles.connections(this.#limits.connections);
  }

  get #lowWater(): number {
    return this.#proven ? LOW_WATER : 1;
  }

  #wantsLease(): boolean {
    return this.#buffer.length - this.#blockedCount < this.#lowWater || this.#urgent.size > 0;
  }

  async #lease(): Promise<void> {
    if (this.#leasing || this.#gathering || this.#ready.size === 0) return;
    if (!this.#context.accepting(this.site)) return;
    // A site that has not answered lately is probed with one message, not with a block of them.
    const probing = this.#backOff.failures > 0;
    if (probing && this.#buffer.length > 0) return;
    const { memory, spool, clock } = this.#context;
    const urgentOnly = this.#buffer.length - this.#blockedCount >= this.#lowWater;
    const domains = urgentOnly ? this.#urgentDomains() : this.#nextDomains();
    // What somebody waits for does not wait for memory: there is little of it.
    if (domains.length === 0 || !(urgentOnly || memory.take(0, this.#resume))) return;
    this.#leasing = true;
    this.#woken.clear();
    for (const domain of domains) this.#urgent.delete(domain);
    try {
      const lease = await spool.lease({
        domains,
        nowMs: clock.wallMs(),
        messagesMax: probing ? 1 : this.#proven ? BLOCK_MESSAGES : UNPROVEN_MESSAGES,
        bytesMax: Math.max(1, Math.min(BLOCK_OCTETS_MAX, memory.left)),
        recipientsMax: this.#recipientsMax(domains),
        urgentOnly,
        heldTenants: this.#context.heldTenants(),
      });
      this.#leasing = false;
      if (urgentOnly) this.#keep(lease.messages);
      else this.#take(lease);
      // Due, it says, and yet nothing to be had: do not spin on it.
      if (lease.messages.length === 0 && this.#woken.size === 0 && this.#ready.size > 0) {
        this.#again(SPOOL_RETRY_MS);
        return;
      }
    } catch (error) {
      this.#leasing = false;
      if (!(error instanceof SpoolUnavailable)) throw error;
      this.#again(SPOOL_RETRY_MS);
    }
    this.work();
  }

  /** At most DOMAINS_PER_LEASE of those that got urgent mail. */
  #urgentDomains(): string[] {
    return [...this.#urgent].slice(0, DOMAINS_PER_LEASE);
  }

  /** Of the domains with the widest limit; consign() splits what is too much for another. */
  #recipientsMax(domains: readonly string[]): number {
    const { shaping } = this.#context;
    let recipientsMax = 1;
    for (const domain of domains) {
      const limits = shaping.limitsOf(this.site, domain);
      recipientsMax = Math.max(recipientsMax, limits.recipientsPerMessage);
    }
    return recipientsMax;
  }

  /** Domains to lease for, those with an outdated route sent back to the router. */
  #nextDomains(): string[] {
    const nowMs = this.#context.clock.monotonicMs();
    const domains: string[] = [];
    const outdated: string[] = [];
    // Those with urgent mail are asked for first.
    for (const domain of this.#urgent) {
      const freshUntilMs = this.#ready.get(domain);
      if (freshUntilMs !== undefined && freshUntilMs >= nowMs) domains.push(domain);
      if (domains.length === DOMAINS_PER_LEASE) return domains;
    }
    const first = new Set(domains);
    for (const [domain, freshUntilMs] of this.#ready) {
      if (first.has(domain) || this.#blocked.has(domain)) continue;
      if (freshUntilMs < nowMs) outdated.push(domain);
      else if (domains.push(domain) === DOMAINS_PER_LEASE) break;
    }
    for (const domain of outdated) this.remove(domain);
    if (outdated.length > 0) this.#context.reroute(outdated);
    return domains;
  }

  #take({ messages, nextDueMs }: Lease): void {
    const nowMs = this.#context.clock.wallMs();
    this.#fullBlocks =
      messages.length === BLOCK_MESSAGES ? Math.min(this.#fullBlocks + 1, FULL_BLOCKS_MAX) : 0;
    for (const [domain, dueMs] of nextDueMs) {
      const freshUntilMs = this.#ready.get(domain);
      if (freshUntilMs === undefined) continue;
      this.#ready.delete(domain);
      const more = dueMs !== null && dueMs <= nowMs;
      // Put back at the end of the line.
      if (more || this.#woken.has(domain)) this.#ready.set(domain, freshUntilMs);
      else this.#context.drained(domain, dueMs);
    }
    this.#keep(messages);
  }

  #keep(messages: readonly LeasedMessage[]): void {
    const { shaping, memory, clock } = this.#context;
    const nowMs = clock.wallMs();
    const limitsOf = (domain: string): Limits => shaping.limitsOf(this.site, domain);
    for (const leased of messages) {
      if (this.#context.park(leased)) continue;
      for (const consignment of consign(leased, limitsOf, nowMs)) {
        memory.claim(consignment.content.byteLength);
        this.#buffer.add(consignment);
      }
    }
    // New mail may be free to go where what is there is not.
    if (messages.length > 0) this.#pace = null;
    // A hold may have come while the lease was on its way.
    if (this.#stopping || this.#waiting()) this.#releaseBuffer();
  }

  #openSome(): void {
    if (this.#pace !== null || (this.#backOff.failures > 0 && this.connections > 0)) return;
    const beyond = this.#ready.size > 0 ? BLOCK_MESSAGES * (2 ** this.#fullBlocks - 1) : 0;
    const inHand = [...this.#links].reduce((sum, link) => sum + link.underWay, 0);
    const desired = this.#concurrency.desired(this.#buffer.length + inHand + beyond);
    while (this.#buffer.length > 0 && this.connections < desired) {
      if (!this.#takeSlot()) return;
      if (!this.#backOff.enter(this.#context.clock.monotonicMs())) {
        this.#giveSlotBack();
        return;
      }
      this.#opening += 1;
      void this.#open();
    }
  }

  /** A connection of all that there are, and of its provider's. */
  #takeSlot(): boolean {
    const { slots } = this.#context;
    if (!slots.take(1, this.#resume)) {
      if (this.connections === 0) this.#context.crowded();
      return false;
    }
    if (this.#providerConnections?.take(1, this.#resume) ?? true) return true;
    slots.giveBack(1);
    return false;
  }

  #giveSlotBack(): void {
    this.#providerConnections?.giveBack(1);
    this.#context.slots.giveBack(1);
  }

  async #open(): Promise<void> {
    const { hosts, config, clock, openLink } = this.#context;
    const dialler: Dialler = new Dialler({
      itinerary: this.#context.itinerary(this.site),
      hosts,
      config,
      tls: this.site.tls,
      clock,
      openLink,
      makeLink: (target) => this.#makeLink(target, (link) => dialler.won(link)),
      stopping: () => this.#stopping,
    });
    this.#diallers.add(dialler);
    const dialled = await dialler.dial();
    this.#diallers.delete(dialler);
    this.#opening -= 1;
    if (dialled.kind === 'ready') {
      this.work();
      return;
    }
    this.#giveSlotBack();
    if (this.#stopping) return this.#backOff.abandoned();
    this.#failed(dialled.text, dialled.hintMs);
  }

  #makeLink(target: Target, ready: (link: Link) => void): Link {
    const { hosts, clock } = this.#context;
    const link: Link = new Link(target, () => clock.monotonicMs(), {
      ready: () => {
        ready(link);
        hosts.answered(target.address);
        this.#links.add(link);
      },
      next: () => this.#next(link),
      outcome: (consignment, facts) => this.#outcome(link, consignment, facts),
      closed: (cause, untouched) => this.#closed(link, cause, untouched),
    });
    return link;
  }

  #next(link: Link): Consignment | null {
    if (this.#stopping || !this.#context.accepting(this.site)) return null;
    const { config, clock } = this.#context;
    const nowMs = clock.monotonicMs();
    if (link.aged(nowMs, config)) {
      link.quit();
      return null;
    }
    const pause = { waitMs: Number.POSITIVE_INFINITY, text: '' };
    let spent = false;
    this.#blocked.clear();
    this.#blockedCount = 0;
    const consignment = this.#buffer.take(({ limits, leased }) => {
      if (link.messages >= limits.messagesPerConnection) {
        spent = true;
        return false;
      }
      return this.#hasTurn(limits, leased, nowMs, pause);
    });
    if (this.#wantsLease()) void this.#lease();
    if (consignment !== null) {
      this.#begin(consignment, nowMs);
      return consignment;
    }
    if (spent) link.quit();
    else if (pause.waitMs < Number.POSITIVE_INFINITY) this.#paced(pause.text, pause.waitMs);
    return null;
  }

  /** Neither its rate nor its domain's connections keep it; a rate that does goes into `pause`. */
  #hasTurn(
    { messagesPerSecond, connections }: Limits,
    { recipients }: LeasedMessage,
    nowMs: number,
    pause: { waitMs: number; text: string },
  ): boolean {
    if (isOfDomain(connections)) {
      const { domain } = recipients[0]!;
      if ((this.#underWay.get(domain) ?? 0) >= connections.max) return this.#block(domain);
    }
    const tunedMs = this.#tuner.waitMs(nowMs);
    const rateMs =
      messagesPerSecond === null
        ? 0
        : this.#context.throttles.bucket(messagesPerSecond, nowMs).waitMs(nowMs);
    if (tunedMs <= 0 && rateMs <= 0) return true;
    if (Math.max(tunedMs, rateMs) < pause.waitMs) {
      pause.waitMs = Math.max(tunedMs, rateMs);
      pause.text =
        tunedMs >= rateMs || messagesPerSecond === null
          ? (this.#tuner.slowed?.text ?? '')
          : `${messagesPerSecond.max} messages a second is the limit of ${this.#scopeText(messagesPerSecond.scope)}`;
    }
    if (messagesPerSecond?.scope.startsWith('domain ') === true) {
      return this.#block(recipients[0]!.domain);
    }
    return false;
  }

  #block(domain: string): false {
    this.#blocked.add(domain);
    this.#blockedCount += 1;
    return false;
  }

  #scopeText(scope: string): string {
    return scope.startsWith('site ') ? this.site.alias : scope;
  }

  #begin({ limits, leased }: Consignment, nowMs: number): void {
    this.#pace = null;
    this.#tuner.take();
    const { messagesPerSecond, connections } = limits;
    if (messagesPerSecond !== null) this.#context.throttles.bucket(messagesPerSecond, nowMs).take();
    if (isOfDomain(connections)) this.#count(leased.recipients[0]!.domain, 1);
  }

  /** No longer under way. */
  #end({ limits, leased }: Consignment): void {
    if (isOfDomain(limits.connections)) this.#count(leased.recipients[0]!.domain, -1);
  }

  #count(domain: string, change: 1 | -1): void {
    const count = (this.#underWay.get(domain) ?? 0) + change;
    if (count === 0) this.#underWay.delete(domain);
    else this.#underWay.set(domain, count);
  }

  /** Everything that is buffered waits for its rate. */
  #paced(text: string, waitMs: number): void {
    const wallMs = this.#context.clock.wallMs();
    const untilMs = wallMs + Math.ceil(waitMs);
    this.#pace = { on: 'rate', text, sinceMs: this.#pace?.sinceMs ?? wallMs, untilMs };
    const delayMs = Math.min(Math.ceil(waitMs), PACE_MS_MAX);
    this.#paceUntilMs = this.#context.clock.monotonicMs() + delayMs;
    this.#again(delayMs);
  }

  #outcome(link: Link, consignment: Consignment, facts: readonly RecipientFact[]): void {
    const lost = facts.every(({ phase }) => phase === 'lost');
    const blameless = facts.every(({ maybeDelivered }) => !maybeDelivered);
    this.#end(consignment);
    if (lost && blameless && link.settled > 0 && !consignment.interrupted && !this.#stopping) {
      // The peer hung up between two messages; this one need not wait for that.
      consignment.interrupted = true;
      this.#buffer.putBack([consignment]);
      return;
    }
    if (!lost) {
      link.settled += 1;
      this.#proven = true;
      this.#succeeded();
      this.#concurrency.served(this.#context.clock.monotonicMs(), link.lastTookMs);
      this.#tune(consignment, facts);
    }
    this.#context.memory.giveBack(consignment.content.byteLength);
    this.#context.finished(consignment, facts, link.target.host);
  }

  #closed(link: Link, cause: CloseCause, untouched: readonly Consignment[]): void {
    this.#links.delete(link);
    this.#giveSlotBack();
    for (const consignment of untouched) this.#end(consignment);
    this.#buffer.putBack(untouched);
    if (this.#stopping) {
      this.#releaseBuffer();
      return;
    }
    if (cause.kind === 'quit' || cause.kind === 'destroyed') {
      // A probe that we closed ourselves proved nothing.
      this.#backOff.abandoned();
      this.work();
      return;
    }
    const { log, clock, hosts } = this.#context;
    log.info(
      { site: this.site.alias, host: link.target.host, messages: link.settled },
      describeCause(cause),
    );
    const wanted = cause.kind !== 'closed' || cause.phase !== null;
    if (wanted) this.#concurrency.refused(clock.monotonicMs(), this.#links.size);
    if (link.settled > 0) {
      this.work();
      return;
    }
    hosts.failed(link.target.address);
    this.#failed(`${link.target.host}: ${describeCause(cause)}`, judge(factsOf(cause)).hintMs);
  }

  #tune({ leased }: Consignment, facts: readonly RecipientFact[]): void {
    const { clock, log } = this.#context;
    const [nowMs, wallMs] = [clock.monotonicMs(), clock.wallMs()];
    const domains = leased.recipients.map(({ domain }) => domain);
    const change = this.#tuner.observe(facts, domains, nowMs, wallMs);
    if (change === null) return;
    const { rule, text } = change;
    log.warn({ site: this.site.alias, rule: rule.name, remedy: rule.remedy }, text);
    this.#apply(change, wallMs);
  }

  #apply({ rule: { remedy }, domain, text }: Change, wallMs: number): void {
    if (remedy.kind === 'slow') return;
    const untilMs = wallMs + remedy.forMs;
    if (remedy.kind === 'suspend-domain') {
      this.remove(domain);
      const wait = {
        on: 'rule',
        text: `${domain} rests by rule: ${text}`,
        sinceMs: wallMs,
        untilMs,
      };
      this.#context.suspendDomain(domain, wait);
      return;
    }
    this.#restUntilMs = this.#context.clock.monotonicMs() + remedy.forMs;
    this.#hold = {
      on: 'rule',
      text: `${this.site.alias} rests by rule: ${text}`,
      sinceMs: wallMs,
      untilMs,
    };
    this.#releaseBuffer();
    this.#again(remedy.forMs);
  }

  #succeeded(): void {
    if (this.#backOff.failures === 0) return;
    this.#backOff.succeeded();
    this.#hold = null;
  }

  /** The site as a whole does not take mail: hold it, and come back with one probe. */
  #failed(text: string, hintMs: number | null): void {
    const { clock, log } = this.#context;
    if (this.#links.size > 0) {
      // Others of its connections work, so the site lives; it just would not have one more.
      this.#backOff.abandoned();
      this.#concurrency.refused(clock.monotonicMs(), this.#links.size);
      this.#again(SPOOL_RETRY_MS);
      return;
    }
    const nowMs = clock.monotonicMs();
    this.#proven = false;
    this.#backOff.failed(nowMs, hintMs);
    const waitMs = Math.max(0, this.#backOff.untilMs - nowMs);
    const wallMs = clock.wallMs();
    this.#hold = {
      on: 'site',
      text: `${this.site.alias} takes no mail now: ${text}`,
      sinceMs: this.#hold?.sinceMs ?? wallMs,
      untilMs: wallMs + Math.ceil(waitMs),
    };
    log.warn({ site: this.site.alias, retryInMs: Math.ceil(waitMs) }, text);
    this.#releaseBuffer();
    this.#again(waitMs);
  }

  #again(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#context.clock.after(delayMs, () => this.work());
  }

  #releaseBuffer(): void {
    this.#pace = null;
    if (this.#buffer.length === 0) return;
    const consignments = this.#buffer.empty();
    for (const { content } of consignments) this.#context.memory.giveBack(content.byteLength);
    this.#context.release(consignments);
  }
}

/** A limit that counts within the mail of one domain. */
const isOfDomain = ({ scope }: Limits['connections']): boolean => scope.startsWith('domain ');
