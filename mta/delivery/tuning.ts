/**
 * Rules by which a site or domain slows down or rests by itself, for what its hosts keep saying.
 *
 * A rule fires when so many replies that match it came in a row, none of them answered by a message
 * taken. What it does is bounded in time, and every change is told with its cause.
 */
import type { Reply } from '../smtp/reply.ts';
import type { FactPhase } from '../smtp/transaction.ts';

export type Remedy =
  /** Twice the pause between two messages of the site. */
  | { readonly kind: 'slow' }
  | { readonly kind: 'suspend-site'; readonly forMs: number }
  | { readonly kind: 'suspend-domain'; readonly forMs: number };

export interface TuningRule {
  /** Stable, for logs and `why`. */
  readonly name: string;
  readonly phases: readonly FactPhase[];
  /** Matched against code and enhanced code: "421 4.7.28" or "421". */
  readonly on: RegExp;
  /** Where the codes alone do not tell: matched against the text as well. */
  readonly says?: RegExp;
  readonly times: number;
  readonly remedy: Remedy;
}

const MINUTE_MS = 60_000;
const ANY: readonly FactPhase[] = ['greeting', 'ehlo', 'mail', 'rcpt', 'data', 'endOfData'];
const OF_MAIL: readonly FactPhase[] = ['mail', 'data', 'endOfData'];
const OVER_RATE =
  /rate limit|too (?:many|fast|frequent)|throttl|unusual rate|temporarily deferred|slow down|quota/i;

/** The first that matches a reply counts it. */
// biome-ignore format: a table reads by its columns
export const TUNING_RULES: readonly TuningRule[] = [
  // "Over the rate for this sender or address", as Gmail's 4.7.28 and Outlook's 4.7.650 say it.
  { name: 'rate',           phases: ANY, on: /^4\d\d 4\.7\.(28|65\d|232)$/, times: 1, remedy: { kind: 'slow' } },
  { name: 'rate',           phases: ANY, on: /^(421|45[0-2])/, says: OVER_RATE, times: 1, remedy: { kind: 'slow' } },
  // A policy that says no to one message after the other: our address or name is listed somewhere.
  // What is refused for good bounces, so the rest had better wait until somebody has looked.
  { name: 'listed',         phases: OF_MAIL, on: /^5\d\d 5\.7\./, times: 10, remedy: { kind: 'suspend-site', forMs: 30 * MINUTE_MS } },
  { name: 'policy',         phases: OF_MAIL, on: /^4\d\d 4\.7\./, times: 10, remedy: { kind: 'suspend-site', forMs: 10 * MINUTE_MS } },
  // The host is well, what stands behind it for this domain is not.
  { name: 'domain-broken',  phases: ['rcpt', 'data', 'endOfData'], on: /^4\d\d 4\.[34]\./, times: 10, remedy: { kind: 'suspend-domain', forMs: 5 * MINUTE_MS } },
];

/** @returns the rule that counts this reply, or null */
export function tuningRuleFor(phase: FactPhase, reply: Reply): TuningRule | null {
  if (reply.code < 400) return null;
  const subject = reply.enhanced === null ? `${reply.code}` : `${reply.code} ${reply.enhanced}`;
  return (
    TUNING_RULES.find(
      ({ phases, on, says }) =>
        phases.includes(phase) &&
        on.test(subject) &&
        (says === undefined || says.test(reply.lines.join(' '))),
    ) ?? null
  );
}
