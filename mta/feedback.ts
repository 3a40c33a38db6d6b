/** Joins what comes back and whom it concerns: the desk that reads it, reverse-paths that prove it, the list of the suppressed. */
import { join } from 'node:path';
import type { MtaConfig } from './config.ts';
import type { Failure } from './delivery/consignment.ts';
import type { ReversePathFor } from './delivery/deps.ts';
import type { LocalTaker } from './delivery/local-mail.ts';
import { parseMailbox } from './intake/address.ts';
import type { OwnDomains, Suppressions } from './intake/outside.ts';
import { classify } from './report/classify.ts';
import type { Events } from './report/events.ts';
import { type Condemnation, FeedbackDesk } from './report/inbound/desk.ts';
import { TENANT_SCHEMA, TenantNames } from './report/inbound/tenants.ts';
import { UnreadMail } from './report/inbound/unread.ts';
import { VERP_PREFIX, Verp } from './report/inbound/verp.ts';
import type { Ledger } from './report/ledger.ts';
import { askByHttp, SuppressionHook } from './report/suppression/hook.ts';
import { SUPPRESSION_SCHEMA, type Suppressed, SuppressionList } from './report/suppression/list.ts';
import { Screen } from './report/suppression/screen.ts';
import { TALLY_SCHEMA } from './report/tls/tally.ts';
import type { MtaDeps } from './running.ts';

/** In the spool's folder. */
const UNREAD_FOLDER = 'unrecognised';

/** Tables that the configuration needs; empty when it needs no ledger. */
export const ledgerSchema = ({ tlsrpt, feedback, suppression }: MtaConfig): readonly string[] => [
  ...(tlsrpt.enabled ? TALLY_SCHEMA : []),
  ...(feedback.verp === '' ? [] : TENANT_SCHEMA),
  ...(suppression.enabled ? SUPPRESSION_SCHEMA : []),
];

export interface FeedbackCounters {
  readonly bounceReports: number;
  readonly complaints: number;
  readonly unrecognised: number;
  /** Recipients that got nothing, being suppressed. */
  readonly suppressed: number;
}

export interface Feedback {
  /** null when no domain is ours. */
  readonly ownDomains: OwnDomains | null;
  readonly local: LocalTaker | undefined;
  readonly reversePathFor: ReversePathFor | undefined;
  /** null when there is no list. */
  readonly list: SuppressionList | null;
  readonly suppressions: Suppressions | null;
  /** A host refused a recipient of ours for good. */
  bounced(failure: Failure): void;
  counters(): FeedbackCounters;
}

export interface FeedbackParts {
  /** null when {@link ledgerSchema} is empty. */
  readonly ledger: Ledger | null;
  readonly events: Events;
  /** Resolves when events told are on disk. */
  readonly flushed: () => Promise<void>;
}

export function createFeedback(
  config: MtaConfig,
  { clock, log }: Pick<MtaDeps, 'clock' | 'log'>,
  { ledger, events, flushed }: FeedbackParts,
): Feedback {
  const { feedback, suppression } = config;
  const domains = new Set(feedback.domains);
  const verp = feedback.verp === '' ? null : new Verp(feedback.verp, feedback.secrets);
  const tenants = verp === null || ledger === null ? null : new TenantNames(ledger);
  const list =
    suppression.enabled && ledger !== null
      ? new SuppressionList(ledger, clock, suppression.entries)
      : null;
  const classes: ReadonlySet<string> = new Set(suppression.classes);
  const causes: ReadonlySet<string> = new Set(suppression.on);
  const unread = new UnreadMail(join(config.spool, UNREAD_FOLDER), feedback.keep_bytes);
  let suppressed = 0;

  const put = async (entry: Omit<Suppressed, 'sinceMs'>): Promise<void> => {
    const { address, cause } = entry;
    if (list === null || !causes.has(cause)) return;
    if (await list.put(entry)) log.info({ address, cause }, 'suppressed');
    else log.warn({ address, cause }, 'not suppressed: the list is full (suppression.entries)');
  };
  const condemn = async (report: Condemnation): Promise<void> => {
    const { address, proven, tenant, cause, note } = report;
    if (!proven && !suppression.unproven) return;
    if (report.class !== null && !classes.has(report.class)) return;
    // An address that is not there is there for nobody; a complaint is about one sender.
    await put({ address, tenant: cause === 'complaint' ? tenant : '', cause, note });
  };
  const isOurs = (address: string): boolean =>
    domains.has(address.slice(address.lastIndexOf('@') + 1).toLowerCase());
  const desk = new FeedbackDesk({
    open: (localPart) => verp?.open(localPart) ?? null,
    isOurs,
    tenantOf: ({ tenant }) => tenants?.nameOf(tenant) ?? '',
    tell: (record) => events.feedback(record),
    told: flushed,
    condemn,
    forward: forwardOf(feedback.forward),
    keep: (name, content) => unread.keep(name, content),
    clock,
  });

  return {
    ownDomains: domains.size === 0 ? null : ownDomains(domains, verp),
    local:
      domains.size === 0
        ? undefined
        : { owns: (domain) => domains.has(domain), take: (leased) => desk.take(leased) },
    reversePathFor:
      verp === null ? undefined : reversePathFor(verp, isOurs, (tenant) => tenants?.note(tenant)),
    list,
    suppressions: list === null ? null : suppressionsOf(list),
    bounced({ recipient, status, reply, host, expired }) {
      // What DNS or age decided says nothing of the mailbox.
      if (list === null || expired || reply === null || host === null) return;
      if (!classes.has(classify(status, reply))) return;
      const { address } = recipient;
      const note = `${host}: ${reply.code} ${status} ${reply.lines.join(' ')}`;
      put({ address, tenant: '', cause: 'bounce', note }).catch((error: unknown) => {
        log.error({ address, error: String(error) }, 'a bounce is not on the list');
      });
    },
    counters: () => ({ ...desk.counters, suppressed }),
  };

  function suppressionsOf(entries: SuppressionList): Suppressions {
    const { hook: url, hook_timeout: timeoutMs, hook_fail_open: failOpen, smtp } = suppression;
    const hook = url === '' ? null : new SuppressionHook({ url, timeoutMs, ask: askByHttp, log });
    const screen = new Screen({ list: entries, hook, failOpen });
    return {
      atSmtp: smtp,
      find: (address, tenant) => screen.find(address, tenant),
      ask: (question) => screen.ask(question),
      tell({ cause, text }, { origin, reversePath, recipient, tenant }) {
        suppressed += 1;
        events.feedback({
          event: 'suppression',
          atMs: clock.wallMs(),
          origin,
          reversePath,
          recipient,
          ...(tenant === '' ? {} : { tenant }),
          cause,
          text,
        });
      },
    };
  }
}

function ownDomains(domains: ReadonlySet<string>, verp: Verp | null): OwnDomains {
  return {
    owns: (domain) => domains.has(domain),
    knows(address) {
      if (verp === null) return true;
      const localPart = address.slice(0, address.lastIndexOf('@'));
      // What looks like a token and is none was made up, or has been cut on the way.
      return !localPart.toLowerCase().startsWith(VERP_PREFIX) || verp.open(localPart) !== null;
    },
  };
}

/** Mail that has a reverse-path of ours already keeps it: it is a client's own scheme. */
const reversePathFor =
  (
    verp: Verp,
    isOurs: (address: string) => boolean,
    note: (tenant: string) => void,
  ): ReversePathFor =>
  ({ message, reversePath, tenant }, { index, address }) => {
    if (reversePath === '' || isOurs(reversePath)) return reversePath;
    note(tenant);
    return verp.reversePath({ message, index }, address, tenant);
  };

function forwardOf(address: string): { address: string; domain: string } | null {
  if (address === '') return null;
  const mailbox = parseMailbox(address);
  return mailbox.fault === null ? { address: mailbox.address, domain: mailbox.domain } : null;
}
