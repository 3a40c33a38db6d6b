/**
 * One question's dealings with one upstream: over UDP, over TCP once that is called for, with and
 * without EDNS. What it learns it tells the {@link AttemptOwner}, which decides who is asked next.
 *
 * TCP is called for by TC (RFC 1035 §4.2.1), and by a near miss or a response that cannot be parsed:
 * then UDP stays open beside it, and the first to answer wins.
 */
import type { Clock } from '../../runtime/clock.ts';
import { FLAG } from '../wire/constants.ts';
import { hasFlag } from '../wire/message.ts';
import { type Budget, type BudgetWaiter, type Lane, Place } from './budget.ts';
import { isSound, rejectsForm } from './match.ts';
import type { Question } from './question.ts';
import type { TcpChannel, TcpExchange, TcpOwner } from './tcp.ts';
import type { UdpExchange, UdpOwner, UdpPool } from './udp.ts';
import type { Upstream } from './upstream.ts';

/** How one upstream is reached. */
export interface Route {
  readonly upstream: Upstream;
  readonly udp: UdpPool;
  readonly tcp: TcpChannel;
}

export interface AttemptOwner {
  /** A sound response that matches in full, not cut short. */
  onAnswer(attempt: Attempt, message: Uint8Array): void;
  /** This upstream cannot be asked just now, or has nothing more to say; `attempt.verdict` says why. */
  onFailed(attempt: Attempt): void;
  /** Packets have just been sent. */
  onSent(attempt: Attempt): void;
  /** It has just gone down. */
  onDown(upstream: Upstream): void;
  /** It had been down and answers again. */
  onReturned(upstream: Upstream): void;
}

export class Attempt implements UdpOwner, TcpOwner, BudgetWaiter {
  readonly upstream: Upstream;
  readonly lane: Lane;
  readonly #route: Route;
  readonly #question: Question;
  readonly #owner: AttemptOwner;
  readonly #budget: Budget;
  readonly #clock: Clock;
  readonly #place = new Place(this);
  #udp: UdpExchange | null = null;
  #tcp: TcpExchange | null = null;
  /** What {@link ask} sends next. */
  #overTcp = false;
  #tcpTries = 0;
  #plain: boolean;
  #sentAtMs = 0;
  /** Datagrams sent for the UDP exchange that is open. */
  #datagrams = 0;

  /** Times that its turn came. */
  rounds = 0;
  /** Nothing more is to be expected of this upstream for this question. */
  finished = false;
  /** Asked, and may still answer. */
  pending = false;
  /** In words, why it gave no answer: "no answer", "SERVFAIL", "ECONNREFUSED"; null before that. */
  verdict: string | null = null;
  /** The system could not deliver our last datagram. */
  unreachable = false;

  constructor(route: Route, question: Question, owner: AttemptOwner, budget: Budget, clock: Clock) {
    this.upstream = route.upstream;
    this.lane = question.lane;
    this.#route = route;
    this.#question = question;
    this.#owner = owner;
    this.#budget = budget;
    this.#clock = clock;
    this.#plain = route.upstream.plain(clock.monotonicMs());
  }

  get waitsForBudget(): boolean {
    return this.#place.waiting;
  }

  get overTcp(): boolean {
    return this.#overTcp;
  }

  /** Sends the question, or sends it again, as soon as the budget allows. */
  ask(): void {
    if (this.#place.waiting) return;
    if (this.#overTcp && this.#tcp !== null) {
      // TCP retransmits by itself.
      this.#owner.onSent(this);
      return;
    }
    const packets = this.#overTcp ? this.#route.tcp.askPackets : 1;
    if (this.#budget.take(this.#place, packets)) this.onGranted();
  }

  onGranted(): void {
    if (this.#overTcp) this.#sendTcp();
    else this.#sendUdp();
  }

  /** Leaves nothing behind: no exchange, no place in line. */
  close(): void {
    this.#budget.leave(this.#place);
    this.#closeUdp();
    this.#closeTcp();
    this.pending = false;
  }

  onDatagram(message: Uint8Array): void {
    const sampleMs = this.#datagrams === 1 ? this.#clock.monotonicMs() - this.#sentAtMs : null;
    this.#noteResponse(sampleMs);
    if (this.#fallBackToPlain(message)) return;
    if (hasFlag(message, FLAG.TC)) {
      this.#closeUdp();
      this.#switchToTcp();
      if (!this.#overTcp) this.#finish('truncated, and TCP failed');
    } else if (!isSound(message)) {
      this.upstream.datagramsMismatched += 1;
      this.#switchToTcp();
    } else {
      this.#accept(message);
    }
  }

  onNearMiss(): void {
    if (this.#udp === null) return;
    this.#switchToTcp();
  }

  onUdpError(code: string): void {
    if (this.#udp === null) return;
    this.#closeUdp();
    this.unreachable = true;
    if (this.upstream.noteUnreachable(code)) this.#owner.onDown(this.upstream);
    this.#fail(code);
  }

  onTcpResponse(message: Uint8Array): void {
    this.#tcp = null;
    this.#noteResponse(null);
    if (this.#fallBackToPlain(message)) return;
    if (isSound(message)) {
      this.#accept(message);
    } else {
      this.#finish('malformed response');
    }
  }

  onTcpError(code: string, reused: boolean): void {
    if (this.#tcp === null) return;
    this.#tcp = null;
    if (reused && this.#tcpTries === 1) {
      this.ask();
      return;
    }
    // After a near miss UDP may still answer; after TC there is nothing else to wait for.
    this.#overTcp = false;
    if (this.#udp !== null) return;
    this.#finish(`TCP: ${code}`);
  }

  #sendUdp(): void {
    if (this.#udp === null) {
      this.#udp = this.#route.udp.open(this.#query(), this.#question.questionEnd, this);
      this.#datagrams = 0;
    }
    if (this.#udp === null) {
      this.#fail('no free port');
      return;
    }
    this.#datagrams += 1;
    this.#sentAtMs = this.#clock.monotonicMs();
    this.pending = true;
    this.unreachable = false;
    this.#route.udp.send(this.#udp);
    this.#owner.onSent(this);
  }

  #sendTcp(): void {
    this.#tcpTries += 1;
    this.#tcp = this.#route.tcp.ask(this.#query(), this.#question.questionEnd, this);
    if (this.#tcp === null) {
      this.#fail('too many questions over TCP');
      return;
    }
    this.pending = true;
    this.#owner.onSent(this);
  }

  #query(): Uint8Array {
    return this.#plain ? this.#question.plainQuery() : this.#question.query;
  }

  #switchToTcp(): void {
    if (this.#overTcp || this.#tcpTries > 0) return;
    this.#overTcp = true;
    this.#budget.leave(this.#place);
    this.ask();
  }

  /** RFC 6891 §6.2.2: who does not know EDNS is asked without, and this is remembered. */
  #fallBackToPlain(message: Uint8Array): boolean {
    if (this.#plain || !rejectsForm(message)) return false;
    this.#plain = true;
    this.#closeUdp();
    this.#closeTcp();
    this.#tcpTries = 0;
    this.ask();
    return true;
  }

  #accept(message: Uint8Array): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#plain && !this.upstream.plain(nowMs) && !rejectsForm(message)) {
      this.upstream.notePlain(nowMs);
    }
    this.#closeUdp();
    this.#closeTcp();
    this.pending = false;
    this.#owner.onAnswer(this, message);
  }

  #finish(verdict: string): void {
    this.finished = true;
    this.#fail(verdict);
  }

  #fail(verdict: string): void {
    this.verdict = verdict;
    this.pending = this.#udp !== null || this.#tcp !== null;
    this.#owner.onFailed(this);
  }

  #noteResponse(sampleMs: number | null): void {
    if (this.upstream.noteResponse(sampleMs)) this.#owner.onReturned(this.upstream);
  }

  #closeUdp(): void {
    if (this.#udp !== null) this.#route.udp.close(this.#udp);
    this.#udp = null;
  }

  #closeTcp(): void {
    if (this.#tcp !== null) this.#route.tcp.close(this.#tcp);
    this.#tcp = null;
  }
}
