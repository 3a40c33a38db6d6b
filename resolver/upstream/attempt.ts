/**
 * One question's dealings with one upstream: over UDP, over TCP once that is called for, or over
 * streams alone; with and without EDNS and cookies. What it learns it tells the {@link AttemptOwner},
 * which decides who is asked next.
 *
 * TCP is called for by TC (RFC 1035 §4.2.1), and by a near miss, a cookie that is not right or a
 * response that cannot be parsed: then UDP stays open beside it, and the first to answer wins.
 */
import type { Clock } from '../../runtime/clock.ts';
import { FLAG } from '../wire/constants.ts';
import { hasFlag } from '../wire/message.ts';
import { type Budget, type BudgetWaiter, type Lane, Place } from './budget.ts';
import { endsInBareOpt } from './cookies.ts';
import type { Route } from './group.ts';
import { isSound, rejectsForm } from './match.ts';
import type { Question } from './question.ts';
import type { StreamExchange, StreamOwner } from './stream.ts';
import type { UdpExchange, UdpOwner } from './udp.ts';
import type { Upstream } from './upstream.ts';

/** As many as it takes to believe that a server mangles; see mixed-case.ts. */
const CASE_RETRIES_MAX = 3;

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

export class Attempt implements UdpOwner, StreamOwner, BudgetWaiter {
  readonly upstream: Upstream;
  readonly lane: Lane;
  readonly #route: Route;
  readonly #question: Question;
  readonly #owner: AttemptOwner;
  readonly #budget: Budget;
  readonly #clock: Clock;
  readonly #place: Place;
  #udp: UdpExchange | null = null;
  #stream: StreamExchange | null = null;
  /** What {@link ask} sends next. */
  #overStream: boolean;
  #streamTries = 0;
  /** An answer over UDP was right but for the case of its letters. */
  #caseMissed = false;
  #caseRetries = 0;
  /** The server wanted to see a cookie first, once. */
  #cookieRefused = false;
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
    this.#place = new Place(this, route.upstream.bucket);
    // Where there is nobody else to ask, a forger of datagrams at least is not believed twice.
    const isDoubted = question.confirmation?.doubted === route.upstream;
    this.#overStream = route.udp === null || isDoubted;
    this.#plain = route.upstream.plain(clock.monotonicMs());
  }

  get waitsForBudget(): boolean {
    return this.#place.waiting;
  }

  /** Asked over TCP though the upstream takes UDP. */
  get overTcp(): boolean {
    return this.#overStream && this.#route.udp !== null;
  }

  get overStream(): boolean {
    return this.#overStream;
  }

  /** Sends the question, or sends it again, as soon as the budget allows. */
  ask(): void {
    if (this.#place.waiting) return;
    if (this.#overStream && this.#stream !== null) {
      // TCP retransmits by itself.
      this.#owner.onSent(this);
      return;
    }
    if (this.#budget.take(this.#place, this.#packets)) this.onGranted();
  }

  /** Sends the question if the packets are not missed. @returns whether it did */
  askSpare(): boolean {
    if (!this.#budget.takeSpare(this.lane, this.upstream.bucket, this.#packets)) return false;
    this.onGranted();
    return true;
  }

  /** Whether this upstream's own budget lets the question through now. */
  get affordable(): boolean {
    return this.upstream.bucket.has(this.#packets);
  }

  get #packets(): number {
    return this.#overStream ? this.#route.stream.askPackets : 1;
  }

  onGranted(): void {
    if (this.#overStream) this.#sendStream();
    else this.#sendUdp();
  }

  /** Leaves nothing behind: no exchange, no place in line. */
  close(): void {
    this.#budget.leave(this.#place);
    this.#closeUdp();
    this.#closeStream();
    this.pending = false;
  }

  onDatagram(message: Uint8Array): void {
    if (!this.#passesCookie(message)) return;
    this.upstream.casing.noteKept();
    const sampleMs = this.#datagrams === 1 ? this.#clock.monotonicMs() - this.#sentAtMs : null;
    this.#noteResponse(sampleMs);
    if (this.#fallBackToPlain(message)) return;
    if (hasFlag(message, FLAG.TC)) {
      this.#closeUdp();
      this.#switchToTcp();
      if (!this.#overStream) this.#finish('truncated, and TCP failed');
    } else if (!isSound(message)) {
      this.upstream.datagramsMismatched += 1;
      this.#switchToTcp();
    } else {
      this.#accept(message);
    }
  }

  onNearMiss(caseOnly: boolean): void {
    if (this.#udp === null) return;
    if (caseOnly) this.#caseMissed = true;
    this.#switchToTcp();
  }

  onUdpError(code: string): void {
    if (this.#udp === null) return;
    this.#closeUdp();
    this.#failUnreachable(code);
  }

  onStreamResponse(message: Uint8Array, sameCase: boolean): void {
    this.#stream = null;
    const { upstream } = this;
    if (this.#caseMissed && !sameCase) upstream.casing.noteMangled(this.#clock.monotonicMs());
    // A stream is no place for forgers, so what it says of cookies is so.
    if (!this.#plain && upstream.cookies?.judge(message) === 'missing') upstream.cookies.forget();
    this.#noteResponse(null);
    if (this.#fallBackToPlain(message)) return;
    if (isSound(message)) {
      this.#accept(message);
    } else {
      this.#finish('malformed response');
    }
  }

  onStreamError(code: string, reused: boolean): void {
    if (this.#stream === null) return;
    this.#stream = null;
    if (reused && this.#streamTries === 1) {
      this.ask();
      return;
    }
    if (this.#route.udp === null) {
      this.#failUnreachable(code);
      return;
    }
    this.#overStream = false;
    if (this.#caseMissed) {
      // Whether the server mangles or somebody forges cannot be told; ask again from another port.
      this.upstream.casing.noteDoubt(this.#clock.monotonicMs());
      this.#caseMissed = false;
      this.#closeUdp();
      this.#caseRetries += 1;
      if (this.#caseRetries > CASE_RETRIES_MAX) {
        this.#fail(`answers in another case, and TCP: ${code}`);
        return;
      }
      this.#streamTries = 0;
      this.ask();
      return;
    }
    // After a near miss UDP may still answer; after TC there is nothing else to wait for.
    if (this.#udp !== null) return;
    this.#finish(`TCP: ${code}`);
  }

  #sendUdp(): void {
    const pool = this.#route.udp;
    if (this.#udp === null) {
      this.#udp = pool?.open(this.#query(), this.#question.questionEnd, this) ?? null;
      this.#datagrams = 0;
    }
    if (this.#udp === null) {
      this.#fail('no free port');
      return;
    }
    this.#datagrams += 1;
    this.#question.packetsSent += 1;
    this.#sentAtMs = this.#clock.monotonicMs();
    this.pending = true;
    this.unreachable = false;
    pool?.send(this.#udp);
    this.#owner.onSent(this);
  }

  #sendStream(): void {
    this.#streamTries += 1;
    this.#question.packetsSent += this.#route.stream.askPackets;
    this.#stream = this.#route.stream.ask(this.#query(), this.#question.questionEnd, this);
    if (this.#stream === null) {
      this.#fail('too many questions over one connection');
      return;
    }
    this.pending = true;
    this.unreachable = false;
    this.#owner.onSent(this);
  }

  #query(): Uint8Array {
    const { query, questionEnd } = this.#question;
    if (this.#plain) return this.#question.plainQuery();
    const { cookies } = this.upstream;
    return cookies !== null && endsInBareOpt(query, questionEnd) ? cookies.added(query) : query;
  }

  #switchToTcp(): void {
    if (this.#overStream || this.#streamTries > 0) return;
    this.#overStream = true;
    this.#budget.leave(this.#place);
    this.ask();
  }

  /** RFC 7873 §5.3. @returns false when the datagram must not be looked at any further */
  #passesCookie(message: Uint8Array): boolean {
    const { cookies } = this.upstream;
    if (this.#plain || cookies === null) return true;
    const verdict = cookies.judge(message);
    if (verdict === 'ok') return true;
    if (verdict === 'refused' && !this.#cookieRefused) {
      this.#cookieRefused = true;
      this.#closeUdp();
      this.ask();
      return false;
    }
    if (verdict !== 'refused') this.upstream.datagramsMismatched += 1;
    this.#switchToTcp();
    return false;
  }

  /** RFC 6891 §6.2.2: who does not know EDNS is asked without, and this is remembered. */
  #fallBackToPlain(message: Uint8Array): boolean {
    if (this.#plain || !rejectsForm(message)) return false;
    this.#plain = true;
    this.#closeUdp();
    this.#closeStream();
    this.#streamTries = 0;
    this.ask();
    return true;
  }

  #accept(message: Uint8Array): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#plain && !this.upstream.plain(nowMs) && !rejectsForm(message)) {
      this.upstream.notePlain(nowMs);
    }
    this.#closeUdp();
    this.#closeStream();
    this.pending = false;
    this.#owner.onAnswer(this, message);
  }

  #finish(verdict: string): void {
    this.finished = true;
    this.#fail(verdict);
  }

  #failUnreachable(code: string): void {
    this.unreachable = true;
    if (this.upstream.noteUnreachable(code)) this.#owner.onDown(this.upstream);
    this.#fail(code);
  }

  #fail(verdict: string): void {
    this.verdict = verdict;
    this.pending = this.#udp !== null || this.#stream !== null;
    this.#owner.onFailed(this);
  }

  #noteResponse(sampleMs: number | null): void {
    if (this.upstream.noteResponse(sampleMs)) this.#owner.onReturned(this.upstream);
  }

  #closeUdp(): void {
    if (this.#udp !== null) this.#route.udp?.close(this.#udp);
    this.#udp = null;
  }

  #closeStream(): void {
    if (this.#stream !== null) this.#route.stream.close(this.#stream);
    this.#stream = null;
  }
}
