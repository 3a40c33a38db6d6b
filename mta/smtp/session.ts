/**
 * The SMTP client as a machine without I/O or clock: replies in, actions out; connection.ts performs
 * them. Every command that was sent stands in a queue of awaited replies, so pipelining within a
 * transaction (RFC 2920) and across transactions is the same code as lockstep.
 *
 * Invariants
 * - Replies are attributed strictly in the order of commands.
 * - Transactions under way are in order of MAIL. The content of all but the last has been sent, so at
 *   most one is in its envelope alone (MAIL, RCPT, DATA not all answered).
 * - Content is sent only once a recipient of it was accepted, save as far as window.ts allows; then a
 *   RSET goes before MAIL, so that what a host keeps of a refused transaction joins no other.
 * - A transaction is told about exactly once: by an outcome, or in close() as untouched.
 */
import type { Capabilities } from './capabilities.ts';
import * as command from './commands.ts';
import { settleAtEnd } from './ending.ts';
import { Exchange } from './exchange.ts';
import { behavedBy, isLastRung } from './manners.ts';
import { Opening, type OpeningPhase, type OpeningStep } from './opening.ts';
import type { Action, SessionOptions } from './phases.ts';
import { isNegative, isPositive, type Reply } from './reply.ts';
import type { CloseCause, RecipientFact, Transaction, WaitPhase } from './transaction.ts';
import { refuseUnasked } from './unasked.ts';
import { UnderWay } from './under-way.ts';
import { WINDOW_OCTETS_MAX, Window } from './window.ts';
import { type Awaited, answered, fill, NOT_SENT, newWork, type Work } from './work.ts';

const LONE_DOT = '.\r\n';

export class Session<T extends Transaction> {
  /** Transactions whose MAIL was sent. */
  transactions = 0;
  /** Transactions whose content went before the host had accepted anything of them. */
  sentAhead = 0;
  /** Transactions that the host answered to their end: the proof that the session works. */
  settled = 0;
  closed = false;

  readonly #options: SessionOptions;
  readonly #opening: Opening;
  #ready = false;
  #contentsUnsent = 0;
  #quitting = false;
  #saidQuit = false;
  /** The host may still hold an abandoned transaction: RSET before the next MAIL. */
  #dirty = false;
  readonly #underWay = new UnderWay<T>();
  readonly #window = new Window();
  readonly #exchange = new Exchange<T>();

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#opening = new Opening(options);
    this.#exchange.await('connect', null);
  }

  /** What the host offers, as far as it has been asked. */
  get capabilities(): Capabilities {
    return this.#opening.capabilities;
  }

  /** What has been decided since the last call, in order. */
  take(): readonly Action<T>[] {
    return this.#exchange.take();
  }

  /** take() has something to give. */
  get decided(): boolean {
    return this.#exchange.decided;
  }

  /** What the oldest awaited reply answers, or null when none is awaited. */
  get phase(): WaitPhase | null {
    return this.#exchange.head?.phase ?? null;
  }

  get idle(): boolean {
    return this.#ready && this.#underWay.count === 0;
  }

  /** Whether start() may be called now. */
  get canStart(): boolean {
    if (!this.#ready || this.#quitting || this.closed || this.exhausted) return false;
    const { last, count, octets } = this.#underWay;
    if (last === undefined) return true;
    if (last.sentAfter === NOT_SENT || !this.#overlaps) return false;
    return count < Math.max(2, this.#aheadMax) && octets < WINDOW_OCTETS_MAX;
  }

  /** The host takes no more transactions in this session (RFC 9422 MAILMAX). */
  get exhausted(): boolean {
    const { transactionsMax } = this.capabilities;
    return transactionsMax !== null && this.transactions >= transactionsMax;
  }

  get #pipelines(): boolean {
    return this.capabilities.pipelining && this.#options.manners.mode !== 'lockstep';
  }

  get #overlaps(): boolean {
    const { mode } = this.#options.manners;
    return this.capabilities.pipelining && (mode === 'overlap' || mode === 'window');
  }

  /** Transactions that may be under way at once with their content sent ahead; 1 is none. */
  get #aheadMax(): number {
    return this.#options.manners.mode === 'window' && this.#chunks ? this.#window.size : 1;
  }

  get #chunks(): boolean {
    return this.capabilities.chunking && this.#options.manners.chunking;
  }

  /** Sends MAIL and what may follow it. Only when canStart. */
  start(transaction: T): void {
    const work = newWork(transaction, this.#underWay.count > 0);
    refuseUnasked(work, this.capabilities, this.#opening.proven);
    if (work.rcptsAwaited === 0) {
      this.#tell(work);
      return;
    }
    this.transactions += 1;
    work.ahead = this.#aheadMax > 1 && work.overlapped;
    if (work.ahead) this.sentAhead += 1;
    this.#underWay.add(work);
    if (this.#dirty || this.#underWay.someAhead) this.#queue(command.RSET, 'rset', null);
    this.#dirty = false;
    this.#queueEnvelope(work);
    if (work.ahead) this.#sendContent(work, true);
    else if (this.#pipelines && !this.#chunks) {
      work.dataSent = true;
      this.#queue(command.DATA, 'data', work);
    }
    this.#sendWhatMayGo();
  }

  #queueEnvelope(work: Work<T>): void {
    const { transaction, facts } = work;
    const { recipients, smtpUtf8 } = transaction;
    this.#queue(command.mail(transaction, this.capabilities), 'mail', work);
    const dsn = this.capabilities.dsn ? transaction.dsn : undefined;
    if (dsn !== undefined) dsn.passedOn = true;
    for (let index = 0; index < recipients.length; index += 1) {
      if (facts[index] !== null) continue;
      const line = command.rcpt(recipients[index]!, smtpUtf8, dsn?.rcpt[index]);
      this.#queue(line, 'rcpt', work, index);
    }
  }

  /** QUIT, once what is under way is finished. */
  quit(): void {
    if (this.#quitting || this.closed) return;
    this.#quitting = true;
    this.#quitWhenIdle();
  }

  onConnected(): void {
    this.#exchange.answered();
    this.#exchange.await('greeting', null);
  }

  /**
   * The handshake is done.
   * @param proven the host has proven its name
   */
  onSecured(proven = false): void {
    this.#exchange.answered();
    this.#open(this.#opening.onSecured(proven), null, null);
  }

  /**
   * Octets came in: the replies in them cannot answer what is handed out from now on. Without this
   * a doubled reply would shift all that follow, and RCPT's 250 would pass for that of the content.
   *
   * @param contentsUnsent of so many contents, the latest, the end was not handed to the socket yet
   */
  onArrival(contentsUnsent: number): void {
    this.#exchange.arrivals += 1;
    this.#contentsUnsent = contentsUnsent;
  }

  onReply(reply: Reply): void {
    if (this.closed) return;
    const { head, arrivals } = this.#exchange;
    if (head === undefined || head.sentAfter === arrivals) {
      this.#onUnsolicited(reply);
    } else if (reply.code === 421 && this.#ready && head.phase !== 'quit') {
      this.#close({ kind: 'goodbye', phase: head.phase, reply }, head, reply);
    } else {
      this.#exchange.answered();
      this.#dispatch(head, reply);
      this.#sendWhatMayGo();
      this.#quitWhenIdle();
    }
  }

  /**
   * The connection is gone, or has to go.
   * @param contentsUnsent as for onArrival; those the host cannot have taken
   */
  onLost(cause: CloseCause, contentsUnsent: number): void {
    if (this.closed) return;
    this.onArrival(contentsUnsent);
    const ahead = this.#pipelines && this.#exchange.awaits > 1;
    if (
      (cause.kind === 'malformed' && this.#pipelines) ||
      (cause.kind === 'timeout' && ahead) ||
      (cause.kind === 'closed' && ahead && (this.settled === 0 || this.#window.lost))
    ) {
      this.#stepDown();
    }
    this.#close(cause, null, null);
  }

  #dispatch(head: Awaited<T>, reply: Reply): void {
    switch (head.phase) {
      case 'greeting':
      case 'ehlo':
      case 'starttls':
        this.#open(this.#opening.onReply(head.phase as OpeningPhase, reply), head, reply);
        break;
      case 'mail':
        this.#onMail(head, head.work!, reply);
        break;
      case 'rcpt':
        this.#onRcpt(head, head.work!, reply);
        break;
      case 'data':
        this.#onData(head, head.work!, reply);
        break;
      case 'endOfData':
        this.#onEndOfData(head, reply);
        break;
      case 'rset':
        if (isPositive(reply)) this.#window.heard('rset', reply);
        else this.#protocolFault(head, reply);
        break;
      case 'quit':
        this.#close({ kind: 'quit' }, null, null);
        break;
      default:
        // connect, handshake: nobody may speak yet.
        this.#protocolFault(head, reply);
    }
  }

  #open(step: OpeningStep, head: Awaited<T> | null, reply: Reply | null): void {
    switch (step.kind) {
      case 'say':
        this.#exchange.send(step.text, step.awaits, null);
        break;
      case 'secure':
        this.#exchange.await('handshake', null);
        this.#exchange.decide(step);
        break;
      case 'ready':
        this.#ready = true;
        this.#exchange.decide(step);
        break;
      case 'close':
        this.#close(step.cause, null, null);
        break;
      case 'fault':
        this.#protocolFault(head!, reply!);
    }
  }

  #onMail(head: Awaited<T>, work: Work<T>, reply: Reply): void {
    if (isPositive(reply)) {
      work.mail = 'accepted';
      this.#window.heard('mail', reply);
      return;
    }
    // Bad sequence: the host has not finished with the transaction ahead, so it cannot overlap.
    if (!isNegative(reply) || (reply.code === 503 && work.overlapped)) {
      this.#protocolFault(head, reply);
      return;
    }
    work.mail = 'refused';
    fill(work, answered(reply, 'mail'));
    // In lockstep the RCPT commands behind it were not sent yet, and never will be.
    work.rcptsAwaited -= this.#exchange.dropUnsent();
    if (work.rcptsAwaited === 0 && !work.dataSent && !work.ahead) this.#onEnvelopeAnswered(work);
  }

  #onRcpt(head: Awaited<T>, work: Work<T>, reply: Reply): void {
    if (isPositive(reply)) {
      work.accepted += 1;
      this.#window.heard('rcpt', reply);
    } else if (isNegative(reply)) work.facts[head.recipient] ??= answered(reply, 'rcpt');
    else {
      this.#protocolFault(head, reply);
      return;
    }
    work.rcptsAwaited -= 1;
    if (work.rcptsAwaited === 0 && !work.dataSent && !work.ahead) this.#onEnvelopeAnswered(work);
  }

  /** Every MAIL and RCPT is answered, and DATA was not sent along. */
  #onEnvelopeAnswered(work: Work<T>): void {
    if (work.mail === 'refused' || work.accepted === 0) this.#abandon(work);
    else if (this.#chunks) this.#sendContent(work, true);
    else this.#queue(command.DATA, 'data', work);
  }

  #onData(head: Awaited<T>, work: Work<T>, reply: Reply): void {
    if (isNegative(reply)) {
      fill(work, answered(reply, 'data'));
      this.#abandon(work);
    } else if (reply.code !== 354) {
      this.#protocolFault(head, reply);
    } else if (work.accepted === 0) {
      // RFC 2920 §3.1: the host waits for content that is for nobody.
      this.#exchange.send(LONE_DOT, 'endOfData', null);
      this.#settle(work);
    } else if (work.mail === 'refused') {
      // RCPT and DATA accepted all the same: a dot would deliver an empty message, so leave.
      this.#protocolFault(head, reply);
    } else {
      this.#sendContent(work, false);
    }
  }

  #sendContent(work: Work<T>, chunked: boolean): void {
    const octets = work.transaction.content;
    work.chunked = chunked;
    work.sentAfter = this.#exchange.arrivals;
    if (chunked) this.#exchange.write(command.bdatLast(octets.length));
    this.#exchange.decide({ kind: 'content', octets, stuffed: !chunked });
    this.#exchange.await('endOfData', work);
  }

  #onEndOfData(head: Awaited<T>, reply: Reply): void {
    const work = head.work;
    if (!(isPositive(reply) || isNegative(reply)) || this.#outOfStep(work, reply)) {
      this.#protocolFault(head, reply);
    } else if (work === null) {
      // The lone dot: what the host says of nothing does not matter.
    } else if (work.ahead && (work.mail === 'refused' || work.accepted === 0)) {
      // Sent in vain: what was said of MAIL and RCPT stands.
      if (isPositive(reply)) this.#protocolFault(head, reply);
      else this.#abandon(work);
    } else if (work.chunked && reply.code >= 500 && reply.code <= 504) {
      // BDAT itself is not understood: no judgement of the message, which goes again without it.
      this.#underWay.remove(work);
      this.#stepDown();
      this.#close(protocolCause(head, reply), null, null, work.transaction);
    } else {
      fill(work, answered(reply, 'endOfData'));
      if (isPositive(reply)) this.#window.taken(reply);
      this.#settle(work);
    }
  }

  /**
   * A 250 that cannot be for the content: X.1.x speaks of addresses (RFC 3463 §3.2), so it is that of
   * MAIL or RCPT, as is one that reads like theirs; and content that is still leaving cannot have been
   * taken.
   */
  #outOfStep(work: Work<T> | null, reply: Reply): boolean {
    if (!isPositive(reply)) return false;
    if (work === null ? this.#contentsUnsent > 0 : this.#isUnsent(work)) return true;
    if (work?.ahead === true && this.#window.indistinct(reply)) return true;
    return this.#pipelines && reply.enhanced?.startsWith('2.1.') === true;
  }

  /** The host cannot have the end of its content: it was not handed out, or not yet to the socket. */
  #isUnsent(work: Work<T>): boolean {
    if (work.sentAfter === NOT_SENT || work.sentAfter === this.#exchange.arrivals) return true;
    // Contents leave in order, so those not sent are the latest.
    return this.#contentsUnsent > 0 && this.#underWay.sentBehind(work) < this.#contentsUnsent;
  }

  /** 421 may come at any time (RFC 5321 §3.8); any other reply out of turn means we are out of step. */
  #onUnsolicited(reply: Reply): void {
    if (reply.code !== 421) this.#stepDown();
    const kind = reply.code === 421 ? 'goodbye' : 'protocol';
    this.#close({ kind, phase: null, reply }, null, null);
  }

  #quitWhenIdle(): void {
    if (!this.#quitting || !this.idle || this.closed || this.#saidQuit) return;
    this.#saidQuit = true;
    this.#exchange.send(command.QUIT, 'quit', null);
  }

  #queue(text: string, phase: WaitPhase, work: Work<T> | null, recipient = -1): void {
    if (this.#pipelines) this.#exchange.send(text, phase, work, recipient);
    else this.#exchange.sendLater(text, phase, work, recipient);
  }

  #sendWhatMayGo(): void {
    if (this.#exchange.awaits === 0 && !this.closed) this.#exchange.sendNext();
  }

  /** Ends a transaction that the host may still hold open. */
  #abandon(work: Work<T>): void {
    // Where another was sent behind it already, its RSET was too.
    const isLast = this.#underWay.last === work;
    this.#dirty = isLast && (work.ahead || work.mail === 'accepted' || work.accepted > 0);
    this.#settle(work);
  }

  /** Every recipient has its fact, from the host. */
  #settle(work: Work<T>): void {
    this.settled += 1;
    if (work.accepted === 0) this.#window.refused(work.ahead);
    this.#tell(work);
  }

  #tell(work: Work<T>): void {
    this.#underWay.remove(work);
    // No fact is null any more: fill() ran, or every recipient was refused.
    const facts = work.facts as RecipientFact[];
    this.#exchange.decide({ kind: 'outcome', transaction: work.transaction, facts });
  }

  #stepDown(): void {
    const manners = behavedBy(this.#options.manners, this.sentAhead > 0);
    if (!isLastRung(manners)) this.#exchange.decide({ kind: 'stepDown', manners });
  }

  #protocolFault(head: Awaited<T>, reply: Reply): void {
    this.#stepDown();
    this.#close(protocolCause(head, reply), null, null);
  }

  /**
   * Ends the session and accounts for what is under way.
   *
   * @param head what `reply` answers, where the end is an answer (421); else null, as is `reply`
   * @param returned a transaction to hand back before those found here
   */
  #close(cause: CloseCause, head: Awaited<T> | null, reply: Reply | null, returned?: T): void {
    this.closed = true;
    this.#exchange.silence();
    const { told, untouched } = settleAtEnd(this.#underWay.works, {
      cause,
      answer: reply === null ? null : { head: head!, reply },
      gotSomewhere: this.settled > 0 || (cause.kind === 'protocol' && this.#steppable),
      isUnsent: (work) => this.#isUnsent(work),
    });
    for (const work of told) this.#tell(work);
    this.#underWay.clear();
    const back = returned === undefined ? untouched : [returned, ...untouched];
    this.#exchange.decide({ kind: 'close', cause, untouched: back });
  }

  get #steppable(): boolean {
    return !isLastRung(this.#options.manners);
  }
}

const protocolCause = (head: { readonly phase: WaitPhase }, reply: Reply): CloseCause => ({
  kind: 'protocol',
  phase: head.phase,
  reply,
});
