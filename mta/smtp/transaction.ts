/**
 * The vocabulary between the SMTP client and whoever drives it: what is to be sent, what came of it,
 * and why a connection ended. Facts only; what a fact condemns is decided in disposition.ts.
 */
import type { Body } from '../envelope.ts';
import { formatReply, type MalformedReply, type Reply } from './reply.ts';

/** One mail transaction. Drivers extend it with what they need to recognise it. */
export interface Transaction {
  /** Without angle brackets; '' is the null reverse-path. */
  readonly reversePath: string;
  /** Forward-paths without angle brackets, at least one. */
  readonly recipients: readonly string[];
  /**
   * CRLF line endings, ends with CRLF, not dot-stuffed. Never to be changed: after an early refusal
   * it may still be leaving.
   */
  readonly content: Uint8Array;
  readonly body: Body;
  readonly smtpUtf8: boolean;
  /** What the sender asked to be told; absent when nothing out of the ordinary. */
  readonly dsn?: DsnWishes | undefined;
  /** REQUIRETLS (RFC 8689). */
  readonly requireTls?: boolean;
}

/** Parameters of MAIL and RCPT for hosts that offer DSN (RFC 3461); values as the client wrote them. */
export interface DsnWishes {
  /** "" or " RET=… ENVID=…". */
  readonly mail: string;
  /** For each recipient "" or " NOTIFY=… ORCPT=…". */
  readonly rcpt: readonly string[];
  /** Set once they were sent: then it is the host's to tell of success (RFC 3461 §5.2.1). */
  passedOn: boolean;
}

/** Which command a reply answered; 'lost' when no reply came because the connection ended. */
export type FactPhase =
  | 'greeting'
  | 'ehlo'
  | 'starttls'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'endOfData'
  | 'lost';

/** What became of one recipient of a transaction. */
export interface RecipientFact {
  /** null exactly when phase is 'lost'. */
  readonly reply: Reply | null;
  readonly phase: FactPhase;
  /** The final dot or BDAT LAST may have reached the host, and its reply did not reach us. */
  readonly maybeDelivered: boolean;
  /** We decided ourselves, from what the host offers, and sent nothing: `reply` is our wording. */
  readonly local: boolean;
  /** Why the connection ended; null unless phase is 'lost'. */
  readonly cause: CloseCause | null;
}

/** What a connection can be waiting for; see PHASES in session.ts for the time-outs. */
export type WaitPhase =
  | 'connect'
  | 'greeting'
  | 'ehlo'
  | 'starttls'
  | 'handshake'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'body'
  | 'endOfData'
  | 'rset'
  | 'quit';

export type TlsFault =
  /** STARTTLS is not among the capabilities, and policy wants TLS. */
  | 'not-offered'
  /** STARTTLS was refused, and policy wants TLS. */
  | 'refused'
  /** Octets came between the 220 and the handshake: an injection (CVE-2011-0411). */
  | 'injected'
  | 'handshake'
  /** The certificate is not what 'verify' asks for. */
  | 'untrusted';

/** Why a connection ended, or never came to be. */
export type CloseCause =
  /** code: ECONNREFUSED, ENETUNREACH, … */
  | { readonly kind: 'connect'; readonly code: string }
  | { readonly kind: 'timeout'; readonly phase: WaitPhase }
  /** The host does not want this session: no transaction was started. */
  | {
      readonly kind: 'refused';
      readonly phase: 'greeting' | 'ehlo' | 'starttls';
      readonly reply: Reply;
    }
  | {
      readonly kind: 'tls';
      readonly fault: TlsFault;
      readonly detail: string;
      /** Of the TLS library or ours, where there is one: "CERT_HAS_EXPIRED". */
      readonly code?: string;
    }
  /** The peer closed, with FIN (code null) or not (ECONNRESET, …); phase null: nothing was awaited. */
  | { readonly kind: 'closed'; readonly phase: WaitPhase | null; readonly code: string | null }
  /** 421 (RFC 5321 §3.8) once the session was open; phase null: nothing was awaited. */
  | { readonly kind: 'goodbye'; readonly phase: WaitPhase | null; readonly reply: Reply }
  | { readonly kind: 'malformed'; readonly error: MalformedReply }
  /** A well-formed reply that cannot be right here; phase null: nothing was awaited. */
  | { readonly kind: 'protocol'; readonly phase: WaitPhase | null; readonly reply: Reply }
  /** We said QUIT. */
  | { readonly kind: 'quit' }
  /** destroy() was called. */
  | { readonly kind: 'destroyed' };

/** One line for logs and `why`. */
export function describeCause(cause: CloseCause): string {
  switch (cause.kind) {
    case 'connect':
      return `could not connect (${cause.code})`;
    case 'timeout':
      return `no answer in time, phase ${cause.phase}`;
    case 'refused':
      return `session refused, phase ${cause.phase}: ${formatReply(cause.reply)}`;
    case 'tls':
      return `TLS failed (${cause.fault}): ${cause.detail}`;
    case 'closed':
      return `connection closed by the peer${cause.code === null ? '' : ` (${cause.code})`}, ${duringPhase(cause.phase)}`;
    case 'goodbye':
      return `session ended by the peer, ${duringPhase(cause.phase)}: ${formatReply(cause.reply)}`;
    case 'malformed':
      return cause.error.message;
    case 'protocol':
      return `reply out of place, ${duringPhase(cause.phase)}: ${formatReply(cause.reply)}`;
    case 'quit':
      return 'closed with QUIT';
    case 'destroyed':
      return 'closed by us';
  }
}

const duringPhase = (phase: WaitPhase | null): string =>
  phase === null ? 'while idle' : `phase ${phase}`;
