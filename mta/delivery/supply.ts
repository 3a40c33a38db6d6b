/**
 * What a site has to send: the domains that have due mail for it, and a small buffer of leased messages.
 *
 * Invariants
 * - buffered <= LOW_WATER + BLOCK_MESSAGES, and as much again of urgent mail: the rest of the queue
 *   stays in the spool. (Messages; one may be several consignments.)
 * - A domain is in #ready exactly while the spool may hold due, unleased mail of it.
 * - While the site is held nothing is leased and nothing is buffered.
 */
import type { Recipient } from '../envelope.ts';
import { SpoolUnavailable } from '../errors.ts';
import type { Limits } from '../plan/shaping.ts';
import type { Site } from '../plan/site.ts';
import type { Lease, LeasedMessage } from '../spool/spool.ts';
import { Buffer } from './buffer.ts';
import { consign } from './consignment.ts';
import type { SiteContext } from './site-context.ts';
import type { Standing } from './standing.ts';
import type { Turns } from './turns.ts';

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
/** Recipients of one message leased at a time where each has a reverse-path of its own. */
const APART_MAX = 16;
const SPOOL_RETRY_MS = 1_000;
/** Domains that come to an idle site within so long of each other are leased for together, so that the
 *  recipients of one message travel in one transaction. */
const GATHER_MS = 10;

/** What the supply needs of its site. */
export interface Demand {
  readonly standing: Standing;
  /** Nothing is to be kept in memory: the site is held, or stops. */
  closed(): boolean;
  /** There is something to do. */
  work(): void;
  /** There may be something to do then. */
  again(delayMs: number): void;
}

export class Supply {
  readonly #site: Site;
  readonly #context: SiteContext;
  readonly #turns: Turns;
  readonly #demand: Demand;
  readonly buffer = new Buffer();
  /** Domain → monotonic ms until which its route is fresh. Insertion order is the order of service. */
  readonly #ready = new Map<string, number>();
  /** Domains that got mail while a lease was under way, so its nextDue may be outdated. */
  readonly #woken = new Set<string>();
  /** Domains that got urgent mail; leased for at once, however much is buffered. */
  readonly #urgent = new Set<string>();
  /** Of those ready, the ones that may have mail in the spool that has waited for a turn. */
  readonly #behind = new Set<string>();
  /** Messages that are being appended to the spool, and come here from there. */
  #reserved = 0;
  #leasing = false;
  #gathering = false;
  /** Leases in succession that came back full: the backlog is at least as long as that suggests. */
  #fullBlocks = 0;
  /** One function, so that an allotment knows a waiter again. */
  readonly #resume = (): void => this.#demand.work();

  constructor(site: Site, context: SiteContext, turns: Turns, demand: Demand) {
    this.#site = site;
    this.#context = context;
    this.#turns = turns;
    this.#demand = demand;
  }

  /** Domains with due mail. */
  get domains(): number {
    return this.#ready.size;
  }

  domainNames(limit: number): string[] {
    return [...this.#ready.keys()].slice(0, limit);
  }

  /** Nothing due, nothing in hand. */
  get idle(): boolean {
    const inHand = this.buffer.length + this.#reserved;
    return this.#ready.size === 0 && inHand === 0 && !this.#leasing;
  }

  /** Messages that are thought to wait in the spool. */
  get beyond(): number {
    return this.#ready.size > 0 ? BLOCK_MESSAGES * (2 ** this.#fullBlocks - 1) : 0;
  }

  /** The domain routes here and may have due mail. @param freshUntilMs monotonic */
  add(domain: string, freshUntilMs: number, fresh: boolean): void {
    this.#ready.set(domain, freshUntilMs);
    if (!fresh || this.#isFull) this.#behind.add(domain);
    if (this.#leasing) this.#woken.add(domain);
    if (this.#gathering) return;
    this.#gathering = true;
    this.#context.clock.after(GATHER_MS, () => {
      this.#gathering = false;
      this.#demand.work();
    });
  }

  /** More mail of a domain that is here already. @returns false when it is not */
  touch(domain: string): boolean {
    if (!this.#ready.has(domain)) return false;
    if (this.#isFull) this.#behind.add(domain);
    if (this.#leasing) this.#woken.add(domain);
    else if (!this.#gathering) this.#demand.work();
    return true;
  }

  /** Urgent mail of a domain that is here. */
  hasten(domain: string): void {
    if (!this.#ready.has(domain)) return;
    this.#urgent.add(domain);
    this.#demand.work();
  }

  remove(domain: string): void {
    this.#ready.delete(domain);
    this.#urgent.delete(domain);
    this.#behind.delete(domain);
  }

  /** Room for a message that comes straight from its submitter: nobody in the spool is to be overtaken by it. */
  reserve(recipients: readonly Recipient[], octets: number): boolean {
    const { memory } = this.#context;
    if (this.#behind.size > 0 || this.#isFull || this.#turns.pace !== null) return false;
    if (memory.waiting > 0 || memory.left < octets) return false;
    for (const { domain } of recipients) if (this.#turns.blocks(domain)) return false;
    this.#reserved += 1;
    return true;
  }

  redeem(leased: LeasedMessage): void {
    this.#reserved -= 1;
    this.#keep([leased]);
    this.#demand.work();
  }

  withdraw(): void {
    this.#reserved -= 1;
  }

  /** Leases are given back. */
  empty(): void {
    this.#turns.forget();
    if (this.buffer.length === 0) return;
    const consignments = this.buffer.empty();
    for (const { content } of consignments) this.#context.memory.giveBack(content.byteLength);
    this.#context.release(consignments);
  }

  stop(): void {
    this.#context.memory.leave(this.#resume);
    this.empty();
  }

  /** Asks the spool for more when little is left, or somebody waits for it. */
  replenish(): void {
    if (this.#unblocked < this.#lowWater || this.#urgent.size > 0) void this.#lease();
  }

  /** Messages that no limit of their domain keeps back. */
  get #unblocked(): number {
    return this.buffer.length - this.#turns.blockedCount;
  }

  /** As much is in hand as leases would bring before more is asked for. */
  get #isFull(): boolean {
    const room = this.#demand.standing.proven ? LOW_WATER : UNPROVEN_MESSAGES;
    return this.buffer.length + this.#reserved >= room;
  }

  get #lowWater(): number {
    return this.#demand.standing.proven ? LOW_WATER : 1;
  }

  async #lease(): Promise<void> {
    if (this.#leasing || this.#gathering || this.#ready.size === 0) return;
    if (!this.#context.accepting(this.#site)) return;
    // A site that has not answered lately is probed with one message, not with a block of them.
    const { probing, proven } = this.#demand.standing;
    if (probing && this.buffer.length > 0) return;
    const { memory, spool, clock } = this.#context;
    const urgentOnly = this.#unblocked >= this.#lowWater;
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
        messagesMax: probing ? 1 : proven ? BLOCK_MESSAGES : UNPROVEN_MESSAGES,
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
        this.#demand.again(SPOOL_RETRY_MS);
        return;
      }
    } catch (error) {
      this.#leasing = false;
      if (!(error instanceof SpoolUnavailable)) throw error;
      this.#demand.again(SPOOL_RETRY_MS);
    }
    this.#demand.work();
  }

  /** At most DOMAINS_PER_LEASE of those that got urgent mail. */
  #urgentDomains(): string[] {
    return [...this.#urgent].slice(0, DOMAINS_PER_LEASE);
  }

  /** Of the domains with the widest limit; consign() splits what is too much for another. */
  #recipientsMax(domains: readonly string[]): number {
    const { shaping, reversePathFor } = this.#context;
    let recipientsMax = 1;
    for (const domain of domains) {
      const limits = shaping.limitsOf(this.#site, domain);
      recipientsMax = Math.max(recipientsMax, limits.recipientsPerMessage);
    }
    // Each becomes a transaction of its own, and claims memory as if its content were.
    return reversePathFor === null ? recipientsMax : Math.min(recipientsMax, APART_MAX);
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
      if (first.has(domain) || this.#turns.blocks(domain)) continue;
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
      if (more) this.#behind.add(domain);
      else this.#behind.delete(domain);
    }
    this.#keep(messages);
  }

  #keep(messages: readonly LeasedMessage[]): void {
    const { shaping, memory, clock } = this.#context;
    const nowMs = clock.wallMs();
    const limitsOf = (domain: string): Limits => shaping.limitsOf(this.#site, domain);
    for (const leased of messages) {
      if (this.#context.park(leased)) continue;
      for (const consignment of consign(leased, limitsOf, nowMs, this.#context.reversePathFor)) {
        memory.claim(consignment.content.byteLength);
        this.buffer.add(consignment);
      }
    }
    // New mail may be free to go where what is there is not.
    if (messages.length > 0) this.#turns.forget();
    // A hold may have come while the lease was on its way.
    if (this.#demand.closed()) this.empty();
  }
}
