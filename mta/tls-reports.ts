/** Joins what TLS reports need: the watch that delivery tells, the tally, and the reporter that sends. */
import type { MtaConfig } from './config.ts';
import { TlsWatch } from './delivery/tls-watch.ts';
import type { Submission } from './envelope.ts';
import { parseMailbox } from './intake/address.ts';
import type { Dns } from './plan/dns.ts';
import type { Lookup } from './plan/dns-answer.ts';
import type { StsFault } from './plan/sts-fetch.ts';
import type { StsPolicy } from './plan/sts-policy.ts';
import { createReportPoster } from './plan/tlsrpt-post.ts';
import type { Ledger } from './report/ledger.ts';
import type { ResultType } from './report/tls/outcome.ts';
import { type ReportCounters, TlsReports, type TxtLookup } from './report/tls/reporter.ts';
import { TlsTally } from './report/tls/tally.ts';
import type { MtaDeps } from './running.ts';
import { unguarded } from './unguarded.ts';

/** RFC 8460 §4.3.2.2. */
const OF_FAULT: Readonly<Record<StsFault['fault'], ResultType>> = {
  fetch: 'sts-policy-fetch-error',
  webpki: 'sts-webpki-invalid',
  invalid: 'sts-policy-invalid',
};

export interface TlsReportParts {
  readonly ledger: Ledger;
  readonly dns: Pick<Dns, 'txt' | 'addresses'>;
  /** PEM of authorities besides the built-in ones; empty for none. */
  readonly extraCa: readonly string[];
  /** The MTA-STS policy in force, as far as known. */
  readonly policyOf: (domain: string) => StsPolicy | null;
  /** An operator sends its mail elsewhere than to its MX hosts. */
  readonly isRerouted: (domain: string) => boolean;
  readonly accept: (submission: Submission) => Promise<unknown>;
}

export interface TlsReporting {
  readonly watch: TlsWatch;
  readonly counters: ReportCounters;
  onStsFault(domain: string, fault: StsFault): void;
  start(): void;
  close(): Promise<void>;
}

/** @param config hostname is not empty */
export function createTlsReporting(
  { tlsrpt, hostname }: MtaConfig,
  { clock, random, log }: MtaDeps,
  { ledger, dns, extraCa, policyOf, isRerouted, accept }: TlsReportParts,
): TlsReporting {
  const from = tlsrpt.from === '' ? `tls-reports@${hostname}` : tlsrpt.from;
  const submitter = from.slice(from.lastIndexOf('@') + 1).toLowerCase();
  const tally = new TlsTally({ ledger, clock, log });
  const watch = new TlsWatch((outcome) => tally.note(outcome), policyOf, isRerouted);
  const poster = createReportPoster({ dns, extraCa });
  const reports = new TlsReports({
    reporter: {
      organization: tlsrpt.organization === '' ? submitter : tlsrpt.organization,
      contact: tlsrpt.contact === '' ? from : tlsrpt.contact,
      from,
      submitter,
    },
    tally,
    lookUp: async (name) => txtOf(await dns.txt(name)),
    recipientOf: reportRecipient,
    accept,
    post: (url, content) => poster.post(url, content),
    clock,
    random,
    log,
  });
  return {
    watch,
    counters: reports.counters,
    onStsFault: (domain, { fault }) => watch.policyFault(domain, OF_FAULT[fault], ''),
    start: () => reports.start(),
    async close() {
      await reports.stop();
      await tally.close();
      await poster.close();
    },
  };
}

function txtOf(lookup: Lookup<readonly string[]>): TxtLookup {
  if (lookup.kind === 'answer') return { kind: 'records', records: lookup.records };
  return lookup.kind === 'trouble' ? { kind: 'trouble' } : { kind: 'none' };
}

/** TLS policies do not hold a report up (RFC 8460 §3). Only ASCII, so that every host takes it. */
function reportRecipient(address: string): { address: string; domain: string } | null {
  const mailbox = parseMailbox(address);
  if (mailbox.fault !== null || !mailbox.ascii) return null;
  return { address: mailbox.address, domain: unguarded(mailbox.domain) };
}
