/**
 * What becomes of transactions under way when a session ends: each is told, or goes back untouched.
 *
 * Invariant: a transaction whose content may have reached the host to its end is told as possibly
 * delivered, never handed back.
 */
import type { Reply } from './reply.ts';
import type { CloseCause, FactPhase, Transaction } from './transaction.ts';
import { type Awaited, answered, fill, mayHaveRecipients, NOT_SENT, type Work } from './work.ts';

export interface End<T extends Transaction> {
  readonly cause: CloseCause;
  /** The reply that ends it (421) and the command that it answers; null when the end is no answer. */
  readonly answer: { readonly head: Awaited<T>; readonly reply: Reply } | null;
  /** Some transaction was answered to its end, or the next session will be more careful. */
  readonly gotSomewhere: boolean;
  /** The host cannot have the end of its content. */
  isUnsent(work: Work<T>): boolean;
}

/**
 * @param works under way, in order
 * @returns those whose facts are filled in by now, and those to hand back; in order
 */
export function settleAtEnd<T extends Transaction>(
  works: readonly Work<T>[],
  end: End<T>,
): { readonly told: readonly Work<T>[]; readonly untouched: readonly T[] } {
  const { cause, answer } = end;
  const told: Work<T>[] = [];
  const untouched: T[] = [];
  // Untried work goes back as it came, if going again leads further: this session had got somewhere, or
  // the next one will be more careful. Else the end counts as an attempt.
  const leadsFurther = end.gotSomewhere || works.some(({ sentAfter }) => sentAfter !== NOT_SENT);
  // A host that says 421 has read no further than what it answers (RFC 5321 §3.8).
  const answeredAt = answer === null ? works.length : works.indexOf(answer.head.work!);
  for (const [at, work] of works.entries()) {
    // A first MAIL that gets 421 was answered; later the host is merely tired of the session.
    const tired = answer?.head.phase === 'mail' && leadsFurther;
    if (answer !== null && at === answeredAt && !tired) {
      fill(work, answered(answer.reply, answer.head.phase as FactPhase));
      told.push(work);
      continue;
    }
    const maybeDelivered = at < answeredAt && !end.isUnsent(work) && mayHaveRecipients(work);
    if (work.mail === 'awaited' && leadsFurther && !maybeDelivered) {
      untouched.push(work.transaction);
    } else {
      fill(work, { reply: null, phase: 'lost', maybeDelivered, local: false, cause });
      told.push(work);
    }
  }
  return { told, untouched };
}
