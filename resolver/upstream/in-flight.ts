/**
 * The questions under way, by cache key. Who asks what is already asked waits for the same answer:
 * one exchange however many clients, which saves packets and denies a forger the many parallel
 * exchanges that a birthday attack needs (RFC 5452 §5).
 *
 * Invariants: at most `flightsMax` flights, one per key; at most WAITERS_PER_FLIGHT_MAX waiters each
 * and WAITERS_MAX together; a flight leaves the table before its owner is told how it ended, so that
 * a question asked meanwhile starts anew. A waiter that arrives late is answered with the others; one
 * whose own deadline comes before that of the flight is let go then, and the flight goes on.
 */
import type { Clock } from '../../runtime/clock.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { Forwarder, ForwardFailure, Forwarding, ForwardOwner } from './forward.ts';
import type { Question } from './question.ts';
import type { Upstream } from './upstream.ts';

const WAITERS_PER_FLIGHT_MAX = 16_384;
const WAITERS_MAX = 65_536;

export interface Waiting {
  /** Monotonic; whoever waits must be answered by then. */
  readonly dueAtMs: number;
}

export interface FlightOwner<Waiter extends Waiting> {
  onLanded(flight: Flight<Waiter>, message: Uint8Array, upstream: Upstream): void;
  onLost(flight: Flight<Waiter>, failure: ForwardFailure): void;
  /** The time set with {@link InFlight.setPatience} is up, and there is no answer yet. */
  onPatienceEnd(flight: Flight<Waiter>): void;
  /** Their deadlines have come; they wait no more. */
  onOverdue(flight: Flight<Waiter>, waiters: readonly Waiter[]): void;
}

const ALARM = { patience: 0, overdue: 1 } as const;

export class Flight<Waiter extends Waiting> implements ForwardOwner, AlarmOwner {
  readonly key: string;
  readonly question: Question;
  readonly startedAtMs: number;
  /** From its start to its end, confirmations included. */
  readonly deadlineMs: number;
  /** In order of arrival; the first one's question went upstream. */
  waiters: Waiter[] = [];
  /** Its clients have waited long enough; who arrives now need not. */
  patienceEnded = false;
  readonly patience = new Alarm(this, ALARM.patience);
  /** Armed for the first of the waiters whose deadline comes before that of the flight. */
  readonly overdue = new Alarm(this, ALARM.overdue);
  overdueAtMs = 0;
  /** Its first answer is not believed: why, in words, and the question that asks elsewhere. */
  doubt: { readonly reason: string; readonly question: Question } | null = null;
  /** Set by {@link InFlight.start}, before anybody else sees the flight. */
  forwarding!: Forwarding;
  readonly #table: InFlight<Waiter>;

  constructor(
    table: InFlight<Waiter>,
    key: string,
    question: Question,
    startedAtMs: number,
    deadlineMs: number,
  ) {
    this.#table = table;
    this.deadlineMs = deadlineMs;
    this.key = key;
    this.question = question;
    this.startedAtMs = startedAtMs;
  }

  onResponse(message: Uint8Array, upstream: Upstream): void {
    this.#table.remove(this);
    this.#table.owner.onLanded(this, message, upstream);
  }

  onFailure(failure: ForwardFailure): void {
    this.#table.remove(this);
    this.#table.owner.onLost(this, failure);
  }

  onAlarm(kind: number): void {
    if (kind === ALARM.overdue) {
      this.#table.releaseOverdue(this);
      return;
    }
    this.patienceEnded = true;
    this.#table.owner.onPatienceEnd(this);
  }
}

export class InFlight<Waiter extends Waiting> {
  readonly owner: FlightOwner<Waiter>;
  #forwarder: Forwarder;
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  #flightsMax: number;
  readonly #flights = new Map<string, Flight<Waiter>>();
  #waiters = 0;

  constructor(
    forwarder: Forwarder,
    wheel: TimerWheel,
    flightsMax: number,
    owner: FlightOwner<Waiter>,
  ) {
    this.#forwarder = forwarder;
    this.#clock = forwarder.clock;
    this.#wheel = wheel;
    this.#flightsMax = flightsMax;
    this.owner = owner;
  }

  /** From start to end of a flight that starts now. */
  get deadlineMs(): number {
    return this.#forwarder.deadlineMs;
  }

  /** Who new flights go to; those under way end where they began. */
  use(forwarder: Forwarder, flightsMax: number): void {
    this.#forwarder = forwarder;
    this.#flightsMax = flightsMax;
  }

  get size(): number {
    return this.#flights.size;
  }

  get waiters(): number {
    return this.#waiters;
  }

  get(key: string): Flight<Waiter> | undefined {
    return this.#flights.get(key);
  }

  flights(): IterableIterator<Flight<Waiter>> {
    return this.#flights.values();
  }

  /** @returns the flight, on its way; or null when flightsMax are. The key has none yet. */
  start(key: string, question: Question, nowMs: number): Flight<Waiter> | null {
    if (this.#flights.size >= this.#flightsMax) return null;
    const flight = new Flight(this, key, question, nowMs, this.#forwarder.deadlineMs);
    this.#flights.set(key, flight);
    flight.forwarding = this.#forwarder.start(question, flight);
    return flight;
  }

  /**
   * The flight has landed with an answer that is doubted: it takes off again with a question that
   * asks elsewhere; who waits goes on waiting. Only from within {@link FlightOwner.onLanded}.
   */
  confirm(flight: Flight<Waiter>, question: Question): void {
    this.#flights.set(flight.key, flight);
    flight.forwarding = this.#forwarder.start(question, flight);
    for (const { dueAtMs } of flight.waiters) this.#armOverdue(flight, dueAtMs);
  }

  /**
   * Gives up a flight of which no packet has been sent, because somebody wants the answer sooner than
   * its lane allows. Nobody waits for it.
   */
  giveUp(flight: Flight<Waiter>): void {
    flight.forwarding.cancel();
    this.remove(flight);
  }

  /** @returns false when nobody more can wait */
  join(flight: Flight<Waiter>, waiter: Waiter): boolean {
    if (flight.waiters.length >= WAITERS_PER_FLIGHT_MAX || this.#waiters >= WAITERS_MAX) {
      return false;
    }
    flight.waiters.push(waiter);
    this.#waiters += 1;
    this.#armOverdue(flight, waiter.dueAtMs);
    return true;
  }

  /** Has the owner told when so much of the flight's time has passed; set once. */
  setPatience(flight: Flight<Waiter>, delayMs: number): void {
    if (!flight.patience.armed && !flight.patienceEnded) {
      this.#wheel.arm(flight.patience, delayMs);
    }
  }

  /** @returns those who wait, who then wait no more */
  release(flight: Flight<Waiter>): Waiter[] {
    const { waiters } = flight;
    flight.waiters = [];
    this.#waiters -= waiters.length;
    return waiters;
  }

  /** Lets those go whose deadlines have come. */
  releaseOverdue(flight: Flight<Waiter>): void {
    const nowMs = this.#clock.monotonicMs();
    const overdue = flight.waiters.filter(({ dueAtMs }) => dueAtMs <= nowMs);
    flight.waiters = flight.waiters.filter(({ dueAtMs }) => dueAtMs > nowMs);
    this.#waiters -= overdue.length;
    for (const { dueAtMs } of flight.waiters) this.#armOverdue(flight, dueAtMs);
    if (overdue.length > 0) this.owner.onOverdue(flight, overdue);
  }

  #armOverdue(flight: Flight<Waiter>, dueAtMs: number): void {
    // The flight itself ends in time for those who can wait as long as it.
    if (dueAtMs >= flight.startedAtMs + flight.deadlineMs) return;
    if (flight.overdue.armed && dueAtMs >= flight.overdueAtMs) return;
    flight.overdueAtMs = dueAtMs;
    this.#wheel.arm(flight.overdue, dueAtMs - this.#clock.monotonicMs());
  }

  /** Called by a flight that has ended. */
  remove(flight: Flight<Waiter>): void {
    this.#wheel.disarm(flight.overdue);
    this.#wheel.disarm(flight.patience);
    this.#flights.delete(flight.key);
  }

  /** Gives up every flight; nobody is told. */
  stop(): void {
    for (const flight of this.#flights.values()) {
      flight.forwarding.cancel();
      this.remove(flight);
      this.release(flight);
    }
  }
}
