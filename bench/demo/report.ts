/** What the demo found, as data and as a table for people. */
import type { Balance } from './ledger.ts';

export interface Report {
  readonly messages: number;
  readonly domains: number;
  /** Domains that at least one letter went to. */
  readonly domainsWritten: number;
  readonly providers: number;
  readonly balance: Balance;
  /** Attempts that ended in "later", by the mta's count. */
  readonly deferrals: number;
  /** Reply → how often a receiver gave it. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Recipients still in the queue at the end, and why; empty when all is well. */
  readonly waiting: readonly string[];
  /** Letters that are not accounted for; empty when all is well. */
  readonly problems: readonly string[];
  readonly dns: {
    readonly askedByMta: number;
    /** As the resolver counts them. */
    readonly queries: number;
    readonly packetsUpstream: number;
    /** As the authority counts them. */
    readonly questionsAtAuthority: number;
    readonly distinctQuestions: number;
  };
  /** As the receivers count them; messages include bounces. */
  readonly connections: {
    readonly connections: number;
    readonly full: number;
    readonly resumed: number;
    readonly messages: number;
  };
  /** The same, at providers that a hundred domains or more share. */
  readonly shared: { readonly connections: number; readonly messages: number };
  readonly injectedSeconds: number;
  readonly settledSeconds: number;
}

/** Postfix 3.7 as it comes: 5,912 queries per 1,000 messages of such mail. */
const CACHELESS_QUERIES_PER_MESSAGE = 5.9;

export const isAccountedFor = ({ balance, problems, waiting, messages }: Report): boolean =>
  balance.delivered + balance.bounced === messages && problems.length === 0 && waiting.length === 0;

const whole = (value: number): string => Math.round(value).toLocaleString('en-US');
const ratio = (part: number, of: number): number => (of === 0 ? 0 : part / of);
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

type Row = readonly [label: string, value: string, note?: string];

export function renderReport(report: Report): string {
  const { messages, domainsWritten, domains, providers } = report;
  const sections: readonly (readonly [string, readonly Row[]])[] = [
    [
      `Mail: ${whole(messages)} messages to ${whole(domainsWritten)} of ${whole(domains)} domains on ${providers} providers`,
      mailRows(report),
    ],
    ['DNS', dnsRows(report)],
    ['Connections', connectionRows(report)],
    ['Time', timeRows(report)],
  ];
  const lines = sections.flatMap(([title, rows]) => ['', title, ...rows.map(renderRow)]);
  const failures = [...report.problems, ...report.waiting];
  if (failures.length > 0) {
    lines.push('', 'Not as it should be', ...failures.map((line) => `  ${line}`));
  }
  return `${lines.join('\n')}\n`;
}

function mailRows({ balance, deferrals, refusals, waiting }: Report): Row[] {
  return [
    ['delivered', whole(balance.delivered)],
    ['bounced', whole(balance.bounced), 'and a bounce came back to its sender for each'],
    ['put off', whole(deferrals), 'attempts that were repeated later'],
    ...Object.entries(refusals)
      .sort()
      .map(([reply, count]): Row => [`  ${reply.slice(0, 3)}`, whole(count), reply.slice(4)]),
    ['still waiting', whole(waiting.length)],
    ['unaccounted for', whole(balance.outstanding + balance.contradictory)],
  ];
}

function dnsRows({ dns, messages }: Report): Row[] {
  const cacheless = CACHELESS_QUERIES_PER_MESSAGE * messages;
  const upstream = ratio(dns.packetsUpstream, cacheless);
  return [
    ['without a cache', whole(cacheless), `${CACHELESS_QUERIES_PER_MESSAGE} queries a message`],
    ['asked by the mta', whole(dns.askedByMta), 'it keeps routes while their TTL lasts'],
    [
      'from cache',
      percent(1 - upstream),
      'of what would have been asked: kept routes and the resolver’s cache together',
    ],
    ['sent upstream', whole(dns.packetsUpstream), `${percent(upstream)} of a cacheless server’s`],
    ['needed', whole(dns.distinctQuestions), 'distinct names and types'],
  ];
}

function connectionRows({ connections, shared }: Report): Row[] {
  const rate = (value: number): string =>
    `${ratio(value * 1000, connections.messages).toFixed(1)} per 1,000 messages`;
  return [
    ['opened', whole(connections.connections), rate(connections.connections)],
    ['full handshakes', whole(connections.full), rate(connections.full)],
    ['resumed', whole(connections.resumed), rate(connections.resumed)],
    ['messages each', whole(ratio(connections.messages, connections.connections)), 'overall'],
    [
      '',
      whole(ratio(shared.messages, shared.connections)),
      'at providers that a hundred domains or more share',
    ],
  ];
}

function timeRows({ injectedSeconds, settledSeconds, messages }: Report): Row[] {
  const rate = whole(ratio(messages, settledSeconds));
  return [
    ['injected in', `${injectedSeconds.toFixed(1)} s`],
    [
      'settled in',
      `${settledSeconds.toFixed(1)} s`,
      `${rate} messages a second, receivers and all on this machine`,
    ],
  ];
}

const renderRow = ([label, value, note = '']: Row): string =>
  `  ${label.padEnd(18)}${value.padStart(10)}  ${note}`.trimEnd();
