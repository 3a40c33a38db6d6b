/** Bookkeeping of a session: transactions under way, commands sent and not yet answered, facts. */
import type { Reply } from './reply.ts';
import type { FactPhase, RecipientFact, Transaction, WaitPhase } from './transaction.ts';

/** {@link Work.sentAfter} before the content is handed out. */
export const NOT_SENT = -1;

/** A transaction under way. */
export interface Work<T extends Transaction> {
  readonly transaction: T;
  readonly facts: (RecipientFact | null)[];
  /** Its MAIL was sent before the transaction ahead was answered. */
  readonly overlapped: boolean;
  mail: 'awaited' | 'accepted' | 'refused';
  rcptsAwaited: number;
  accepted: number;
  /** DATA was sent along with MAIL and RCPT, so its reply comes whatever they say. */
  dataSent: boolean;
  /** Content went by BDAT. */
  chunked: boolean;
  /** Content was sent along with MAIL and RCPT, before anything was accepted. */
  ahead: boolean;
  /** Arrivals seen when the content was handed out; NOT_SENT before. */
  sentAfter: number;
}

export interface Awaited<T extends Transaction> {
  readonly phase: WaitPhase;
  /** null: the reply concerns no transaction (RSET, the lone dot after refusals, the session). */
  readonly work: Work<T> | null;
  /** Index of the recipient; -1 outside phase rcpt. */
  readonly recipient: number;
  /** Arrivals seen when the command was handed out: a later arrival only can answer it. */
  readonly sentAfter: number;
}

export interface Unsent<T extends Transaction> {
  readonly text: string;
  readonly phase: WaitPhase;
  readonly work: Work<T> | null;
  readonly recipient: number;
}

export function newWork<T extends Transaction>(transaction: T, overlapped: boolean): Work<T> {
  const facts: null[] = [null];
  while (facts.length < transaction.recipients.length) facts.push(null);
  return {
    transaction,
    facts,
    overlapped,
    mail: 'awaited',
    rcptsAwaited: 0,
    accepted: 0,
    dataSent: false,
    chunked: false,
    ahead: false,
    sentAfter: NOT_SENT,
  };
}

/** Gives `fact` to every recipient that has none yet. */
export function fill<T extends Transaction>(work: Work<T>, fact: RecipientFact): void {
  for (let index = 0; index < work.facts.length; index += 1) work.facts[index] ??= fact;
}

export const answered = (reply: Reply, phase: FactPhase): RecipientFact => ({
  reply,
  phase,
  maybeDelivered: false,
  local: false,
  cause: null,
});

/** Some recipient was accepted, or may have been. */
export const mayHaveRecipients = <T extends Transaction>(work: Work<T>): boolean =>
  work.mail !== 'refused' && (work.accepted > 0 || work.rcptsAwaited > 0);
