/**
 * The three sentences at the top: does mail flow, is DNS within its budget, and what is wrong now; each
 * with what to do next. Pure: a snapshot in, words out. Text of strangers is quoted as it is, so
 * whoever shows it shows it as text.
 */
import { mainCause } from './causes.ts';
import type { MailPart } from './parts.ts';
import { type DnsRow, type MailRow, MEMORY_SOURCES } from './rates.ts';
import type { Level, Snapshot } from './snapshot.ts';
import { findTroubles, type Trouble } from './troubles.ts';
import { ageText, countText, plural, sentence, shareText } from './words.ts';

export interface Verdict {
  readonly level: Level;
  readonly text: string;
  /** What to do next. */
  readonly next: string;
}

export interface Verdicts {
  readonly mail: Verdict;
  readonly dns: Verdict;
  readonly wrong: Verdict & { readonly troubles: readonly Trouble[] };
}

const NOTHING_TO_DO = 'Nothing to do.';
/** Share of the budget from which on it is nearly spent. */
const NEARLY = 0.8;

export function judge(snapshot: Snapshot): Verdicts {
  const troubles = findTroubles(snapshot);
  return {
    mail: mailVerdict(snapshot),
    dns: dnsVerdict(snapshot.dns),
    wrong: { ...wrongVerdict(troubles), troubles },
  };
}

function wrongVerdict(troubles: readonly Trouble[]): Verdict {
  const [first, ...others] = troubles;
  if (first === undefined) return { level: 'good', text: 'Nothing is wrong.', next: NOTHING_TO_DO };
  const more = others.length === 0 ? '' : ` And ${plural(others.length, 'more thing')}.`;
  return { level: first.level, text: `${sentence(first.text)}${more}`, next: first.next };
}

function absence(absent: string | null, expected: boolean, name: string, runs: string): Verdict {
  if (expected) {
    return {
      level: 'bad',
      text: `The ${name} does not answer: ${absent ?? 'no reason is known'}.`,
      next: `Look at its log; "postilion up" starts it again by itself.`,
    };
  }
  return {
    level: 'none',
    text: `No ${name} runs beside this one.`,
    next: `To have one: ${runs}.`,
  };
}

function mailVerdict({ mail, nowMs }: Snapshot): Verdict {
  const { part, absent, expected, lately } = mail;
  if (part === null) return absence(absent, expected, 'mta', 'postilion up');
  if (part.draining) {
    return {
      level: 'warn',
      text: `Draining: no mail is taken, ${plural(part.queued + part.leased, 'recipient')} left to deliver.`,
      next: 'Stop the mta when none is left; a restart takes mail again.',
    };
  }
  if (part.unready !== null) {
    return {
      level: 'bad',
      text: `No mail is taken: ${sentence(part.unready)}`,
      next: 'What was acknowledged is safe in the spool. Clients try again; the log tells more.',
    };
  }
  if (part.suspendedAtMs !== null) {
    return {
      level: 'bad',
      text: `Delivery is suspended for ${ageText(nowMs - part.suspendedAtMs)}; ${plural(part.queued + part.leased, 'recipient')} wait.`,
      next: 'Resume delivery, here under Actions or with POST /v1/delivery/resume.',
    };
  }
  if (lately === null) return { level: 'none', text: 'Mail: measuring…', next: 'Wait a second.' };
  return flowVerdict(part, lately, nowMs);
}

function flowVerdict(part: MailPart, lately: MailRow, nowMs: number): Verdict {
  const delivered = lately.delivered ?? 0;
  const deferred = lately.deferred ?? 0;
  const waiting = part.queued + part.leased;
  const cause = mainCause(lately.causes);
  if (deferred > delivered && cause !== null) {
    const [level, start] =
      delivered > 0
        ? (['warn', `Mail flows, but most attempts are put off: ${countText(delivered)}`] as const)
        : (['bad', 'Mail is tried and put off: none'] as const);
    return {
      level,
      text: `${start} delivered and ${countText(deferred)} put off a second, mostly because ${cause.text}.`,
      next: cause.next,
    };
  }
  if (delivered > 0) {
    const oldest = part.waiting[0];
    const age =
      oldest === undefined ? '' : `, the oldest for ${ageText(nowMs - oldest.receivedAtMs)}`;
    const text = `Mail flows: ${countText(delivered)} delivered a second, ${countText(waiting)} wait${age}.`;
    return { level: 'good', text, next: NOTHING_TO_DO };
  }
  if (waiting === 0)
    return { level: 'good', text: 'Nothing waits: all mail is out.', next: NOTHING_TO_DO };
  if (part.leased > 0) {
    const text = `${plural(part.leased, 'recipient')} under way, ${countText(part.queued)} wait.`;
    return { level: 'good', text, next: NOTHING_TO_DO };
  }
  return stillVerdict(part, nowMs);
}

/** Mail waits and none of it was tried lately. */
function stillVerdict({ queued, waiting }: MailPart, nowMs: number): Verdict {
  const next = nextInstant(waiting.map(({ wait }) => wait.untilMs));
  const when =
    next === null
      ? ''
      : `; the next try is ${next <= nowMs ? 'now' : `in ${ageText(next - nowMs)}`}`;
  const [first] = waiting;
  return {
    level: 'good',
    text: `${plural(queued, 'recipient')} wait${queued === 1 ? 's' : ''} for another try${when}.`,
    next: first === undefined ? NOTHING_TO_DO : `Longest waits: ${sentence(first.wait.text)}`,
  };
}

function nextInstant(instants: readonly (number | null)[]): number | null {
  const known = instants.filter((instant) => instant !== null);
  return known.length === 0 ? null : Math.min(...known);
}

/** @returns 0 to 1, or null when nobody asked */
export function hitShare(lately: DnsRow): number | null {
  const all = Object.values(lately.answers).reduce<number>((sum, rate) => sum + (rate ?? 0), 0);
  if (all === 0) return null;
  return MEMORY_SOURCES.reduce((sum, source) => sum + (lately.answers[source] ?? 0), 0) / all;
}

function dnsVerdict({ part, absent, expected, lately }: Snapshot['dns']): Verdict {
  if (part === null) return absence(absent, expected, 'resolver', 'postilion up');
  if (part.unready !== null) {
    return {
      level: 'bad',
      text: `DNS: ${sentence(part.unready)}`,
      next: 'Check the upstreams: postilion doctor. Answers past their time are served meanwhile.',
    };
  }
  if (lately === null) return { level: 'none', text: 'DNS: measuring…', next: 'Wait a second.' };
  const share = hitShare(lately);
  const hits = share === null ? 'nobody asks just now' : `${shareText(share)} of answers cost none`;
  const { budget } = lately;
  if (budget === null) {
    return {
      level: 'good',
      text: `No DNS budget is set: ${countText(lately.sent ?? 0)} packets a second go upstream; ${hits}.`,
      next: 'Set resolver.budget where the network has a limit, such as 1,024 packets/s on AWS.',
    };
  }
  return budgetVerdict(lately, budget, hits);
}

function budgetVerdict(lately: DnsRow, budget: number, hits: string): Verdict {
  const limit = `${countText(budget)} packets/s`;
  if ((lately.refused ?? 0) > 0) {
    return {
      level: 'bad',
      text: `The DNS budget of ${limit} is spent: ${countText(lately.refused ?? 0)} questions a second fail for want of it.`,
      next: 'See who asks under Busiest domains; raise resolver.budget if the network allows.',
    };
  }
  const waiting = lately.waiting ?? 0;
  const delayed = lately.delayed ?? 0;
  const spent = lately.spent ?? 0;
  const isNearlySpent = spent > NEARLY * budget;
  const waits = waiting > 0 || delayed >= 1;
  if (waits && isNearlySpent) {
    const who =
      waiting > 0
        ? `${plural(waiting, 'question')} wait${waiting === 1 ? 's' : ''} for a turn`
        : `${countText(delayed)} packets a second had to wait for a turn`;
    return {
      level: 'warn',
      text: `The DNS budget of ${limit} is spent: ${who}.`,
      next: 'Answers come late but do come. See Busiest domains; raise resolver.budget if the network allows.',
    };
  }
  const text = `${countText(spent)} of ${limit} (${shareText(spent / budget)})`;
  if (isNearlySpent) {
    return {
      level: 'warn',
      text: `The DNS budget is nearly spent: ${text}.`,
      next: 'See who asks under Busiest domains; raise resolver.budget if the network allows.',
    };
  }
  // The budget spreads a burst over a moment, which is what it is for.
  const burst = waits ? ' A burst was spread over a moment.' : '';
  return {
    level: 'good',
    text: `DNS is within budget: ${text}; ${hits}.${burst}`,
    next: NOTHING_TO_DO,
  };
}
