/**
 * From counters to what people read: so many a second.
 *
 * Invariant: where a counter went back (a restart) or samples are missing there is no rate, and a chart
 * has a gap: nothing is made up.
 */
import { SOURCES, type Source } from '../../resolver/counters.ts';
import type { Sampled } from './history.ts';
import type { DnsSample, MailSample } from './samples.ts';

/** Of answers that cost no packet upstream, the cheapest first. */
export const MEMORY_SOURCES = ['hot', 'cache', 'coalesced', 'stale', 'local'] as const;

/** Per second over one step, but for `budget`, `waiting` and what is said to be now; null where unknown. */
export interface DnsRow {
  readonly atMs: number;
  readonly answers: Readonly<Record<Source, number | null>>;
  readonly lookups: number | null;
  readonly sent: number | null;
  /** Packets of the main budget. */
  readonly spent: number | null;
  /** The limit in force; null without one. */
  readonly budget: number | null;
  readonly delayed: number | null;
  readonly refused: number | null;
  /** Questions that wait for the budget now. */
  readonly waiting: number | null;
}

export interface MailRow {
  readonly atMs: number;
  readonly received: number | null;
  readonly delivered: number | null;
  readonly deferred: number | null;
  /** Expiry included. */
  readonly bounced: number | null;
  readonly causes: Readonly<Record<string, number>>;
  /** Now. */
  readonly queued: number | null;
  readonly leased: number | null;
  readonly connections: number | null;
  readonly full: number | null;
  readonly resumed: number | null;
  readonly clear: number | null;
  readonly failed: number | null;
  /** Lookups asked of the resolver. */
  readonly asked: number | null;
}

export function dnsRow(before: DnsSample | null, now: DnsSample): DnsRow {
  const rate = rateOf(before, now);
  return {
    atMs: now.atMs,
    answers: Object.fromEntries(
      SOURCES.map((source) => [source, rate((sample) => sample.answers[source])]),
    ) as DnsRow['answers'],
    lookups: rate(({ queries }) => queries),
    sent: rate(({ sent }) => sent),
    spent: rate(({ spent }) => spent),
    budget: now.budget,
    delayed: rate(({ budgetDelayed }) => budgetDelayed),
    refused: rate(({ budgetRefused }) => budgetRefused),
    waiting: now.budgetWaiting,
  };
}

export function mailRow(before: MailSample | null, now: MailSample): MailRow {
  const rate = rateOf(before, now);
  const causes = Object.keys(now.causes)
    .map((code) => [code, rate(({ causes: counts }) => counts[code] ?? 0)] as const)
    .filter((pair): pair is [string, number] => pair[1] !== null && pair[1] > 0);
  return {
    atMs: now.atMs,
    received: rate(({ received }) => received),
    delivered: rate(({ delivered }) => delivered),
    deferred: rate(({ deferred }) => deferred),
    bounced: rate(({ bounced, expired }) => bounced + expired),
    causes: Object.fromEntries(causes),
    queued: now.queued,
    leased: now.leased,
    connections: now.connections,
    full: rate(({ full }) => full),
    resumed: rate(({ resumed }) => resumed),
    clear: rate(({ clear }) => clear),
    failed: rate(({ failed }) => failed),
    asked: rate(({ asked }) => asked),
  };
}

function rateOf<S extends Sampled>(
  before: S | null,
  now: S,
): (count: (sample: S) => number) => number | null {
  if (before === null || now.atMs <= before.atMs) return () => null;
  const seconds = (now.atMs - before.atMs) / 1000;
  return (count) => {
    const grown = count(now) - count(before);
    return grown < 0 ? null : grown / seconds;
  };
}

/** Two samples so many steps apart are no neighbours. */
const STEPS_MAX = 2.5;

/**
 * @param row of two neighbours, or of none and one where there is none before
 * @returns a row for each sample but the first; where samples are missing, one without numbers
 */
export function rowsOf<S extends Sampled, R>(
  samples: readonly S[],
  stepMs: number,
  row: (before: S | null, now: S) => R,
): R[] {
  const rows: R[] = [];
  for (const [index, now] of samples.entries()) {
    const before = samples[index - 1];
    if (before === undefined) continue;
    const isNeighbour = now.atMs - before.atMs <= STEPS_MAX * stepMs;
    if (!isNeighbour) rows.push(row(null, now));
    else rows.push(row(before, now));
  }
  return rows;
}

/** Over all of these samples: what has been so many a second lately. */
export function rowOver<S extends Sampled, R>(
  samples: readonly S[],
  row: (before: S | null, now: S) => R,
): R | null {
  const last = samples.at(-1);
  const first = samples[0];
  if (last === undefined || first === undefined) return null;
  return row(first === last ? null : first, last);
}
