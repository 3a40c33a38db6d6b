/**
 * Failure policy, all of it: what does this reply condemn (recipient, transaction or destination),
 * for good or for now, and may the message have been delivered all the same?
 *
 * Rules that hold throughout
 * - Doubt defers. Only a 5yz reply to MAIL, RCPT, DATA or the final dot bounces mail, and the two
 *   codes that RFC 7504 made for hosts that take no mail at all.
 * - The first digit decides (RFC 5321 §4.2.1); an unknown code counts as its class, an unknown or
 *   unexpected class as temporary.
 * - A 5yz code with a 4.y.z enhanced code contradicts itself, so it defers; 4yz with 5.y.z likewise.
 *   Other enhanced codes refine the scope only, never the class.
 * - 421 means that the host is closing the channel (RFC 5321 §3.8): the destination, for now,
 *   whatever was being said.
 */
import { retryHintMs } from './retry-hint.ts';
import type { Reply } from './smtp/reply.ts';

export type { Reply };

/** What a failure condemns. */
export type Scope = 'recipient' | 'transaction' | 'destination';

export type Outcome =
  | { readonly kind: 'delivered'; readonly reply: Reply }
  /** reply is null when DNS decided, as with a null MX. */
  | { readonly kind: 'bounced'; readonly scope: Scope; readonly reply: Reply | null }
  /** maybeDelivered: the connection died after the final dot. */
  | {
      readonly kind: 'deferred';
      readonly scope: Scope;
      readonly reply: Reply | null;
      readonly maybeDelivered: boolean;
    };

/** What we had said, or were about to hear, when it happened. */
export type Phase =
  | 'connect'
  | 'greeting'
  | 'ehlo'
  | 'starttls'
  | 'mail'
  | 'rcpt'
  | 'data'
  | 'endOfData'
  /** The connection broke, fell silent or spoke nonsense; no reply to judge by. */
  | 'lost';

export interface Facts {
  readonly phase: Phase;
  /** null when there is none: connection refused, TLS failed or not offered, connection lost. */
  readonly reply: Reply | null;
  /** The final dot had been sent, and its reply had not come. */
  readonly maybeDelivered: boolean;
  /** Recipients of this transaction accepted so far; matters for "too many recipients" only. */
  readonly recipientsAccepted?: number;
  /** We decided ourselves, from what the host offers, and asked nothing of it. */
  readonly local?: boolean;
}

/** Stable name of a judgement, for WaitReason.code, events and metrics. */
export type Reason =
  | 'delivered'
  | 'refused'
  | 'deferred-by-peer'
  | 'greylisted'
  | 'too-many-recipients'
  | 'throttled'
  | 'host-unavailable'
  | 'host-refused'
  | 'no-mail-service'
  | 'connect'
  | 'tls'
  | 'out-of-step'
  | 'connection-lost'
  | 'maybe-delivered';

/**
 * How far the failure reaches beyond the mail at hand.
 * none: the connection is as good as before. host: try the next address or MX host.
 * site: the next host would say the same; back off from all of them.
 */
export type Reach = 'none' | 'host' | 'site';

export interface Judgement {
  /** For a failure that reaches the host, this holds once no host is left; see {@link milder}. */
  readonly outcome: Outcome;
  readonly reason: Reason;
  readonly reach: Reach;
  /** Not an attempt: try again at once, in the next transaction (RFC 5321 §4.5.3.1.10). */
  readonly retryAtOnce: boolean;
  /** "Try again in so many ms", as a 4yz reply asks; untrusted, and null when it asks for nothing. */
  readonly hintMs: number | null;
}

/** One row of the policy; the first that matches decides. */
interface Rule {
  readonly phases: readonly Phase[];
  /** Matched against {@link subjectOf}: "450 4.7.1", "550" or "none". */
  readonly on: RegExp;
  readonly when?: (facts: Facts) => boolean;
  readonly kind: Outcome['kind'];
  readonly scope: Scope;
  readonly reach: Reach;
  readonly reason: Reason;
  readonly retryAtOnce?: true;
}

const OPENING: readonly Phase[] = ['greeting', 'ehlo', 'starttls'];
const TALKING: readonly Phase[] = [
  'greeting',
  'ehlo',
  'starttls',
  'mail',
  'rcpt',
  'data',
  'endOfData',
];

/** A transaction with recipients in it can be finished and the rest sent in another; an empty one cannot. */
const someAccepted = (facts: Facts): boolean => (facts.recipientsAccepted ?? 0) > 0;

// biome-ignore format: a table reads by its columns
const POLICY: readonly Rule[] = [
  // No reply at all.
  { phases: ['lost'],     on: /./,    when: (facts) => facts.maybeDelivered,
    kind: 'deferred', scope: 'destination', reach: 'host', reason: 'maybe-delivered' },
  { phases: ['lost'],     on: /./,    kind: 'deferred', scope: 'destination', reach: 'host', reason: 'connection-lost' },
  { phases: ['connect'],  on: /./,    kind: 'deferred', scope: 'destination', reach: 'host', reason: 'connect' },
  { phases: ['starttls'], on: /none/, kind: 'deferred', scope: 'destination', reach: 'host', reason: 'tls' },

  // 421 closes the channel, at any point. With X.7 (policy: rate, reputation) every host says so.
  { phases: TALKING, on: /^421 4\.7\./, kind: 'deferred', scope: 'destination', reach: 'site', reason: 'throttled' },
  { phases: TALKING, on: /^421/,        kind: 'deferred', scope: 'destination', reach: 'host', reason: 'host-unavailable' },

  // Before MAIL a reply is about us and this host, never about mail. RFC 7504: 521 and 556 are hosts
  // that take none; when no other host is left, that is final. Other 5yz are mostly block lists, which
  // heal, so they defer (Postfix's smtp_skip_5xx_greeting).
  { phases: ['greeting', 'ehlo'], on: /^(521|556)/, kind: 'bounced', scope: 'destination', reach: 'host', reason: 'no-mail-service' },
  { phases: OPENING,      on: /^4\d\d 4\.7\./, kind: 'deferred', scope: 'destination', reach: 'site', reason: 'throttled' },
  { phases: ['starttls'], on: /^[45]/,         kind: 'deferred', scope: 'destination', reach: 'host', reason: 'tls' },
  { phases: OPENING,      on: /^4/,            kind: 'deferred', scope: 'destination', reach: 'host', reason: 'host-unavailable' },
  { phases: OPENING,      on: /^5/,            kind: 'deferred', scope: 'destination', reach: 'host', reason: 'host-refused' },

  // MAIL: the reverse-path or the size is refused; 4.3.z (mail system status) is the host's own trouble,
  // save 4.3.4, message too big.
  { phases: ['mail'], on: /^4\d\d 4\.3\.[^4]/, kind: 'deferred', scope: 'destination', reach: 'host', reason: 'host-unavailable' },
  { phases: ['mail'], on: /^4/, kind: 'deferred', scope: 'transaction', reach: 'none', reason: 'deferred-by-peer' },
  { phases: ['mail'], on: /^5/, kind: 'bounced',  scope: 'transaction', reach: 'none', reason: 'refused' },

  // RCPT: one recipient. 452 is "too many in this transaction", and 552 without its own detail means
  // the same (RFC 5321 §4.5.3.1.10); a full mailbox says 4.2.2 or 5.2.2.
  { phases: ['rcpt'], on: /^([45]52|[45]\d\d [45]\.5\.3)$/, when: someAccepted,
    kind: 'deferred', scope: 'recipient', reach: 'none', reason: 'too-many-recipients', retryAtOnce: true },
  // Beyond the host's RCPTMAX (RFC 9422): not asked, so not refused either.
  { phases: ['rcpt'], on: /^452 4\.5\.3$/, when: (facts) => facts.local === true,
    kind: 'deferred', scope: 'recipient', reach: 'none', reason: 'too-many-recipients', retryAtOnce: true },
  { phases: ['rcpt'], on: /^552( 5\.5\.3)?$/, kind: 'deferred', scope: 'recipient', reach: 'none', reason: 'deferred-by-peer' },
  // Greylisting has no code of its own; 450 and 451 with these is what its implementations send.
  { phases: ['rcpt'], on: /^45[01] 4\.(7\.\d+|2\.0)$/, kind: 'deferred', scope: 'recipient', reach: 'none', reason: 'greylisted' },
  { phases: ['rcpt'], on: /^4/, kind: 'deferred', scope: 'recipient', reach: 'none', reason: 'deferred-by-peer' },
  { phases: ['rcpt'], on: /^5/, kind: 'bounced',  scope: 'recipient', reach: 'none', reason: 'refused' },

  // DATA and the final dot: every recipient accepted so far.
  { phases: ['endOfData'],         on: /^2/, kind: 'delivered', scope: 'transaction', reach: 'none', reason: 'delivered' },
  { phases: ['data', 'endOfData'], on: /^45[01] 4\.7\./, kind: 'deferred', scope: 'transaction', reach: 'none', reason: 'greylisted' },
  { phases: ['data', 'endOfData'], on: /^4/, kind: 'deferred', scope: 'transaction', reach: 'none', reason: 'deferred-by-peer' },
  { phases: ['data', 'endOfData'], on: /^5/, kind: 'bounced',  scope: 'transaction', reach: 'none', reason: 'refused' },
];

/** 354 to RCPT, 250 to DATA, 6yz: the peer and we no longer speak of the same thing. */
const OUT_OF_STEP: Rule = {
  phases: TALKING,
  on: /./,
  kind: 'deferred',
  scope: 'destination',
  reach: 'host',
  reason: 'out-of-step',
};

/**
 * Judges one reply, or the want of one. Pure; never throws.
 *
 * Replies that let the session go on (220, 250 to MAIL, 354) are not for judging; given one, it
 * finds peer and client out of step, which defers.
 */
export function judge(facts: Facts): Judgement {
  const subject = subjectOf(facts.reply);
  const rule =
    POLICY.find(
      ({ phases, on, when }) =>
        phases.includes(facts.phase) && on.test(subject) && (when?.(facts) ?? true),
    ) ?? OUT_OF_STEP;
  const { reason, reach, retryAtOnce = false } = rule;
  const hintMs = facts.reply === null ? null : retryHintMs(facts.reply);
  return { outcome: outcomeOf(rule, facts), reason, reach, retryAtOnce, hintMs };
}

/** judge() says "delivered" of these, and of no others: asked first, as nearly all mail is taken. */
export const isTaken = ({ phase, reply }: Pick<Facts, 'phase' | 'reply'>): boolean =>
  phase === 'endOfData' && reply !== null && reply.code >= 200 && reply.code < 300;

function outcomeOf({ kind, scope }: Rule, { reply, maybeDelivered }: Facts): Outcome {
  switch (kind) {
    case 'delivered':
      // Only the reply to the final dot gets here, and rules for replies never match 'none'.
      return { kind, reply: reply! };
    case 'bounced':
      return { kind, scope, reply };
    case 'deferred':
      // A reply to the final dot is an answer; only its absence leaves doubt.
      return { kind, scope, reply, maybeDelivered: maybeDelivered && reply === null };
  }
}

/**
 * The reply as the policy reads it: "450 4.7.1", "550", or "none". Where code and enhanced code
 * disagree on the class, both are read as 4: 550 4.7.1 becomes "450 4.7.1".
 */
function subjectOf(reply: Reply | null): string {
  if (reply === null) return 'none';
  const { code, enhanced } = reply;
  const codeClass = Math.floor(code / 100);
  if (enhanced === null || (codeClass !== 4 && codeClass !== 5)) return String(code);
  const [enhancedClass, ...detail] = enhanced.split('.');
  const disagree = enhancedClass !== String(codeClass) && /^[45]$/.test(enhancedClass ?? '');
  const agreed = disagree ? 4 : codeClass;
  return [agreed * 100 + (code % 100), [agreed, ...detail].join('.')].join(' ');
}

/**
 * Of the outcomes of a site's hosts, the one that the mail gets when no host is left: deferral over
 * bounce, and among deferrals the one that may have delivered, because that must not be forgotten.
 */
export function milder(one: Outcome, other: Outcome): Outcome {
  if (one.kind === 'delivered') return one;
  if (other.kind === 'delivered') return other;
  if (one.kind !== other.kind) return one.kind === 'deferred' ? one : other;
  return other.kind === 'deferred' && other.maybeDelivered ? other : one;
}
