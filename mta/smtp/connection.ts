/**
 * One connection to one MX host, from TCP to QUIT: the unit that a delivery planner pools. It pulls
 * transactions through `next` whenever it can start one, tells the outcome of each, and in the end
 * hands back what it did not try.
 *
 * Invariants
 * - Every transaction taken from next() is told in exactly one onOutcome, or is in onClosed's
 *   `untouched`; onClosed comes once, last.
 * - Handlers may call any method from within a callback, except that destroy() then takes effect
 *   when the callback's turn is over.
 * - One timer, moved lazily: it is set anew only when the deadline comes nearer.
 */
import { createHash } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Tlsa } from '../tlsa.ts';
import type { Capabilities } from './capabilities.ts';
import { QUIT } from './commands.ts';
import type { HostMemory, Manners } from './manners.ts';
import { type Action, PHASES, type TlsMode } from './phases.ts';
import { MalformedReply, ReplyParser } from './reply.ts';
import { Session } from './session.ts';
import type { TicketCache, TlsVerdict } from './tickets.ts';
import type { CloseCause, RecipientFact, Transaction, WaitPhase } from './transaction.ts';
import { Transport } from './transport.ts';

export interface Target {
  /** MX host name without final dot, or the address of an address literal: SNI and certificate name. */
  readonly host: string;
  /** Numeric. */
  readonly address: string;
  readonly port: number;
  readonly tls: TlsMode;
  /** Of the host, for mode 'dane'; one or more then. */
  readonly tlsa?: readonly Tlsa[] | undefined;
  /** Name for EHLO: a domain name or an address literal. */
  readonly clientName: string;
}

/** Shared by all connections of a process. */
export interface ConnectionDeps {
  readonly clock: Clock;
  readonly tlsContext: SecureContext;
  readonly tickets: TicketCache;
  readonly hosts: HostMemory;
  readonly counters: ConnectionCounters;
  /** Instead of PHASES' own. */
  readonly timeoutsMs?: Partial<Readonly<Record<WaitPhase, number>>>;
}

export interface ConnectionCounters {
  /** TCP connections asked for. */
  attempted: number;
  /** Sessions that became ready, by how: the sum is sessions. */
  readyFull: number;
  readyResumed: number;
  readyClear: number;
  /** Transactions sent ahead, on connections that are closed by now. */
  sentAhead: number;
}

export const newCounters = (): ConnectionCounters => ({
  attempted: 0,
  readyFull: 0,
  readyResumed: 0,
  readyClear: 0,
  sentAhead: 0,
});

export interface ConnectionHandlers<T extends Transaction> {
  /** Capabilities and TLS verdict are known; next() will be asked right after. */
  onReady?(connection: Connection<T>): void;
  /** Work to start now, or null when there is none; then wake() when there is. */
  next(connection: Connection<T>): T | null;
  /** @param facts by index of recipient */
  onOutcome(transaction: T, facts: readonly RecipientFact[], connection: Connection<T>): void;
  onClosed(cause: CloseCause, untouched: readonly T[], connection: Connection<T>): void;
}

export type ConnectionState = 'connecting' | 'idle' | 'busy' | 'quitting' | 'closed';

export function openConnection<T extends Transaction>(
  target: Target,
  deps: ConnectionDeps,
  handlers: ConnectionHandlers<T>,
): Connection<T> {
  return new Connection(target, deps, handlers);
}

export class Connection<T extends Transaction> {
  readonly target: Target;
  readonly manners: Manners;
  readonly openedAtMs: number;
  /** Monotonic; null unless the session is ready and has nothing under way. */
  idleSinceMs: number | null = null;
  /** null while clear, also when policy would have liked otherwise. */
  tls: TlsVerdict | null = null;

  readonly #deps: ConnectionDeps;
  readonly #handlers: ConnectionHandlers<T>;
  readonly #session: Session<T>;
  readonly #transport: Transport;
  readonly #parser = new ReplyParser();
  #ready = false;
  #quitting = false;
  #pumping = false;
  #destroyWanted = false;
  #timer: Timer | null = null;
  #timerAtMs = 0;
  /** When the peer last did something: monotonic. */
  #progressMs: number;

  constructor(target: Target, deps: ConnectionDeps, handlers: ConnectionHandlers<T>) {
    this.target = target;
    this.#deps = deps;
    this.#handlers = handlers;
    this.manners = deps.hosts.mannersOf(target.host);
    this.openedAtMs = deps.clock.monotonicMs();
    this.#progressMs = this.openedAtMs;
    const { clientName, tls } = target;
    this.#session = new Session({ clientName, tls, manners: this.manners });
    deps.counters.attempted += 1;
    this.#transport = new Transport(target.address, target.port, {
      onConnected: () => this.#onConnected(),
      onData: (chunk) => this.#onData(chunk),
      onDrain: () => this.#onDrain(),
      onSecured: (verdict) => this.#onSecured(verdict),
      onClosed: (code, detail) => this.#onTransportClosed(code, detail),
    });
    this.#arm();
  }

  get state(): ConnectionState {
    if (this.#session.closed) return 'closed';
    if (this.#quitting) return 'quitting';
    if (!this.#ready) return 'connecting';
    return this.#session.idle ? 'idle' : 'busy';
  }

  /** The host has taken the call: TCP is up. */
  get connected(): boolean {
    return this.#session.phase !== 'connect' && !this.#session.closed;
  }

  /** Ours, numeric; '' before the host has taken the call. */
  get localAddress(): string {
    return this.#transport.localAddress;
  }

  /** Transactions begun on this connection. */
  get messages(): number {
    return this.#session.transactions;
  }

  /** Of these, sent ahead of the host's consent; see window.ts. */
  get sentAhead(): number {
    return this.#session.sentAhead;
  }

  get capabilities(): Capabilities {
    return this.#session.capabilities;
  }

  /** For `why`: what is awaited, in words, and since when (monotonic); null when nothing is. */
  get waiting(): { readonly awaits: string; readonly sinceMs: number } | null {
    const phase = this.#waitPhase();
    return phase === null ? null : { awaits: PHASES[phase].awaits, sinceMs: this.#progressMs };
  }

  /** There is work: asks next() if a transaction can start now. */
  wake(): void {
    if (!this.#ready || this.#session.closed) return;
    // Nobody was waited for while idle.
    if (this.#session.phase === null) this.#progressMs = this.#deps.clock.monotonicMs();
    this.#pump();
  }

  /** Finishes what is under way, then QUIT; a connection that is not ready yet is closed at once. */
  quit(): void {
    if (this.#quitting) return;
    this.#quitting = true;
    if (this.#ready) this.#pump();
    else this.destroy();
  }

  /** Closes now. What is under way is told as lost. */
  destroy(): void {
    this.#destroyWanted = true;
    if (!this.#pumping) this.#lose({ kind: 'destroyed' });
  }

  #onConnected(): void {
    this.#session.onConnected();
    this.#progress();
  }

  #onSecured(verdict: TlsVerdict): void {
    this.tls = verdict;
    if (mustVerify(this.target.tls) && !verdict.verified) {
      const code = verdict.fault ?? 'unverified';
      const detail = `certificate of ${this.target.host}: ${code}`;
      this.#lose({ kind: 'tls', fault: 'untrusted', detail, code });
      return;
    }
    this.#session.onSecured(verdict.verified);
    this.#progress();
  }

  #onDrain(): void {
    if (!this.#session.closed) this.#progress();
  }

  #onData(chunk: Buffer): void {
    const session = this.#session;
    session.onArrival(this.#transport.contentsUnsent);
    this.#parser.feed(chunk);
    try {
      let reply = this.#parser.next();
      while (reply !== null && !session.closed) {
        session.onReply(reply);
        if (session.phase === 'handshake' && this.#parser.pendingOctets > 0) {
          this.#lose({
            kind: 'tls',
            fault: 'injected',
            detail: 'octets after the reply to STARTTLS',
          });
          return;
        }
        reply = this.#parser.next();
      }
    } catch (error) {
      if (!(error instanceof MalformedReply)) throw error;
      this.#lose({ kind: 'malformed', error });
      return;
    }
    this.#progress();
  }

  #onTransportClosed(code: string | null, detail: string): void {
    const phase = this.#session.phase;
    if (phase === 'connect') this.#lose({ kind: 'connect', code: code ?? 'ECONNRESET' });
    else if (phase === 'handshake') this.#lose(handshakeFault(code, detail));
    else if (phase === 'quit') this.#lose({ kind: 'quit' });
    else this.#lose({ kind: 'closed', phase, code });
  }

  #lose(cause: CloseCause): void {
    this.#session.onLost(cause, this.#transport.contentsUnsent);
    this.#pump();
  }

  #progress(): void {
    this.#progressMs = this.#deps.clock.monotonicMs();
    this.#pump();
  }

  /**
   * Performs what the session decided and starts what can start, until neither is left; then one
   * flush, so that content and the commands of the next transaction leave together.
   */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    const session = this.#session;
    do {
      for (const action of session.take()) this.#perform(action);
      if (this.#quitting || session.exhausted) session.quit();
      const transaction = session.canStart ? this.#handlers.next(this) : null;
      if (transaction !== null) session.start(transaction);
    } while (session.decided);
    this.#pumping = false;
    this.#transport.flush();
    if (!session.idle || session.closed) this.idleSinceMs = null;
    else this.idleSinceMs ??= this.#deps.clock.monotonicMs();
    if (this.#destroyWanted && !session.closed) this.#lose({ kind: 'destroyed' });
    else this.#arm();
  }

  #perform(action: Action<T>): void {
    switch (action.kind) {
      case 'command':
        this.#transport.command(action.text);
        break;
      case 'content':
        this.#transport.content(action.octets, action.stuffed);
        break;
      case 'secure':
        this.#secure();
        break;
      case 'ready':
        this.#becomeReady();
        break;
      case 'outcome':
        this.#handlers.onOutcome(action.transaction, action.facts, this);
        break;
      case 'stepDown':
        this.#deps.hosts.stepDown(this.target.host, action.manners);
        break;
      case 'close':
        this.#close(action.cause, action.untouched);
        break;
    }
  }

  #secure(): void {
    const { host, port, tls, tlsa = [] } = this.target;
    const { tlsContext, tickets } = this.#deps;
    this.#transport.secure({
      context: tlsContext,
      tickets,
      ticketKey: ticketKeyOf(tls, host, port, tlsa),
      host,
      mustVerify: mustVerify(tls),
      dane: tls === 'dane' ? { records: tlsa, nowMs: this.#deps.clock.wallMs() } : null,
    });
  }

  #becomeReady(): void {
    this.#ready = true;
    const { counters } = this.#deps;
    if (this.tls === null) counters.readyClear += 1;
    else if (this.tls.resumed) counters.readyResumed += 1;
    else counters.readyFull += 1;
    this.#handlers.onReady?.(this);
  }

  #close(cause: CloseCause, untouched: readonly T[]): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#deps.counters.sentAhead += this.sentAhead;
    // A host that declined in good order may still expect QUIT (RFC 5321 §3.1, §4.1.1.10).
    if (cause.kind === 'refused' || (cause.kind === 'tls' && this.tls === null)) {
      if (this.#session.phase !== 'handshake') this.#transport.command(QUIT);
      this.#transport.end();
    } else {
      this.#transport.destroy();
    }
    this.#handlers.onClosed(cause, untouched, this);
  }

  #waitPhase(): WaitPhase | null {
    const phase = this.#session.phase;
    return phase !== null && this.#transport.backlogged ? 'body' : phase;
  }

  #timeoutMs(phase: WaitPhase): number {
    return this.#deps.timeoutsMs?.[phase] ?? PHASES[phase].timeoutMs;
  }

  #arm(): void {
    const phase = this.#waitPhase();
    if (phase === null || this.#session.closed) return;
    const deadlineMs = this.#progressMs + this.#timeoutMs(phase);
    if (this.#timer !== null && this.#timerAtMs <= deadlineMs) return;
    this.#timer?.cancel();
    this.#timerAtMs = deadlineMs;
    const delayMs = deadlineMs - this.#deps.clock.monotonicMs();
    this.#timer = this.#deps.clock.after(delayMs, () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = null;
    const phase = this.#waitPhase();
    if (phase === null) return;
    const nowMs = this.#deps.clock.monotonicMs();
    if (nowMs < this.#progressMs + this.#timeoutMs(phase)) this.#arm();
    else this.#lose({ kind: 'timeout', phase });
  }
}

const mustVerify = (tls: TlsMode): boolean => tls === 'verify' || tls === 'dane';

/** Host, policy and TLSA set: a ticket from under other records proves nothing under these. */
function ticketKeyOf(tls: TlsMode, host: string, port: number, tlsa: readonly Tlsa[]): string {
  const key = `${tls} ${host} ${port}`;
  if (tls !== 'dane') return key;
  const set = tlsa.map((record) => Object.values(record).join(' ')).join(',');
  return `${key} ${createHash('sha256').update(set).digest('base64')}`;
}

const DETAIL_CHARACTERS_MAX = 200;

const handshakeFault = (code: string | null, detail: string): CloseCause => ({
  kind: 'tls',
  fault: 'handshake',
  detail: code === null ? 'closed during the handshake' : `${code}: ${firstLine(detail)}`,
  ...(code === null ? {} : { code }),
});

const firstLine = (text: string): string => text.split('\n')[0]!.slice(0, DETAIL_CHARACTERS_MAX);
