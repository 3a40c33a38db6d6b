/** What the mail bench says at its end: a table, the goals beside what was reached, JSON, plots. */
import type { MailFigures, MailOutcome } from './mail-run.ts';
import { barSvg } from './plot.ts';
import { machine, saveResults } from './results.ts';
import { tableText } from './table.ts';

const COLUMNS: readonly { readonly head: string; readonly of: (figures: MailFigures) => number }[] =
  [
    { head: 'inject µs', of: (one) => one.injectCpu },
    { head: 'deliver µs', of: (one) => one.deliverCpu },
    { head: 'apart µs', of: (one) => one.apartCpu },
    { head: 'together µs', of: (one) => one.togetherCpu },
    { head: 'inject/s', of: (one) => one.injectPerSecond },
    { head: 'deliver/s', of: (one) => one.deliverPerSecond },
    { head: 'together/s', of: (one) => one.togetherPerSecond },
    { head: 'conn/1k', of: (one) => one.connections },
    { head: 'full TLS/1k', of: (one) => one.handshakesFull },
    { head: 'DNS/1k', of: (one) => one.dnsQueries },
    { head: 'MB', of: (one) => one.resident / 1e6 },
  ];

export interface Goal {
  readonly what: string;
  readonly reached: number;
  readonly goal: number;
  /** 'most': reached <= goal meets it; 'least': reached >= goal does. */
  readonly sense: 'most' | 'least';
}

const DNS_QUERIES_MAX = 25;

type Medians = MailOutcome['medians'];

/** Goals whose contestants both took part. */
export function goals(medians: Medians): Goal[] {
  const { postilion, 'postilion-data': plain, 'postfix-tuned': tuned, nodemailer } = medians;
  const ratio = (
    what: string,
    a: MailFigures | undefined,
    b: MailFigures | undefined,
    of: (figures: MailFigures) => number,
    goal: number,
    sense: Goal['sense'] = 'most',
  ): Goal[] =>
    a === undefined || b === undefined ? [] : [{ what, reached: of(a) / of(b), goal, sense }];
  const whole = (one: MailFigures): number => one.togetherCpu;
  const { 'postilion-dkim': signing, 'postfix-dkim': milter } = medians;
  return [
    ...ratio('CPU with RSA-2048 DKIM / Postfix tuned + opendkim', signing, milter, whole, 0.12),
    ...ratio('CPU, injection to delivery / Postfix tuned', postilion, tuned, whole, 0.1),
    ...ratio(
      '  the same, injection and delivery apart',
      postilion,
      tuned,
      (one) => one.apartCpu,
      0.1,
    ),
    ...ratio(
      'delivery CPU, CHUNKING / Postfix tuned',
      postilion,
      tuned,
      (one) => one.deliverCpu,
      0.06,
    ),
    ...ratio(
      'delivery CPU, no CHUNKING / Postfix tuned',
      plain,
      tuned,
      (one) => one.deliverCpu,
      0.15,
    ),
    ...ratio('delivery CPU / nodemailer pool', postilion, nodemailer, (one) => one.deliverCpu, 0.3),
    ...ratio(
      'injection rate / Postfix',
      postilion,
      medians.postfix,
      (one) => one.injectPerSecond,
      4,
      'least',
    ),
    ...ratio(
      'injection rate / Postfix tuned',
      postilion,
      tuned,
      (one) => one.injectPerSecond,
      4,
      'least',
    ),
    ...ratio('connections / Postfix tuned', postilion, tuned, (one) => one.connections, 0.5),
    ...dnsGoal('DNS queries per 1,000 messages, cold', postilion),
    ...dnsGoal('  upstream of its resolver', medians['postilion-up']),
  ];
}

const dnsGoal = (what: string, figures: MailFigures | undefined): Goal[] =>
  figures === undefined
    ? []
    : [{ what, reached: figures.dnsQueries, goal: DNS_QUERIES_MAX, sense: 'most' }];

/** @returns the data, which it prints as tables unless `json`, and keeps if `save` */
export async function report(
  outcome: MailOutcome,
  { json, save }: { readonly json: boolean; readonly save: boolean },
): Promise<object> {
  const { workload, medians, skipped } = outcome;
  const reached = goals(medians);
  const whole = {
    bench: 'mail',
    at: new Date().toISOString(),
    machine: machine(),
    ...outcome,
    goals: reached,
  };
  const { messages, octets, recipients } = workload;
  if (!json) {
    const title = `${messages} messages, ${octets} octets, ${recipients} recipient${recipients === 1 ? '' : 's'}`;
    process.stdout.write(`${title}; medians of ${outcome.rounds}\n`);
    const rows = Object.entries(medians).map(([name, figures]) => [
      name,
      ...COLUMNS.map(({ of }) => of(figures)),
    ]);
    process.stdout.write(`${tableText(['', ...COLUMNS.map(({ head }) => head)], rows)}\n`);
    const met = ({ reached: is, goal, sense }: Goal): string =>
      (sense === 'most' ? is <= goal : is >= goal) ? 'met' : 'missed';
    const lines = reached.map((one) => [
      one.what,
      one.reached,
      `${one.sense === 'most' ? '≤' : '≥'} ${one.goal}`,
      met(one),
    ]);
    if (lines.length > 0)
      process.stdout.write(`${tableText(['goal', 'reached', 'wanted', ''], lines)}\n`);
    for (const [name, reason] of Object.entries(skipped)) {
      process.stdout.write(`skipped ${name}: ${reason}\n`);
    }
  }
  if (!save) return whole;
  const title = `CPU per message: ${messages} × ${octets} octets, ${recipients} recipients`;
  const bars = Object.entries(medians).map(([label, one]) => ({
    label,
    values: Number.isNaN(one.apartCpu)
      ? [0, 0, Number.isNaN(one.togetherCpu) ? one.deliverCpu : one.togetherCpu]
      : [one.injectCpu, one.deliverCpu, 0],
  }));
  const svg = barSvg({
    title,
    unit: 'µs',
    series: ['injection', 'delivery', 'not told apart'],
    bars,
  });
  const name = `mail-${Math.round(octets / 1024)}k-${recipients}r`;
  for (const path of await saveResults(name, whole, { '': svg })) {
    process.stderr.write(`${path}\n`);
  }
  return whole;
}
