/**
 * What need not be asked of a host, as its own offers tell: each recipient that it cannot take has its fact
 * before anything is sent, worded as the reply that it would have given.
 */
import type { Capabilities } from './capabilities.ts';
import { isWritable, localReply, unfit } from './commands.ts';
import type { Reply } from './reply.ts';
import type { Transaction } from './transaction.ts';
import { answered, type Work } from './work.ts';

/** As the host would have said (RFC 9422 §4.2, RFC 5321 §4.5.3.1.10). */
const BEYOND_RCPTMAX: Reply = localReply(
  452,
  '4.5.3',
  'the host takes fewer recipients in one transaction (RCPTMAX)',
);

/** Of the others `work.rcptsAwaited` is the count by then. @param proven the host has proven its name */
export function refuseUnasked<T extends Transaction>(
  work: Work<T>,
  offered: Capabilities,
  proven: boolean,
): void {
  const { transaction, facts } = work;
  const { recipients, smtpUtf8 } = transaction;
  const refusal = unfit(transaction, offered, proven);
  const recipientsMax = offered.recipientsMax ?? Number.POSITIVE_INFINITY;
  for (let index = 0; index < recipients.length; index += 1) {
    const reply = refusal ?? unwritableRecipient(recipients[index]!, smtpUtf8);
    if (reply !== null) facts[index] = { ...answered(reply, 'mail'), local: true };
    else if (work.rcptsAwaited < recipientsMax) work.rcptsAwaited += 1;
    else facts[index] = { ...answered(BEYOND_RCPTMAX, 'rcpt'), local: true };
  }
}

const unwritableRecipient = (address: string, smtpUtf8: boolean): Reply | null =>
  isWritable(address, smtpUtf8)
    ? null
    : localReply(553, '5.1.3', 'the address cannot be written in an SMTP command');
