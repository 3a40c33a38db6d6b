/** What a session can be waiting for, and for how long; what it can be told, and what it can decide. */
import type { Manners } from './manners.ts';
import type { CloseCause, RecipientFact, Transaction, WaitPhase } from './transaction.ts';

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;

/** What we await, and how long at least (RFC 5321 §4.5.3.2; connect, EHLO, TLS and the rest are ours). */
export const PHASES = {
  connect: { awaits: 'TCP connection', timeoutMs: 30 * SECOND_MS },
  greeting: { awaits: 'greeting', timeoutMs: 5 * MINUTE_MS },
  ehlo: { awaits: 'reply to EHLO', timeoutMs: 5 * MINUTE_MS },
  starttls: { awaits: 'reply to STARTTLS', timeoutMs: 2 * MINUTE_MS },
  handshake: { awaits: 'TLS handshake', timeoutMs: 1 * MINUTE_MS },
  mail: { awaits: 'reply to MAIL', timeoutMs: 5 * MINUTE_MS },
  rcpt: { awaits: 'reply to RCPT', timeoutMs: 5 * MINUTE_MS },
  data: { awaits: 'reply to DATA', timeoutMs: 2 * MINUTE_MS },
  body: { awaits: 'socket to drain', timeoutMs: 3 * MINUTE_MS },
  endOfData: { awaits: 'reply to final dot', timeoutMs: 10 * MINUTE_MS },
  rset: { awaits: 'reply to RSET', timeoutMs: 1 * MINUTE_MS },
  quit: { awaits: 'reply to QUIT', timeoutMs: 5 * SECOND_MS },
} as const satisfies Record<WaitPhase, { awaits: string; timeoutMs: number }>;

/** dane: the certificate must match the host's TLSA records. */
export type TlsMode = 'opportunistic' | 'require' | 'verify' | 'dane' | 'none';

export type Action<T extends Transaction> =
  /** One command or several, each with its CRLF. */
  | { readonly kind: 'command'; readonly text: string }
  /** stuffed: DATA, to be dot-stuffed and ended with the final dot; else the octets after BDAT. */
  | { readonly kind: 'content'; readonly octets: Uint8Array; readonly stuffed: boolean }
  | { readonly kind: 'secure' }
  | { readonly kind: 'ready' }
  | {
      readonly kind: 'outcome';
      readonly transaction: T;
      /** By index of recipient. */
      readonly facts: readonly RecipientFact[];
    }
  /** The peer cannot follow `manners`, by which we went: remember that for its host. */
  | { readonly kind: 'stepDown'; readonly manners: Manners }
  /** The last action; `untouched` were handed in but not tried. */
  | { readonly kind: 'close'; readonly cause: CloseCause; readonly untouched: readonly T[] };

export interface SessionOptions {
  /** Name for EHLO: a domain name or an address literal. */
  readonly clientName: string;
  readonly tls: TlsMode;
  readonly manners: Manners;
}
