/**
 * One question's way to an answer through several upstreams, within one deadline.
 *
 * The order is that of the configuration, those that are down last. Whoever does not answer within
 * its time-out stays open while the next is asked, so that a late answer still counts; when all were
 * asked the next round starts, with the time-out doubled. Whoever answers SERVFAIL or REFUSED is not
 * asked again; when nobody better is left that response is what the client gets, at once.
 *
 * Invariants: a forwarding is settled exactly once, at the latest `deadlineMs` after its start, and
 * never from within {@link Forwarder.start}; what it opened is closed by then. Packets of one question <= upstreams × ROUNDS_MAX, TCP apart.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { EXTENDED_ERROR, RCODE, rcodeName } from '../wire/constants.ts';
import { headerRcodeOf, questionCountOf } from '../wire/message.ts';
import type { ExtendedError } from '../wire/write.ts';
import { Attempt, type AttemptOwner, type Route } from './attempt.ts';
import type { Budget } from './budget.ts';
import { Prober } from './probe.ts';
import type { Question } from './question.ts';
import { TcpChannel } from './tcp.ts';
import { UdpPool } from './udp.ts';
import type { Upstream } from './upstream.ts';

const ROUNDS_MAX = 6;
const BACK_OFF_MS_MAX = 2_000;
/** Connecting takes a round trip more, and slow start may take others. */
const TCP_WAIT_MS_MIN = 1_000;

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
  readonly upstreams: readonly Upstream[];
  readonly budget: Budget;
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
  readonly upstreams: readonly Upstream[];
  readonly budget: Budget;
  readonly deadlineMs: number;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly routes: readonly Route[];
  readonly onReturned: (upstream: Upstream) => void;
  readonly #onDown: (upstream: Upstream) => void;
  readonly #prober: Prober;

  constructor(options: ForwarderOptions) {
    const { clock, random, wheel } = options;
    this.upstreams = options.upstreams;
    this.budget = options.budget;
    this.deadlineMs = options.deadlineMs;
    this.clock = clock;
    this.wheel = wheel;
    this.onReturned = options.onReturned;
    this.#onDown = options.onDown;
    this.routes = options.upstreams.map((upstream) => ({
      upstream,
      udp: new UdpPool(upstream, random, clock, wheel),
      tcp: new TcpChannel(upstream, random, wheel),
    }));
    this.#prober = new Prober(this.routes, this.budget, { clock, random, wheel }, this.onReturned);
  }

  /** @returns the forwarding; its owner will be told, or {@link Forwarding.cancel} it */
  start(question: Question, owner: ForwardOwner): Forwarding {
    const forwarding = new Forwarding(this, question, owner);
    forwarding.begin();
    return forwarding;
  }

  /** The upstream has just gone down. */
  noteDown(upstream: Upstream): void {
    this.#onDown(upstream);
    this.#prober.wake();
  }

  stop(): void {
    this.#prober.stop();
    this.budget.stop();
    for (const { udp, tcp } of this.routes) {
      udp.stop();
      tcp.stop();
    }
  }
}

const ALARM = { retry: 0, deadline: 1 } as const;

export class Forwarding implements AlarmOwner, AttemptOwner {
  readonly #forwarder: Forwarder;
  readonly #owner: ForwardOwner;
  readonly #attempts: readonly Attempt[];
  readonly #retryAlarm = new Alarm(this, ALARM.retry);
  readonly #deadlineAlarm = new Alarm(this, ALARM.deadline);
  /** The best rejection so far. */
  #rejection: Uint8Array | null = null;
  /** Whose time-out the retry alarm is. */
  #current: Attempt | null = null;
  #settled = false;

  constructor(forwarder: Forwarder, question: Question, owner: ForwardOwner) {
    this.#forwarder = forwarder;
    this.#owner = owner;
    this.#attempts = forwarder.routes.map(
      (route) => new Attempt(route, question, this, forwarder.budget, forwarder.clock),
    );
  }

  begin(): void {
    this.#forwarder.wheel.arm(this.#deadlineAlarm, this.#forwarder.deadlineMs);
    if (this.#attempts.length > 0) this.#advance();
    // Without upstreams it fails, but not before the caller holds it.
    else this.#forwarder.wheel.arm(this.#retryAlarm, 0);
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
    if (kind === ALARM.deadline) {
      this.#fail();
      return;
    }
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
      return;
    }
    if (this.#rejection !== null || this.#attempts.every((attempt) => attempt.finished)) {
      this.#fail();
    }
    // Else every round was used up: late answers are welcome until the deadline.
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
    return Math.min(attempt.overTcp ? Math.max(waitMs, TCP_WAIT_MS_MIN) : waitMs, BACK_OFF_MS_MAX);
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
    return `waits for the budget of ${this.#forwarder.budget.packetsPerSecond} packets/s`;
  }

  #close(): void {
    this.#settled = true;
    this.#forwarder.wheel.disarm(this.#retryAlarm);
    this.#forwarder.wheel.disarm(this.#deadlineAlarm);
    for (const attempt of this.#attempts) attempt.close();
  }
}

/** Rounds first, then those that are up; among equals the configured order stands. */
const rank = (attempt: Attempt): number => attempt.rounds * 2 + (attempt.upstream.up ? 0 : 1);
