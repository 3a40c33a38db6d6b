/** Rows turned into columns, which is how charts and the wire want them. */
import { SOURCES, type Source } from '../../resolver/counters.ts';
import { COARSE_STEP_MS, FINE_STEP_MS, type Past } from './history.ts';
import { type DnsRow, dnsRow, type MailRow, mailRow, rowsOf } from './rates.ts';
import type { DnsSample, MailSample } from './samples.ts';

type Column = readonly (number | null)[];

/** Every column is as long as `atMs`. */
export interface DnsColumns {
  readonly atMs: readonly number[];
  readonly answers: Readonly<Record<Source, Column>>;
  readonly columns: Readonly<Record<(typeof DNS_COLUMNS)[number], Column>>;
}

export interface MailColumns {
  readonly atMs: readonly number[];
  readonly causes: Readonly<Record<string, Column>>;
  readonly columns: Readonly<Record<(typeof MAIL_COLUMNS)[number], Column>>;
}

/** Where mail waited; instants of its own, since it is counted less often. */
export interface SiteColumns {
  readonly atMs: readonly number[];
  readonly sites: Readonly<
    Record<string, { readonly recipients: Column; readonly oldestSeconds: Column }>
  >;
}

export interface Columns {
  readonly stepMs: number;
  readonly dns: DnsColumns;
  readonly mail: MailColumns;
}

/** What /v1/dashboard/history answers. */
export interface HistoryAnswer {
  readonly fine: Columns;
  readonly coarse: Columns;
  readonly sites: SiteColumns;
}

const DNS_COLUMNS = [
  'lookups',
  'sent',
  'spent',
  'budget',
  'delayed',
  'refused',
  'waiting',
] as const;
const MAIL_COLUMNS = [
  'received',
  'delivered',
  'deferred',
  'bounced',
  'queued',
  'leased',
  'connections',
  'full',
  'resumed',
  'clear',
  'failed',
  'asked',
] as const;

const NOTHING = { fine: [], coarse: [] };

export function historyOf(
  dns: Past<DnsSample> | null,
  mail: Past<MailSample> | null,
): HistoryAnswer {
  const { fine: dnsFine, coarse: dnsCoarse } = dns ?? NOTHING;
  const { fine: mailFine, coarse: mailCoarse } = mail ?? NOTHING;
  return {
    fine: columnsOf(dnsFine, mailFine, FINE_STEP_MS),
    coarse: columnsOf(dnsCoarse, mailCoarse, COARSE_STEP_MS),
    sites: siteColumns(mailCoarse),
  };
}

function columnsOf(
  dns: readonly DnsSample[],
  mail: readonly MailSample[],
  stepMs: number,
): Columns {
  return {
    stepMs,
    dns: dnsColumns(rowsOf(dns, stepMs, dnsRow)),
    mail: mailColumns(rowsOf(mail, stepMs, mailRow)),
  };
}

function dnsColumns(rows: readonly DnsRow[]): DnsColumns {
  return {
    atMs: rows.map(({ atMs }) => atMs),
    answers: pick(SOURCES, rows, ({ answers }, source) => answers[source]),
    columns: pick(DNS_COLUMNS, rows, (row, name) => row[name]),
  };
}

function mailColumns(rows: readonly MailRow[]): MailColumns {
  const codes = [...new Set(rows.flatMap(({ causes }) => Object.keys(causes)))].sort();
  return {
    atMs: rows.map(({ atMs }) => atMs),
    // Where a rate is unknown, that of each cause is too.
    causes: pick(codes, rows, ({ causes, deferred }, code) =>
      deferred === null ? null : (causes[code] ?? 0),
    ),
    columns: pick(MAIL_COLUMNS, rows, (row, name) => row[name]),
  };
}

function siteColumns(samples: readonly MailSample[]): SiteColumns {
  const counted = samples.filter(({ sites }) => sites !== undefined);
  const aliases = [...new Set(counted.flatMap(({ sites }) => sites!.map(({ alias }) => alias)))];
  const maps = counted.map(({ sites }) => new Map(sites!.map((load) => [load.alias, load])));
  return {
    atMs: counted.map(({ atMs }) => atMs),
    sites: Object.fromEntries(
      aliases.map((alias) => [
        alias,
        {
          recipients: maps.map((map) => map.get(alias)?.recipients ?? 0),
          oldestSeconds: maps.map((map) => map.get(alias)?.oldestSeconds ?? 0),
        },
      ]),
    ),
  };
}

function pick<K extends string, R>(
  names: readonly K[],
  rows: readonly R[],
  value: (row: R, name: K) => number | null,
): Record<K, Column> {
  const columns = {} as Record<K, Column>;
  for (const name of names) columns[name] = rows.map((row) => rounded(value(row, name)));
  return columns;
}

/** Three digits behind the point are more than a chart shows. */
const rounded = (value: number | null): number | null =>
  value === null ? null : Math.round(value * 1000) / 1000;
