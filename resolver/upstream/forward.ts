/**
 * One question's way to an answer through the upstreams of a group, within one deadline.
 *
 * The order is that of the group's selection, those that are down last. Whoever does not answer within
 * its time-out stays open while the next is asked, so that a late answer still counts; when all were
 * asked the next round starts, with the time-out doubled. Whoever answers SERVFAIL or REFUSED is not
 * asked again; when nobody better is left that response is what the client gets, at once.
 *
 * What still waits for the budget when the time left would only just do for an exchange goes to the
 * group to spill to, or fails there and then: a packet sent later would be answered to nobody.
 *
 * Invariants: a forwarding is settled exactly once, at the latest `deadlineMs` after its start, and
 * never from within {@link Forwarder.start}; what it opened is closed by then. Packets of one question
 * <= upstreams × (ROUNDS_MAX + 1), streams apart.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { EXTENDED_ERROR, RCODE, rcodeName } from '../wire/constants.ts';
import { headerRcodeOf, questionCountOf } from '../wire/message.ts';
import type { ExtendedError } from '../wire/write.ts';
import { Attempt, type AttemptOwner } from './attempt.ts';
import { type Group, inOrderOfChoice, type Route, type Zones } from './group.ts';
import { Prober } from './probe.ts';
import type { Question } from './question.ts';
import type { Upstream } from './upstream.ts';

const ROUNDS_MAX = 6;
const BACK_OFF_MS_MAX = 2_000;
/** Connecting takes a round trip more, and slow start may take others. */
const TCP_WAIT_MS_MIN = 1_000;
/** Time kept for an exchange when the budget is waited for: so much, or this share of the deadline. */
const EXCHANGE_MS = 1_000;
const EXCHANGE_SHARE = 1 / 4;

export interface ForwardOwner {
  /** NOERROR, NXDOMAIN or the like, sound and matching in full, its own buffer. */
  onResponse(message: Uint8Array, upstream: Upstream): void;
  /** No upstream could or would answer. */
  onFailure(failure: ForwardFailure): void;
}

export interface ForwardFailure {
  /** 'rejected': each that could be reached answered SERVFAIL, REFUSED or the like. */
  readonly kind: 'unreachable' | 'rejected' | 'budget';
  readonly extendedError: ExtendedError;
  /** The rejection to pass on, when there is one that repeats the question. */
  readonly rejection: Uint8Array | null;
}

export interface ForwarderOptions {
  readonly zones: Zones;
  /** Every group, those to spill to included; the first is that of names without a zone of their own. */
  readonly groups: readonly Group[];
  /** From start to settlement of one question. */
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly onDown: (upstream: Upstream) => void;
  /** An upstream that had been down answers again. */
  readonly onReturned: (upstream: Upstream) => void;
}

export class Forwarder {
  readonly zones: Zones;
  readonly groups: readonly Group[];
  /** Each once, in whichever groups it is. */
  readonly upstreams: readonly Upstream[];
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly onReturned: (upstream: Upstream) => void;
  /** Second requests sent because the first was slow, and those of them that answered first. */
  hedgesTotal = 0;
  hedgesWonTotal = 0;
  readonly #onDown: (upstream: Upstream) => void;
  readonly #routes: ReadonlyMap<Upstream, Route>;
  readonly #prober: Prober;

  constructor(options: ForwarderOptions) {
    const { clock, random, wheel, groups } = options;
    this.zones = options.zones;
    this.groups = groups;
    this.deadlineMs = options.deadlineMs;
    this.clock = clock;
    this.random = random;
    this.wheel = wheel;
    this.onReturned = options.onReturned;
    this.#onDown = options.onDown;
    const probes = new Map(
      groups
        .flatMap(({ routes, budget }) => routes.map((route) => ({ route, budget })))
        .map((probe) => [probe.route.upstream, probe]),
    );
    this.#routes = new Map([...probes].map(([upstream, { route }]) => [upstream, route]));
    this.upstreams = [...probes.keys()];
    this.#prober = new Prober([...probes.values()], { clock, random, wheel }, this.onReturned);
  }

  /** @returns the forwarding; its owner will be told, or {@link Forwarding.cancel} it */
  start(question: Question, owner: ForwardOwner): Forwarding {
    const forwarding = new Forwarding(this, question, owner);
    forwarding.begin();
    return forwarding;
  }

  /** Questions wait for the packets of some group. */
  get waitsForBudget(): boolean {
    return this.groups.some(({ budget }) => budget.waiting.some((count) => count > 0));
  }

  /** The upstream has just gone down. */
  noteDown(upstream: Upstream): void {
    this.#onDown(upstream);
    // A connection on which nothing comes is not trusted with the probe.
    const route = this.#routes.get(upstream);
    if (route?.udp === null) route.stream.reset();
    this.#prober.wake();
  }

  stop(): void {
    this.#prober.stop();
    for (const { budget } of this.groups) budget.stop();
    for (const { udp, stream } of this.#routes.values()) {
      udp?.stop();
      stream.stop();
    }
  }
}

const ALARM = { retry: 0, deadline: 1, hedge: 2, budget: 3 } as const;

export class Forwarding implements AlarmOwner, AttemptOwner {
  readonly #forwarder: Forwarder;
  readonly #question: Question;
  readonly #owner: ForwardOwner;
  readonly #retryAlarm = new Alarm(this, ALARM.retry);
  readonly #deadlineAlarm = new Alarm(this, ALARM.deadline);
  readonly #hedgeAlarm = new Alarm(this, ALARM.hedge);
  readonly #budgetAlarm = new Alarm(this, ALARM.budget);
  #group: Group;
  #attempts: readonly Attempt[];
  /** The best rejection so far. */
  #rejection: Uint8Array | null = null;
  /** Whose time-out the retry alarm is. */
  #current: Attempt | null = null;
  /** The second one, asked because the first was slow. */
  #hedge: Attempt | null = null;
  #settled = false;

  constructor(forwarder: Forwarder, question: Question, owner: ForwardOwner) {
    this.#forwarder = forwarder;
    this.#question = question;
    this.#owner = owner;
    this.#group = forwarder.zones.groupOf(question);
    this.#attempts = this.#attemptsOf(this.#group);
  }

  begin(): void {
    const { wheel } = this.#forwarder;
    const deadlineMs = this.#question.confirmation?.withinMs ?? this.#forwarder.deadlineMs;
    wheel.arm(this.#deadlineAlarm, deadlineMs);
    if (this.#attempts.length > 0) this.#advance();
    // Without upstreams it fails, but not before the caller holds it.
    else wheel.arm(this.#retryAlarm, 0);
    if (this.waitsForBudget) {
      const reserveMs = Math.min(EXCHANGE_MS, deadlineMs * EXCHANGE_SHARE);
      wheel.arm(this.#budgetAlarm, deadlineMs - reserveMs);
    }
  }

  #attemptsOf(group: Group): readonly Attempt[] {
    const { random, clock } = this.#forwarder;
    return routesFor(this.#question, inOrderOfChoice(group, random)).map(
      (route) => new Attempt(route, this.#question, this, group.budget, clock),
    );
  }

  /** Nobody wants to know any more. */
  cancel(): void {
    this.#close();
  }

  /** Every packet of it waits for the budget. */
  get waitsForBudget(): boolean {
    return (
      this.#attempts.some((attempt) => attempt.waitsForBudget) &&
      !this.#attempts.some((attempt) => attempt.pending)
    );
  }

  /** Every upstream is known to be down, so that an answer is not to be expected soon. */
  get allDown(): boolean {
    return this.#attempts.every((attempt) => !attempt.upstream.up);
  }

  /** For `explain`: "asked 192.0.2.53:53 twice", "waits for the budget of 900 packets/s". */
  describe(): string {
    if (this.waitsForBudget) return this.#budgetText();
    const parts = this.#attempts
      .filter((attempt) => attempt.rounds > 0)
      .map(({ upstream, rounds, verdict, overTcp }) => {
        const times = rounds === 1 ? 'once' : `${rounds} times`;
        const how = `asked ${upstream.name} ${times}${overTcp ? ', now over TCP' : ''}`;
        return verdict === null ? how : `${how}: ${verdict}`;
      });
    return parts.length === 0 ? 'not asked yet' : parts.join('; ');
  }

  onAlarm(kind: number): void {
    switch (kind) {
      case ALARM.deadline:
        this.#fail();
        break;
      case ALARM.hedge:
        this.#askSecond();
        break;
      case ALARM.budget:
        if (this.waitsForBudget) this.#spill();
        break;
      default:
        this.#onTimeout();
    }
  }

  #onTimeout(): void {
    const late = this.#current;
    if (late?.waitsForBudget === true) {
      this.#forwarder.wheel.arm(this.#retryAlarm, this.#waitMs(late));
      return;
    }
    if (late?.pending === true) {
      late.verdict = 'no answer';
      if (late.upstream.noteTimeout(late.rounds > 1)) this.#forwarder.noteDown(late.upstream);
    }
    this.#advance();
  }

  onAnswer(attempt: Attempt, message: Uint8Array): void {
    const rcode = headerRcodeOf(message);
    // YXDOMAIN says that a DNAME led to too long a name (RFC 6672 §2.2): an answer.
    if (rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN || rcode === RCODE.YXDOMAIN) {
      if (attempt === this.#hedge) this.#forwarder.hedgesWonTotal += 1;
      this.#close();
      this.#owner.onResponse(message, attempt.upstream);
      return;
    }
    attempt.verdict = rcodeName(rcode);
    attempt.finished = true;
    if (questionCountOf(message) === 1) this.#rejection ??= message;
    this.#advanceUnlessWaiting(attempt);
  }

  onFailed(attempt: Attempt): void {
    this.#advanceUnlessWaiting(attempt);
  }

  onSent(attempt: Attempt): void {
    if (attempt === this.#current) {
      this.#forwarder.wheel.arm(this.#retryAlarm, this.#waitMs(attempt));
    }
  }

  onDown(upstream: Upstream): void {
    this.#forwarder.noteDown(upstream);
  }

  onReturned(upstream: Upstream): void {
    this.#forwarder.onReturned(upstream);
  }

  /** Asks the next upstream, or settles when nobody is left to ask or to wait for. */
  #advance(): void {
    const next = this.#choose();
    if (next !== null) {
      this.#current = next;
      next.rounds += 1;
      // Where asking fails at once, or waits for the budget, the alarm comes round all the same.
      this.#forwarder.wheel.arm(this.#retryAlarm, this.#waitMs(next));
      next.ask();
      if (this.#group.hedge && next.rounds === 1) this.#planSecond(next);
      return;
    }
    if (this.#rejection !== null || this.#attempts.every((attempt) => attempt.finished)) {
      this.#fail();
    }
    // Else every round was used up: late answers are welcome until the deadline.
  }

  /** Sees to it that another is asked if `first` turns out slower than it nearly always is. */
  #planSecond(first: Attempt): void {
    const { p95Ms } = first.upstream.latency;
    if (p95Ms === null || !first.pending || p95Ms >= this.#waitMs(first)) return;
    this.#forwarder.wheel.arm(this.#hedgeAlarm, p95Ms);
  }

  #askSecond(): void {
    if (this.#current?.pending !== true) return;
    const second = this.#attempts.find(
      ({ rounds, finished, upstream }) => rounds === 0 && !finished && upstream.up,
    );
    if (second === undefined || !second.askSpare()) return;
    second.rounds += 1;
    this.#hedge = second;
    this.#forwarder.hedgesTotal += 1;
  }

  /** There is no time left to wait for this group's budget. */
  #spill(): void {
    const { spill, budget } = this.#group;
    if (spill === null) {
      this.#fail();
      return;
    }
    budget.spilledTotal += 1;
    for (const attempt of this.#attempts) attempt.close();
    this.#group = spill;
    this.#current = null;
    this.#attempts = this.#attemptsOf(spill);
    this.#advance();
  }

  /**
   * `attempt` failed before its time. Go on at once while someone is less asked than it; else keep to
   * the back-off, so that a closed port is not asked in a tight loop.
   */
  #advanceUnlessWaiting(attempt: Attempt): void {
    if (this.#settled) return;
    const next = this.#choose();
    const fresher = next !== null && next.rounds < attempt.rounds;
    if (fresher && (attempt === this.#current || attempt.finished)) {
      this.#advance();
    } else if (next === null && !this.#attempts.some((other) => other.pending)) {
      this.#advance();
    }
  }

  #choose(): Attempt | null {
    let best: Attempt | null = null;
    for (const attempt of this.#attempts) {
      if (attempt.finished || attempt.rounds >= ROUNDS_MAX) continue;
      // With a rejection in hand only those are worth the wait who are up and not asked yet.
      if (this.#rejection !== null && (attempt.rounds > 0 || !attempt.upstream.up)) continue;
      if (best === null || rank(attempt) < rank(best)) best = attempt;
    }
    return best;
  }

  #waitMs(attempt: Attempt): number {
    const waitMs = attempt.upstream.rtoMs * 2 ** (attempt.rounds - 1);
    return Math.min(
      attempt.overStream ? Math.max(waitMs, TCP_WAIT_MS_MIN) : waitMs,
      BACK_OFF_MS_MAX,
    );
  }

  #fail(): void {
    const failure = this.#failure();
    this.#close();
    this.#owner.onFailure(failure);
  }

  #failure(): ForwardFailure {
    const rejection = this.#rejection;
    if (this.waitsForBudget && this.#attempts.every(({ verdict }) => verdict === null)) {
      const extendedError = { code: EXTENDED_ERROR.OTHER, text: this.#budgetText() };
      this.#group.budget.refusedTotal += 1;
      return { kind: 'budget', extendedError, rejection };
    }
    const verdicts = this.#attempts.map(
      ({ upstream, verdict, pending }) =>
        `${upstream.name}: ${verdict ?? (pending ? 'no answer' : 'not asked')}`,
    );
    const text = verdicts.length === 0 ? 'no upstream is configured' : verdicts.join('; ');
    const rejected = this.#attempts.some((attempt) => attempt.finished);
    const unreached = this.#attempts.every((attempt) => attempt.unreachable);
    const code = unreached ? EXTENDED_ERROR.NETWORK_ERROR : EXTENDED_ERROR.NO_REACHABLE_AUTHORITY;
    return {
      kind: rejected ? 'rejected' : 'unreachable',
      extendedError: { code, text },
      rejection,
    };
  }

  #budgetText(): string {
    const { budget, spill } = this.#group;
    const own = this.#attempts.find(({ affordable }) => !affordable)?.upstream;
    const isOwn = own !== undefined && own.bucket.packetsPerSecond < budget.bucket.packetsPerSecond;
    const { packetsPerSecond } = isOwn ? own.bucket : budget.bucket;
    const whose = isOwn ? own.name : budget.name;
    const then = spill === null ? '' : `, then for ${spill.name}`;
    return `waits for the budget of ${packetsPerSecond} packets/s (${whose})${then}`;
  }

  #close(): void {
    this.#settled = true;
    const { wheel } = this.#forwarder;
    wheel.disarm(this.#retryAlarm);
    wheel.disarm(this.#deadlineAlarm);
    wheel.disarm(this.#hedgeAlarm);
    wheel.disarm(this.#budgetAlarm);
    for (const attempt of this.#attempts) attempt.close();
  }
}

/** All of them; but whose answer is doubted only when there is nobody else. */
function routesFor({ confirmation }: Question, routes: readonly Route[]): readonly Route[] {
  if (confirmation === null) return routes;
  const others = routes.filter(({ upstream }) => upstream !== confirmation.doubted);
  return others.length > 0 ? others : routes;
}

/** Rounds first, then those that are up, then those whose own budget allows; among equals the order stands. */
const rank = ({ rounds, upstream, affordable }: Attempt): number =>
  rounds * 4 + (upstream.up ? 0 : 2) + (affordable ? 0 : 1);
