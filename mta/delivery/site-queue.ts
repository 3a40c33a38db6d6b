/**
 * One site at work: its supply of mail, and the connections that carry it.
 *
 * Invariants
 * - Every consignment is in the buffer or on one connection, and leaves by settler.add(), once.
 * - While the site is held nothing is leased and nothing is buffered.
 */
import type { Timer } from '../../runtime/clock.ts';
import { isTaken, judge } from '../disposition.ts';
import type { MessageId, Recipient } from '../envelope.ts';
import { SiteConcurrency } from '../plan/concurrency.ts';
import type { Target } from '../plan/route.ts';
import type { Limits } from '../plan/shaping.ts';
import type { Site } from '../plan/site.ts';
import type { LimitChange, Wait } from '../running.ts';
import { type CloseCause, describeCause, type RecipientFact } from '../smtp/transaction.ts';
import type { LeasedMessage } from '../spool/spool.ts';
import type { Allotment } from './allotment.ts';
import type { Consignment } from './consignment.ts';
import { Dialler, factsOf } from './dialler.ts';
import { Link } from './link.ts';
import type { SiteContext } from './site-context.ts';
import { Standing } from './standing.ts';
import { Supply } from './supply.ts';
import { TOLD_DOMAINS_MAX } from './tls-watch.ts';
import { type Change, Tuner } from './tuner.ts';
import { Turns } from './turns.ts';

/** A site that would not have one more connection is asked again no sooner. */
const RETRY_MS = 1_000;

export class SiteQueue {
  readonly site: Site;
  readonly #context: SiteContext;
  readonly #concurrency: SiteConcurrency;
  readonly #standing: Standing;
  readonly #limits: Limits;
  readonly #tuner: Tuner;
  readonly #turns: Turns;
  readonly #supply: Supply;
  readonly #links = new Set<Link>();
  readonly #diallers = new Set<Dialler>();
  #opening = 0;
  /** It has its place among the sites on trial. */
  #onTrial = false;
  #timer: Timer | null = null;
  #stopping = false;
  /** One function, so that an allotment knows a waiter again. */
  readonly #resume = (): void => this.work();

  constructor(site: Site, context: SiteContext) {
    this.site = site;
    this.#context = context;
    this.#limits = context.shaping.limitsOf(site, null);
    const nowMs = context.clock.monotonicMs();
    const { pause, restraint } = context.lessons.take(site.id, nowMs);
    this.#tuner = new Tuner(site.alias, pause, nowMs);
    this.#turns = new Turns(site, context, this.#tuner);
    this.#concurrency = new SiteConcurrency(this.#limits.connections.max, restraint);
    this.#standing = new Standing(site.alias, context);
    this.#supply = new Supply(site, context, this.#turns, {
      standing: this.#standing,
      closed: () => this.#stopping || this.#standing.waiting,
      work: () => this.work(),
      again: (delayMs) => this.#again(delayMs),
    });
  }

  get domains(): number {
    return this.#supply.domains;
  }

  get buffered(): number {
    return this.#supply.buffer.length;
  }

  get connections(): number {
    return this.#links.size + this.#opening;
  }

  get hold(): Wait | null {
    return this.#standing.hold;
  }

  /** Connections that the peer is thought to stand. */
  get allowance(): number {
    return this.#concurrency.allowance;
  }

  /** It goes slowly by rule, and why. */
  get slowed(): Pick<Wait, 'text' | 'sinceMs'> | null {
    return this.#tuner.slowed;
  }

  /** Of those with due mail, so many at most. */
  domainNames(limit: number): string[] {
    return this.#supply.domainNames(limit);
  }

  /** Nothing due, nothing open: the planner may forget it. */
  get idle(): boolean {
    return this.#supply.idle && this.connections === 0 && !this.#standing.waiting;
  }

  /** The planner forgets it: what its hosts have taught is kept for when it has work again. */
  retire(): void {
    const { lessons, clock } = this.#context;
    const nowMs = clock.monotonicMs();
    const pause = this.#tuner.pause(nowMs);
    lessons.keep(this.site.id, { pause, restraint: this.#concurrency.restraint }, nowMs);
  }

  /** The message is leased, and waits here for a connection or its rate. */
  buffers(message: MessageId): boolean {
    return this.buffered > 0 && this.#supply.buffer.has(message);
  }

  /** What keeps due mail of this site from being under way. */
  wait(nowMs: number): Wait {
    if (this.hold !== null) return this.hold;
    if (this.#turns.pace !== null) return this.#turns.pace;
    const open = this.#links.size;
    const text =
      open > 0
        ? `next in line at ${this.site.alias}, over ${open} connection${open === 1 ? '' : 's'}`
        : `connecting to ${this.site.alias}`;
    return { on: open > 0 ? 'ready' : 'connection', text, sinceMs: nowMs, untilMs: null };
  }

  /** The domain routes here and may have due mail. @param freshUntilMs monotonic. @param fresh see Domains.due() */
  add(domain: string, freshUntilMs: number, fresh: boolean): void {
    this.#supply.add(domain, freshUntilMs, fresh);
  }

  /**
   * Room for a message that is not in the spool yet, to be followed by redeem() or withdraw().
   *
   * @returns false where it has to wait its turn in the spool
   */
  reserve(recipients: readonly Recipient[], octets: number): boolean {
    if (this.#stopping || this.#heldBack() || this.#standing.probing) return false;
    return this.#supply.reserve(recipients, octets);
  }

  /** What was reserved for is leased, and here. */
  redeem(leased: LeasedMessage): void {
    this.#supply.redeem(leased);
  }

  withdraw(): void {
    this.#supply.withdraw();
  }

  /** More mail of a domain that is here already. @returns false when it is not */
  touch(domain: string): boolean {
    return this.#supply.touch(domain);
  }

  /** Urgent mail of a domain that is here. */
  hasten(domain: string): void {
    this.#supply.hasten(domain);
  }

  /** The domain now routes elsewhere. Mail of it that is in hand goes out from here all the same. */
  remove(domain: string): void {
    this.#supply.remove(domain);
  }

  /** Does whatever can be done now: lease, open connections, hand out work. Cheap when nothing can. */
  work(): void {
    if (this.#stopping || this.#heldBack()) return;
    this.#turns.pass(this.#context.clock.monotonicMs());
    this.#standing.worked();
    this.#supply.replenish();
    for (const link of this.#links) {
      if (this.buffered === 0 || this.#turns.pace !== null) break;
      link.wake();
    }
    this.#openSome();
  }

  /** Closes what has idled or lived too long. Called now and then. */
  tidy(): void {
    const nowMs = this.#context.clock.monotonicMs();
    for (const link of this.#links) link.tidy(nowMs, this.#context.config);
    if (this.domains > 0 || this.buffered > 0) this.work();
  }

  /** Closes an idle link, to free its slot. @returns false when none idles */
  closeIdle(): boolean {
    for (const link of this.#links) {
      if (!link.idle) continue;
      link.quit();
      return true;
    }
    return false;
  }

  /** Gives up a call that has not come to mail for so long. @returns false when there is none */
  giveUpCall(patienceMs: number): boolean {
    const beganBeforeMs = this.#context.clock.monotonicMs() - patienceMs;
    for (const dialler of this.#diallers) {
      if (dialler.beganAtMs > beganBeforeMs) continue;
      dialler.giveUp(`no greeting for ${patienceMs / 1000} s, and others wait for a connection`);
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

  /** An operator wants it tried now. @param endRests and rests by rule to end */
  press(endRests: boolean): void {
    this.#standing.press(endRests);
    this.work();
  }

  /** What is not under way goes back to the spool, to be looked at anew. */
  letGo(): void {
    this.#supply.empty();
  }

  /** No new work; transactions under way go on. Leases not begun are given back. */
  stop(): void {
    this.#stopping = true;
    this.#timer?.cancel();
    this.#context.slots.leave(this.#resume);
    this.#context.trials.leave(this.#resume);
    this.#providerConnections?.leave(this.#resume);
    this.#supply.stop();
    for (const link of this.#links) link.quit();
    for (const dialler of this.#diallers) dialler.abandon();
  }

  /** Ends transactions under way; their outcome is as if the connection had been lost. */
  abort(): void {
    for (const link of this.#links) link.destroy();
  }

  #heldBack(): boolean {
    return this.#standing.waiting || !this.#context.accepting(this.site);
  }

  /** The connections that its provider's sites share, where they do. */
  get #providerConnections(): Allotment | null {
    return this.#context.throttles.connections(this.#limits.connections);
  }

  #openSome(): void {
    if (this.#turns.pace !== null || (this.#standing.probing && this.connections > 0)) return;
    const inHand = [...this.#links].reduce((sum, link) => sum + link.underWay, 0);
    const desired = this.#concurrency.desired(this.buffered + inHand + this.#supply.beyond);
    while (this.buffered > 0 && this.connections < desired) {
      if (!this.#takeSlot()) return;
      if (!this.#standing.enter()) {
        this.#giveSlotBack();
        return;
      }
      this.#opening += 1;
      void this.#open();
    }
  }

  /** A connection of its provider's, of those for sites on trial, and of all that there are. */
  #takeSlot(): boolean {
    if (!(this.#providerConnections?.take(1, this.#resume) ?? true)) return false;
    if (this.#takeTrial()) {
      if (this.#context.slots.take(1, this.#resume)) return true;
      if (this.connections === 0) this.#endTrial();
    }
    this.#providerConnections?.giveBack(1);
    if (this.connections === 0) this.#context.crowding.starves();
    return false;
  }

  /** To be called when `connections` no longer counts it. */
  #giveSlotBack(): void {
    this.#providerConnections?.giveBack(1);
    this.#context.slots.giveBack(1);
    if (this.connections === 0) this.#endTrial();
  }

  /** While its hosts have not taken mail they cannot keep all connections from those that do. */
  #takeTrial(): boolean {
    if (this.#onTrial || this.#context.hosts.isTried(this.site.id)) return true;
    this.#onTrial = this.#context.trials.take(1, this.#resume);
    return this.#onTrial;
  }

  #endTrial(): void {
    if (!this.#onTrial) return;
    this.#onTrial = false;
    this.#context.trials.giveBack(1);
  }

  async #open(): Promise<void> {
    const { hosts, config, clock, openLink, tlsWatch } = this.#context;
    const dialler: Dialler = new Dialler({
      itinerary: this.#context.itinerary(this.site),
      hosts,
      config,
      tls: this.site.tls,
      clock,
      openLink,
      makeLink: (target) => this.#makeLink(target, (link) => dialler.won(link)),
      stopping: () => this.#stopping,
      failed: (link, cause) =>
        tlsWatch?.failed(link, cause, this.#supply.buffer.domains(TOLD_DOMAINS_MAX)),
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
    if (this.#stopping) return this.#standing.abandoned();
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
    const turn = this.#turns.next(this.#supply.buffer, link.messages, nowMs);
    this.#supply.replenish();
    if (turn.spent && turn.consignment === null) link.quit();
    if (turn.pausedMs !== null) this.#again(turn.pausedMs);
    // It will idle, unless more comes.
    if (turn.consignment === null) this.#context.crowding.look();
    if (turn.consignment !== null) {
      this.#context.tlsWatch?.carries(link, turn.consignment.leased.recipients);
    }
    return turn.consignment;
  }

  #outcome(link: Link, consignment: Consignment, facts: readonly RecipientFact[]): void {
    this.#turns.end(consignment);
    const isLost = facts.every(wasLost);
    if (isLost && this.#mayGoAgain(link, consignment, facts)) {
      // The peer hung up between two messages; this one need not wait for that.
      consignment.interrupted = true;
      this.#supply.buffer.putBack([consignment]);
      return;
    }
    if (!isLost) {
      // A host that closes the channel has said nothing of mail: where it took none before that, the
      // site fails, as if it had not let us in. Or each message would cost a connection to hear the same.
      if (!facts.some(isDismissal)) {
        link.settled += 1;
        this.#answered();
        this.#concurrency.served(this.#context.clock.monotonicMs(), link.lastTookMs);
      }
      if (facts.every(isTaken)) this.#tuner.taken();
      else this.#tune(consignment, facts);
    }
    this.#context.memory.giveBack(consignment.content.byteLength);
    this.#context.finished(consignment, facts, link.target.host, this.site);
  }

  #mayGoAgain(link: Link, { interrupted }: Consignment, facts: readonly RecipientFact[]): boolean {
    return link.settled > 0 && !interrupted && !this.#stopping && facts.every(isBlameless);
  }

  #closed(link: Link, cause: CloseCause, untouched: readonly Consignment[]): void {
    this.#links.delete(link);
    this.#giveSlotBack();
    for (const consignment of untouched) this.#turns.end(consignment);
    this.#supply.buffer.putBack(untouched);
    if (this.#stopping) {
      this.#supply.empty();
      return;
    }
    if (cause.kind === 'quit' || cause.kind === 'destroyed') {
      // A probe that we closed ourselves proved nothing.
      this.#standing.abandoned();
      this.work();
      return;
    }
    const told = `${link.target.host}: ${describeCause(cause)}`;
    const wanted = cause.kind !== 'closed' || cause.phase !== null;
    this.#logEnd(link, told, link.settled > 0 && (cause.kind === 'goodbye' || !wanted));
    if (wanted) this.#refused(told);
    if (link.settled > 0) {
      this.work();
      return;
    }
    this.#context.hosts.failed(link.target.address);
    this.#failed(told, judge(factsOf(cause)).hintMs);
  }

  /** @param isUsual some hosts end each connection so, after every message: no news to an operator */
  #logEnd(link: Link, told: string, isUsual: boolean): void {
    const { log } = this.#context;
    const fields = { site: this.site.alias, messages: link.settled };
    if (isUsual) log.debug(fields, told);
    // Where the site fails with it, that is logged instead.
    else if (link.settled > 0 || this.#links.size > 0) log.info(fields, told);
  }

  #answered(): void {
    if (!this.#standing.proven) this.#context.hosts.tookMail(this.site.id);
    this.#standing.answered();
    this.#endTrial();
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

  /** A host would not have one more connection, or dropped one. */
  #refused(text: string): void {
    const before = Math.floor(this.allowance);
    this.#concurrency.refused(this.#context.clock.monotonicMs(), this.#links.size);
    const after = Math.floor(this.allowance);
    if (after < before) this.#changed('connections', `${before} → ${after} connections: ${text}`);
  }

  #changed(kind: LimitChange['kind'], text: string): void {
    const atMs = this.#context.clock.wallMs();
    this.#context.changed({ atMs, site: this.site.alias, kind, text });
  }

  #apply({ rule: { remedy }, domain, text }: Change, wallMs: number): void {
    if (remedy.kind === 'slow') {
      this.#changed('slow', this.slowed?.text ?? text);
      return;
    }
    const untilMs = wallMs + remedy.forMs;
    this.#changed('rest', remedy.kind === 'suspend-domain' ? `${domain}: ${text}` : text);
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
    this.#standing.rest(remedy.forMs, text, wallMs);
    this.#supply.empty();
    this.#again(remedy.forMs);
  }

  /** The site as a whole does not take mail: hold it, and come back with one probe. */
  #failed(text: string, hintMs: number | null): void {
    if (this.#links.size > 0) {
      // Others of its connections work, so the site lives; it just would not have one more.
      this.#standing.abandoned();
      this.#refused(text);
      this.#again(RETRY_MS);
      return;
    }
    const waitMs = this.#standing.failed(text, hintMs);
    this.#context.hosts.siteFailed(this.site.id);
    this.#context.log.warn({ site: this.site.alias, retryInMs: Math.ceil(waitMs) }, text);
    this.#supply.empty();
    this.#again(waitMs);
  }

  #again(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#context.clock.after(delayMs, () => this.work());
  }
}

const wasLost = ({ phase }: RecipientFact): boolean => phase === 'lost';
const isBlameless = ({ maybeDelivered }: RecipientFact): boolean => !maybeDelivered;

/** 421 closes the channel, whatever it answers (RFC 5321 §3.8). */
const isDismissal = ({ reply, local }: RecipientFact): boolean => reply?.code === 421 && !local;
