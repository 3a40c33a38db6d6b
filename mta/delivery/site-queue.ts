/**
 * One site at work: the domains that have due mail for it, a small buffer of leased messages, and the
 * connections that carry them.
 *
 * Invariants
 * - buffered <= LOW_WATER + BLOCK_MESSAGES: the rest of the queue stays in the spool.
 * - A domain is in #ready exactly while the spool may hold due, unleased mail of it.
 * - Every consignment is in the buffer or on one connection, and leaves by settler.add(), once.
 * - While the site is held nothing is leased and nothing is buffered.
 */
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { DeliveryConfig } from '../config.ts';
import { judge } from '../disposition.ts';
import { SpoolUnavailable } from '../errors.ts';
import { BackOff } from '../plan/back-off.ts';
import { SiteConcurrency } from '../plan/concurrency.ts';
import type { Itinerary, NextTarget, Target } from '../plan/route.ts';
import type { Site } from '../plan/site.ts';
import type { Wait } from '../running.ts';
import { type CloseCause, describeCause, type RecipientFact } from '../smtp/transaction.ts';
import type { Lease, Spool } from '../spool/spool.ts';
import type { Allotment } from './allotment.ts';
import { type Consignment, consign } from './consignment.ts';
import type { HostHealth } from './hosts.ts';
import { Link, type LinkOpener } from './link.ts';

/** Messages leased at a time. Larger blocks save little more, and keep others' memory. */
const BLOCK_MESSAGES = 100;
const BLOCK_OCTETS_MAX = 8 * 1024 * 1024;
/** Lease again when fewer are left. */
const LOW_WATER = 50;
/** Domains served by one lease. */
const DOMAINS_PER_LEASE = 64;
/** How far the guess at the backlog behind full blocks may double. */
const FULL_BLOCKS_MAX = 6;
const SPOOL_RETRY_MS = 1_000;
/** Domains that come to an idle site within so long of each other are leased for together, so that the
 *  recipients of one message travel in one transaction. */
const GATHER_MS = 10;
/** Targets tried for one connection, over all addresses of all hosts. */
const TARGETS_MAX = 20;

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
  itinerary(site: Site): Itinerary;
  /** Whether outcomes are taken; false while the spool cannot record those it has. */
  accepting(): boolean;
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
  /** Domain → monotonic ms until which its route is fresh. Insertion order is the order of service. */
  readonly #ready = new Map<string, number>();
  /** Domains that got mail while a lease was under way, so its nextDue may be outdated. */
  readonly #woken = new Set<string>();
  #buffer: Consignment[] = [];
  #leasing = false;
  #gathering = false;
  /** Leases in succession that came back full: the backlog is at least as long as that suggests. */
  #fullBlocks = 0;
  readonly #links = new Set<Link>();
  /** Links on their way to be ready. */
  readonly #attempts = new Set<Link>();
  #opening = 0;
  #hold: Wait | null = null;
  #timer: Timer | null = null;
  #stopping = false;
  /** One function each, so that an allotment knows a waiter again. */
  readonly #resume = (): void => this.work();

  constructor(site: Site, context: SiteContext) {
    this.site = site;
    this.#context = context;
    this.#concurrency = new SiteConcurrency(context.config.connections);
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

  /** What keeps due mail of this site from being under way. */
  wait(nowMs: number): Wait {
    if (this.#hold !== null) return this.#hold;
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

  /** The domain now routes elsewhere. Mail of it that is in hand goes out from here all the same. */
  remove(domain: string): void {
    this.#ready.delete(domain);
  }

  /** Does whatever can be done now: lease, open connections, hand out work. Cheap when nothing can. */
  work(): void {
    if (this.#stopping || this.#heldBack()) return;
    if (this.#buffer.length < LOW_WATER) void this.#lease();
    for (const link of this.#links) {
      if (this.#buffer.length === 0) break;
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

  /** No new work; transactions under way go on. Leases not begun are given back. */
  stop(): void {
    this.#stopping = true;
    this.#timer?.cancel();
    this.#context.slots.leave(this.#resume);
    this.#context.memory.leave(this.#resume);
    this.#releaseBuffer();
    for (const link of this.#links) link.quit();
    for (const link of this.#attempts) link.destroy();
  }

  /** Ends transactions under way; their outcome is as if the connection had been lost. */
  abort(): void {
    for (const link of this.#links) link.destroy();
  }

  #heldBack(): boolean {
    return this.#waiting() || !this.#context.accepting();
  }

  #waiting(): boolean {
    return this.#backOff.state(this.#context.clock.monotonicMs()) === 'waiting';
  }

  async #lease(): Promise<void> {
    if (this.#leasing || this.#gathering || this.#ready.size === 0) return;
    // A site that has not answered lately is probed with one message, not with a block of them.
    const probing = this.#backOff.failures > 0;
    if (probing && this.#buffer.length > 0) return;
    const { memory, spool, clock, config } = this.#context;
    const domains = this.#nextDomains();
    if (domains.length === 0 || !memory.take(0, this.#resume)) return;
    this.#leasing = true;
    this.#woken.clear();
    try {
      const lease = await spool.lease({
        domains,
        nowMs: clock.wallMs(),
        messagesMax: probing ? 1 : BLOCK_MESSAGES,
        bytesMax: Math.min(BLOCK_OCTETS_MAX, memory.left),
        recipientsMax: config.recipients_per_message,
      });
      this.#leasing = false;
      this.#take(lease);
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

  /** Domains to lease for, those with an outdated route sent back to the router. */
  #nextDomains(): string[] {
    const nowMs = this.#context.clock.monotonicMs();
    const domains: string[] = [];
    const outdated: string[] = [];
    for (const [domain, freshUntilMs] of this.#ready) {
      if (freshUntilMs < nowMs) outdated.push(domain);
      else if (domains.push(domain) === DOMAINS_PER_LEASE) break;
    }
    for (const domain of outdated) this.#ready.delete(domain);
    if (outdated.length > 0) this.#context.reroute(outdated);
    return domains;
  }

  #take({ messages, nextDueMs }: Lease): void {
    const nowMs = this.#context.clock.wallMs();
    for (const leased of messages) {
      this.#context.memory.claim(leased.content.byteLength);
      this.#buffer.push(consign(leased, nowMs));
    }
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
    // A hold may have come while the lease was on its way.
    if (this.#stopping || this.#waiting()) this.#releaseBuffer();
  }

  #openSome(): void {
    if (this.#backOff.failures > 0 && this.connections > 0) return;
    const beyond = this.#ready.size > 0 ? BLOCK_MESSAGES * (2 ** this.#fullBlocks - 1) : 0;
    const inHand = [...this.#links].reduce((sum, link) => sum + link.underWay, 0);
    const desired = this.#concurrency.desired(this.#buffer.length + inHand + beyond);
    while (this.#buffer.length > 0 && this.connections < desired) {
      if (!this.#context.slots.take(1, this.#resume)) return;
      if (!this.#backOff.enter(this.#context.clock.monotonicMs())) {
        this.#context.slots.giveBack(1);
        return;
      }
      this.#opening += 1;
      void this.#open();
    }
  }

  /** Tries target after target until one is ready for mail, the list is at its end, or one spoke for all. */
  async #open(): Promise<void> {
    const itinerary = this.#context.itinerary(this.site);
    const shunned: Target[] = [];
    let last: { text: string; hintMs: number | null } | null = null;
    let ready = false;
    for (let tried = 0; tried < TARGETS_MAX && !ready && !this.#stopping; ) {
      const next = await itinerary.next();
      const target = next.kind === 'target' ? next.target : shunned.shift();
      if (target === undefined) {
        last ??= { text: wordingOf(next), hintMs: null };
        break;
      }
      if (next.kind === 'target' && this.#context.hosts.shunned(target.address)) {
        shunned.push(target);
        continue;
      }
      tried += 1;
      const cause = await this.#connect(target);
      ready = cause === null;
      if (cause === null) break;
      const judgement = judge(factsOf(cause));
      const text = `${target.host} [${target.address}]: ${describeCause(cause)}`;
      last = { text, hintMs: judgement.hintMs };
      if (judgement.reach === 'site') break;
      if (cause.kind === 'refused') itinerary.skipHost();
    }
    this.#opening -= 1;
    if (ready) {
      this.work();
      return;
    }
    this.#context.slots.giveBack(1);
    if (this.#stopping) return this.#backOff.abandoned();
    this.#failed(last?.text ?? 'no host could be tried', last?.hintMs ?? null);
  }

  /** @returns null when the session is ready for mail, else why it is not */
  async #connect(target: Target): Promise<CloseCause | null> {
    const { hosts, config, clock, openLink } = this.#context;
    const inClear = config.tls === 'opportunistic' && hosts.tlsBroken(target.address);
    const link: Link = new Link(target, () => clock.monotonicMs(), {
      ready: () => {
        hosts.answered(target.address);
        this.#links.add(link);
      },
      next: () => this.#next(link),
      outcome: (consignment, facts) => this.#outcome(link, consignment, facts),
      closed: (cause, untouched) => this.#closed(link, cause, untouched),
    });
    this.#attempts.add(link);
    const cause = await link.open(openLink, inClear ? 'none' : config.tls);
    this.#attempts.delete(link);
    if (cause === null) return null;
    if (cause.kind === 'tls' && config.tls === 'opportunistic' && !inClear) {
      hosts.tlsFailed(target.address);
      return this.#connect(target);
    }
    hosts.failed(target.address);
    return cause;
  }

  #next(link: Link): Consignment | null {
    if (this.#stopping) return null;
    const { config, clock } = this.#context;
    if (link.spent(clock.monotonicMs(), config)) {
      link.quit();
      return null;
    }
    const consignment = this.#buffer.shift() ?? null;
    if (this.#buffer.length < LOW_WATER) void this.#lease();
    return consignment;
  }

  #outcome(link: Link, consignment: Consignment, facts: readonly RecipientFact[]): void {
    const lost = facts.every(({ phase }) => phase === 'lost');
    const blameless = facts.every(({ maybeDelivered }) => !maybeDelivered);
    if (lost && blameless && link.settled > 0 && !consignment.interrupted && !this.#stopping) {
      // The peer hung up between two messages; this one need not wait for that.
      consignment.interrupted = true;
      this.#buffer.unshift(consignment);
      return;
    }
    if (!lost) {
      link.settled += 1;
      this.#succeeded();
      this.#concurrency.served(this.#context.clock.monotonicMs(), link.lastTookMs);
    }
    this.#context.memory.giveBack(consignment.content.byteLength);
    this.#context.finished(consignment, facts, link.target.host);
  }

  #closed(link: Link, cause: CloseCause, untouched: readonly Consignment[]): void {
    this.#links.delete(link);
    this.#context.slots.giveBack(1);
    this.#buffer.unshift(...untouched);
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
    if (this.#buffer.length === 0) return;
    const consignments = this.#buffer;
    this.#buffer = [];
    for (const { content } of consignments) this.#context.memory.giveBack(content.byteLength);
    this.#context.release(consignments);
  }
}

function wordingOf(next: NextTarget): string {
  if (next.kind === 'exhausted') return 'no host answered';
  return next.kind === 'target' ? 'unreachable' : next.text;
}

/** What a connection that never got to mail looks like to the policy. */
function factsOf(cause: CloseCause): Parameters<typeof judge>[0] {
  switch (cause.kind) {
    case 'refused':
      return { phase: cause.phase, reply: cause.reply, maybeDelivered: false };
    case 'goodbye':
      return { phase: 'greeting', reply: cause.reply, maybeDelivered: false };
    case 'connect':
      return { phase: 'connect', reply: null, maybeDelivered: false };
    case 'tls':
      return { phase: 'starttls', reply: null, maybeDelivered: false };
    default:
      return { phase: 'lost', reply: null, maybeDelivered: false };
  }
}
