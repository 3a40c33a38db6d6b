/** What the demo found, as data and as a table for people. */
import type { Balance } from './ledger.ts';

export interface Report {
  readonly messages: number;
  readonly domains: number;
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
const perThousand = (value: number, messages: number): string =>
  ratio(value * 1000, messages).toFixed(1);

type Row = readonly [label: string, value: string, note?: string];

export function renderReport(report: Report): string {
  const { balance, dns, connections, shared, messages } = report;
  const cacheless = CACHELESS_QUERIES_PER_MESSAGE * messages;
  const refusals = Object.entries(report.refusals).sort();
  const sections: readonly (readonly [string, readonly Row[]])[] = [
    [
      `Mail: ${whole(messages)} messages to ${whole(report.domains)} domains on ${report.providers} providers`,
      [
        ['delivered', whole(balance.delivered)],
        ['bounced', whole(balance.bounced), 'and a bounce came back to its sender for each'],
        ['put off', whole(report.deferrals), 'attempts that were repeated later'],
        ...refusals.map(
          ([reply, count]): Row => [`  ${reply.slice(0, 3)}`, whole(count), reply.slice(4)],
        ),
        ['still waiting', whole(report.waiting.length)],
        ['unaccounted for', whole(balance.outstanding + balance.contradictory)],
      ],
    ],
    [
      'DNS',
      [
        ['without a cache', whole(cacheless), `${CACHELESS_QUERIES_PER_MESSAGE} queries a message`],
        ['asked by the mta', whole(dns.askedByMta), 'it keeps routes while their TTL lasts'],
        ['from cache', `${(100 * (1 - ratio(dns.packetsUpstream, dns.queries))).toFixed(1)} %`],
        [
          'sent upstream',
          whole(dns.packetsUpstream),
          `${(100 * ratio(dns.packetsUpstream, cacheless)).toFixed(2)} % of a cacheless server's`,
        ],
        ['needed', whole(dns.distinctQuestions), 'distinct names and types'],
      ],
    ],
    [
      'Connections',
      [
        [
          'opened',
          whole(connections.connections),
          `${perThousand(connections.connections, connections.messages)} per 1,000 messages`,
        ],
        [
          'full handshakes',
          whole(connections.full),
          `${perThousand(connections.full, connections.messages)} per 1,000 messages`,
        ],
        [
          'resumed',
          whole(connections.resumed),
          `${perThousand(connections.resumed, connections.messages)} per 1,000 messages`,
        ],
        ['messages each', whole(ratio(connections.messages, connections.connections)), 'overall'],
        [
          '',
          whole(ratio(shared.messages, shared.connections)),
          'at providers that a hundred domains or more share',
        ],
      ],
    ],
    [
      'Time',
      [
        ['injected in', `${report.injectedSeconds.toFixed(1)} s`],
        [
          'settled in',
          `${report.settledSeconds.toFixed(1)} s`,
          `${whole(ratio(messages, report.settledSeconds))} messages a second, receivers and all on this machine`,
        ],
      ],
    ],
  ];
  const lines = sections.flatMap(([title, rows]) => ['', title, ...rows.map(renderRow)]);
  const failures = [...report.problems, ...report.waiting];
  if (failures.length > 0)
    lines.push('', 'Not as it should be', ...failures.map((line) => `  ${line}`));
  return `${lines.join('\n')}\n`;
}

const renderRow = ([label, value, note = '']: Row): string =>
  `  ${label.padEnd(18)}${value.padStart(10)}  ${note}`.trimEnd();
