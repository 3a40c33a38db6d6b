/**
 * One mail transaction's worth of a leased message, and what its outcome means for the spool.
 * Policy is disposition.ts and plan/retry.ts; here their judgements become settlements.
 */
import type { Random } from '../../runtime/random.ts';
import { type Judgement, judge } from '../disposition.ts';
import {
  mailParameters,
  rcptParameters,
  readMessageExtra,
  readRecipientExtra,
  wantsNotice,
  writeExtra,
} from '../extra.ts';
import { nextAttempt, type RetryPolicy } from '../plan/retry.ts';
import type { Limits } from '../plan/shaping.ts';
import { formatReply, type Reply } from '../smtp/reply.ts';
import {
  type DsnWishes,
  describeCause,
  type RecipientFact,
  type Transaction,
} from '../smtp/transaction.ts';
import type { LeasedMessage, LeasedRecipient, Settlement, WaitReason } from '../spool/spool.ts';
import type { ReversePathFor } from './deps.ts';

export interface Consignment extends Transaction {
  /** The message with those of its recipients that go in this transaction. */
  readonly leased: LeasedMessage;
  /** Those of all of its recipients. */
  readonly limits: Limits;
  /** Wall ms at which it was leased. */
  readonly leasedAtMs: number;
  /** A connection closed under it before the peer said anything of it; it may go once more. */
  interrupted: boolean;
}

/**
 * Splits a message where its recipients have different limits, or are more than one transaction takes, or
 * each has a reverse-path of its own.
 */
export function consign(
  leased: LeasedMessage,
  limitsOf: (domain: string) => Limits,
  nowMs: number,
  reversePathFor: ReversePathFor | null = null,
): Consignment[] {
  const { recipients } = leased;
  if (reversePathFor !== null && leased.reversePath !== '') {
    return recipients.map((recipient) => ({
      ...consignmentOf({ ...leased, recipients: [recipient] }, limitsOf(recipient.domain), nowMs),
      reversePath: reversePathFor(leased, recipient),
    }));
  }
  const first = limitsOf(recipients[0]!.domain);
  const uniform = recipients.every(({ domain }) => limitsOf(domain) === first);
  if (uniform && recipients.length <= first.recipientsPerMessage) {
    return [consignmentOf(leased, first, nowMs)];
  }
  const consignments: Consignment[] = [];
  for (const [limits, group] of Map.groupBy(recipients, ({ domain }) => limitsOf(domain))) {
    for (let at = 0; at < group.length; at += limits.recipientsPerMessage) {
      const part = group.slice(at, at + limits.recipientsPerMessage);
      consignments.push(consignmentOf({ ...leased, recipients: part }, limits, nowMs));
    }
  }
  return consignments;
}

const consignmentOf = (leased: LeasedMessage, limits: Limits, nowMs: number): Consignment => ({
  leased,
  limits,
  leasedAtMs: nowMs,
  interrupted: false,
  reversePath: leased.reversePath,
  recipients: leased.recipients.map(({ address }) => address),
  content: leased.content,
  body: leased.body,
  smtpUtf8: leased.smtpUtf8,
  dsn: wishesOf(leased),
  requireTls: readMessageExtra(leased.extra).requireTls === true,
});

/** @returns undefined where the client asked for nothing, which is nearly always */
function wishesOf({ extra, recipients }: LeasedMessage): DsnWishes | undefined {
  if (extra === undefined && recipients.every((recipient) => recipient.extra === undefined)) {
    return undefined;
  }
  return {
    mail: mailParameters(readMessageExtra(extra)),
    rcpt: recipients.map((recipient) => rcptParameters(readRecipientExtra(recipient.extra))),
    passedOn: false,
  };
}

/** What is said of a recipient that will not be tried again. */
export interface Failure {
  readonly recipient: LeasedRecipient;
  /** RFC 3463, class 5. */
  readonly status: string;
  /** One line for a person. */
  readonly text: string;
  readonly reply: Reply | null;
  /** The host that said so, or null when DNS or age decided. */
  readonly host: string | null;
  readonly expired: boolean;
}

/** What the outcome of a consignment asks for. */
export interface Disposal {
  readonly settlements: Settlement[];
  readonly delivered: { readonly recipient: LeasedRecipient; readonly reply: Reply }[];
  readonly deferred: {
    readonly recipient: LeasedRecipient;
    readonly reason: WaitReason;
    readonly dueMs: number;
  }[];
  readonly failures: Failure[];
  /** Deferred recipients of whose delay the sender is to be told now. */
  readonly late: Failure[];
  /** What it says of the host or the whole site; null when nothing. */
  readonly judgement: Judgement | null;
}

export interface DisposalContext {
  readonly retry: RetryPolicy;
  readonly random: Random;
  /** Wall ms. */
  readonly nowMs: number;
  /** The host spoken to. */
  readonly host: string;
  /** Age at which senders who did not say are told of a delay; 0 never. */
  readonly delayWarningMs: number;
}

export function dispose(
  { leased }: Consignment,
  facts: readonly RecipientFact[],
  context: DisposalContext,
): Disposal {
  const recipientsAccepted = facts.filter(
    ({ phase }) => phase === 'data' || phase === 'endOfData',
  ).length;
  const disposal: Disposal & { judgement: Judgement | null } = {
    settlements: [],
    delivered: [],
    deferred: [],
    failures: [],
    late: [],
    judgement: null,
  };
  for (const [position, recipient] of leased.recipients.entries()) {
    const fact = facts[position]!;
    const judgement = judge({ ...fact, recipientsAccepted });
    if (judgement.reach !== 'none') disposal.judgement = judgement;
    settle(leased, recipient, fact, judgement, context, disposal);
  }
  return disposal;
}

function settle(
  leased: LeasedMessage,
  recipient: LeasedRecipient,
  fact: RecipientFact,
  judgement: Judgement,
  context: DisposalContext,
  disposal: Disposal,
): void {
  const key = { message: leased.message, index: recipient.index };
  const { outcome } = judgement;
  const { nowMs, host } = context;
  if (outcome.kind === 'delivered') {
    disposal.settlements.push({ key, kind: 'done' });
    disposal.delivered.push({ recipient, reply: outcome.reply });
    return;
  }
  const text = wording(fact, host);
  if (outcome.kind === 'bounced') {
    disposal.settlements.push({ key, kind: 'done' });
    disposal.failures.push({
      recipient,
      status: permanentStatus(outcome.reply),
      text,
      reply: outcome.reply,
      host: fact.local ? null : host,
      expired: false,
    });
    return;
  }
  if (judgement.retryAtOnce) {
    disposal.settlements.push({ key, kind: 'released' });
    return;
  }
  const next = nextAttempt(
    context.retry,
    {
      attempts: recipient.attempts,
      nowMs,
      receivedAtMs: leased.receivedAtMs,
      hintMs: judgement.hintMs,
    },
    context.random,
  );
  const reason = continued(recipient.reason, judgement.reason, text, nowMs);
  if (next.kind === 'expired') {
    disposal.settlements.push({ key, kind: 'done' });
    disposal.failures.push(expiry({ ...recipient, reason }));
    return;
  }
  const attempts = recipient.attempts + 1;
  const deferral = { key, kind: 'deferred' as const, dueMs: next.dueMs, attempts, reason };
  const extra = warningOf(leased, recipient, context);
  if (extra === null) disposal.settlements.push(deferral);
  else {
    disposal.settlements.push({ ...deferral, extra });
    const status = transientStatus(outcome.reply);
    disposal.late.push({ recipient, status, text, reply: outcome.reply, host, expired: false });
  }
  disposal.deferred.push({ recipient, reason, dueMs: next.dueMs });
}

/** Where NOTIFY=DELAY is all that anybody said. */
export const DELAY_ASKED_MS = 4 * 3_600_000;

/** @returns what to keep with a recipient of whose delay the sender is told now; null when it is not */
export function warningOf(
  leased: LeasedMessage,
  recipient: LeasedRecipient,
  { nowMs, delayWarningMs }: Pick<DisposalContext, 'nowMs' | 'delayWarningMs'>,
): string | null {
  const ageMs = nowMs - leased.receivedAtMs;
  if (leased.reversePath === '' || (delayWarningMs === 0 && ageMs < DELAY_ASKED_MS)) return null;
  const extra = readRecipientExtra(recipient.extra);
  const unasked = extra.notify === undefined;
  if (extra.warnedAtMs !== undefined || !(unasked || wantsNotice(extra, 'DELAY'))) return null;
  if (unasked && delayWarningMs === 0) return null;
  if (ageMs < (delayWarningMs === 0 ? DELAY_ASKED_MS : delayWarningMs)) return null;
  return writeExtra({ ...extra, warnedAtMs: nowMs }) ?? null;
}

/** The failure of a recipient whose time is up (RFC 3463 X.4.7). */
export const expiry = (recipient: LeasedRecipient): Failure => ({
  recipient,
  status: '5.4.7',
  text: `Delivery time expired. Last: ${recipient.reason.text}`,
  reply: null,
  host: null,
  expired: true,
});

/** The same reason as before goes on since then; another one begins now. */
const continued = (before: WaitReason, code: string, text: string, nowMs: number): WaitReason => ({
  code,
  text,
  sinceMs: before.code === code ? before.sinceMs : nowMs,
});

function wording(fact: RecipientFact, host: string): string {
  if (fact.reply !== null) {
    return fact.local ? formatReply(fact.reply) : `${host} said: ${formatReply(fact.reply)}`;
  }
  return `${host}: ${fact.cause === null ? 'connection lost' : describeCause(fact.cause)}`;
}

/** The status for a notice of delay: the peer's, or "4.0.0" where it gave none. */
function transientStatus(reply: Reply | null): string {
  const enhanced = reply?.enhanced;
  return enhanced?.startsWith('4.') ? enhanced : '4.0.0';
}

/** The status for a bounce: the peer's, made permanent; "5.0.0" where it gave none. */
function permanentStatus(reply: Reply | null): string {
  const enhanced = reply?.enhanced;
  return enhanced?.startsWith('5.') ? enhanced : '5.0.0';
}
