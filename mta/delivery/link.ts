/**
 * One connection as its site sees it: how it began, what it carries, how fast, and when it has had
 * its day.
 *
 * Invariant: ready() comes at most once; closed() comes once after ready(), and never before it.
 */
import type { DeliveryConfig } from '../config.ts';
import type { Target } from '../plan/route.ts';
import type { Connection, ConnectionHandlers } from '../smtp/connection.ts';
import type { TlsMode } from '../smtp/phases.ts';
import type { TlsVerdict } from '../smtp/tickets.ts';
import type { CloseCause, RecipientFact } from '../smtp/transaction.ts';
import type { Consignment } from './consignment.ts';

export type LinkOpener = (
  target: Target,
  tls: TlsMode,
  handlers: ConnectionHandlers<Consignment>,
) => Connection<Consignment>;

export interface LinkEvents {
  ready(): void;
  next(): Consignment | null;
  outcome(consignment: Consignment, facts: readonly RecipientFact[]): void;
  closed(cause: CloseCause, untouched: readonly Consignment[]): void;
}

export class Link {
  readonly target: Target;
  /** Transactions that the peer answered. */
  settled = 0;
  /** Transactions taken up and not yet told: two when one overlaps the next, eight in a window. */
  underWay = 0;
  /** What TLS it was opened with. */
  mode: TlsMode = 'none';
  /** Domains whose mail it took up, where somebody counts them. */
  readonly carried = new Set<string>();
  /** How long the connection had the last told transaction to itself. */
  lastTookMs = 0;
  readonly #events: LinkEvents;
  readonly #nowMs: () => number;
  #connection: Connection<Consignment> | null = null;
  /** When it last turned to a transaction: taken up when idle, or the one before was told. */
  #turnedMs = 0;

  constructor(target: Target, nowMs: () => number, events: LinkEvents) {
    this.target = target;
    this.#nowMs = nowMs;
    this.#events = events;
  }

  /** null while in clear. */
  get tls(): TlsVerdict | null {
    return this.#connection?.tls ?? null;
  }

  /** Our end, numeric; '' before the host has taken the call. */
  get localAddress(): string {
    return this.#connection?.localAddress ?? '';
  }

  /** The host has taken the call. */
  get connected(): boolean {
    return this.#connection?.connected ?? false;
  }

  /** Transactions begun. */
  get messages(): number {
    return this.#connection?.messages ?? 0;
  }

  get idle(): boolean {
    return this.#connection?.state === 'idle';
  }

  /** Resolves with null once it is ready, or with why it will not be. */
  open(opener: LinkOpener, tls: TlsMode): Promise<CloseCause | null> {
    this.mode = tls;
    return new Promise((resolve) => {
      let ready = false;
      this.#connection = opener(this.target, tls, {
        onReady: () => {
          ready = true;
          this.#events.ready();
          resolve(null);
        },
        next: () => this.#next(),
        onOutcome: (consignment, facts) => this.#outcome(consignment, facts),
        onClosed: (cause, untouched) => {
          if (!ready) return resolve(cause);
          this.underWay -= untouched.length;
          this.#events.closed(cause, untouched);
        },
      });
    });
  }

  wake(): void {
    this.#connection?.wake();
  }

  quit(): void {
    this.#connection?.quit();
  }

  destroy(): void {
    this.#connection?.destroy();
  }

  /** It has lived long enough, so that a slow host cannot collect them all. */
  aged(nowMs: number, config: DeliveryConfig): boolean {
    const connection = this.#connection;
    return connection !== null && nowMs - connection.openedAtMs >= config.connection_age;
  }

  /** Closes when it has idled or lived too long. */
  tidy(nowMs: number, config: DeliveryConfig): void {
    const idleSinceMs = this.#connection?.idleSinceMs ?? null;
    if (idleSinceMs === null) return;
    if (nowMs - idleSinceMs >= config.idle || this.aged(nowMs, config)) this.quit();
  }

  #next(): Consignment | null {
    const consignment = this.#events.next();
    if (consignment === null) return null;
    if (this.underWay === 0) this.#turnedMs = this.#nowMs();
    this.underWay += 1;
    return consignment;
  }

  #outcome(consignment: Consignment, facts: readonly RecipientFact[]): void {
    const nowMs = this.#nowMs();
    this.lastTookMs = nowMs - this.#turnedMs;
    this.#turnedMs = nowMs;
    this.underWay -= 1;
    this.#events.outcome(consignment, facts);
  }
}
