/** Two programs that are well, to be changed one thing at a time. */
import type { DnsPart, MailPart } from '../../../sidecar/dashboard/parts.ts';
import { type DnsRow, dnsRow, type MailRow, mailRow } from '../../../sidecar/dashboard/rates.ts';
import type { DnsSample, MailSample } from '../../../sidecar/dashboard/samples.ts';
import type { Snapshot } from '../../../sidecar/dashboard/snapshot.ts';
import { WAITING } from '../support/programs.ts';

export const NOW_MS = 1_800_000_000_000;

export const dnsSample = (atMs: number, more: Partial<DnsSample> = {}): DnsSample => ({
  atMs,
  answers: {
    hot: 0,
    cache: 0,
    stale: 0,
    coalesced: 0,
    upstream: 0,
    local: 0,
    refused: 0,
    failure: 0,
  },
  queries: 0,
  sent: 0,
  spent: 0,
  budget: null,
  budgetWaiting: 0,
  budgetDelayed: 0,
  budgetRefused: 0,
  ...more,
});

export const mailSample = (atMs: number, more: Partial<MailSample> = {}): MailSample => ({
  atMs,
  received: 0,
  delivered: 0,
  deferred: 0,
  bounced: 0,
  expired: 0,
  causes: {},
  queued: 0,
  leased: 0,
  connections: 0,
  full: 0,
  resumed: 0,
  clear: 0,
  failed: 0,
  asked: 0,
  ...more,
});

export const DNS_PART: DnsPart = {
  program: 'resolver',
  version: '0.1.0',
  startedAtMs: NOW_MS - 7_200_000,
  unready: null,
  samples: [],
  listen: ['127.0.0.1:5335'],
  totals: dnsSample(NOW_MS),
  cacheBytes: 1_048_576,
  cacheEntries: 1_000,
  failingNames: 0,
  drops: {},
  upstreams: [
    { address: '192.0.2.53:53', up: true, rttMs: 2, failuresInSuccession: 0, lastFailure: null },
  ],
  busiest: [],
  troubled: [],
  events: [],
};

export const MAIL_PART: MailPart = {
  program: 'mta',
  version: '0.1.0',
  startedAtMs: NOW_MS - 7_200_000,
  unready: null,
  samples: [],
  listen: ['127.0.0.1:2525'],
  hostname: 'mta.example.net',
  messages: 3,
  queued: 3,
  leased: 0,
  quarantined: 0,
  outcomes: { received: 10, delivered: 7 },
  connections: 0,
  suspendedAtMs: null,
  suspensions: [],
  reroutes: [],
  draining: false,
  dnsQueries: 4,
  sites: [],
  heldDomains: [],
  troubles: [],
  loads: [],
  changes: [],
  waiting: [{ ...WAITING, receivedAtMs: NOW_MS - 60_000 }],
};

/** A second of a resolver that answers 97 of 100 from memory. */
export const DNS_ROW: DnsRow = dnsRow(
  dnsSample(NOW_MS - 1_000),
  dnsSample(NOW_MS, {
    answers: { ...dnsSample(0).answers, hot: 97, upstream: 3 },
    queries: 100,
    sent: 3,
    spent: 3,
    budget: 100,
  }),
);

export const MAIL_ROW: MailRow = mailRow(
  mailSample(NOW_MS - 1_000),
  mailSample(NOW_MS, { received: 50, delivered: 40, asked: 20 }),
);

export interface Given {
  readonly dns?: Partial<DnsPart> | null;
  readonly mail?: Partial<MailPart> | null;
  readonly dnsRow?: Partial<DnsRow> | null;
  readonly mailRow?: Partial<MailRow> | null;
  readonly expected?: boolean;
}

/** null is a program that does not answer. */
export function snapshotOf({
  dns,
  mail,
  dnsRow: d,
  mailRow: m,
  expected = false,
}: Given): Snapshot {
  const absent = 'nothing answers at 127.0.0.1:1';
  return {
    nowMs: NOW_MS,
    dns: {
      part: dns === null ? null : { ...DNS_PART, ...dns },
      absent: dns === null ? absent : null,
      expected,
      lately: d === null || dns === null ? null : { ...DNS_ROW, ...d },
    },
    mail: {
      part: mail === null ? null : { ...MAIL_PART, ...mail },
      absent: mail === null ? absent : null,
      expected,
      lately: m === null || mail === null ? null : { ...MAIL_ROW, ...m },
    },
  };
}
