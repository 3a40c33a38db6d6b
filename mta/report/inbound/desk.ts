/**
 * Takes what arrives at a bounce domain: reads it, tells it as events, suppresses whom it is about, and
 * passes on what it cannot read.
 *
 * Invariants
 * - take() resolves when what it tells would survive power loss as well as any event does; only then may
 *   the message be forgotten. If it rejects, nothing is lost: it is to be asked again, and events may
 *   come twice.
 * - Only a token of ours proves anything (verp.ts): without one a report suppresses nobody, unless the
 *   operator trusts whoever writes to the domain.
 */
import type { Clock } from '../../../runtime/clock.ts';
import {
  formatMessageId,
  formatRecipientId,
  type MessageId,
  type Submission,
} from '../../envelope.ts';
import { classify } from '../classify.ts';
import type { FeedbackRecord } from '../feedback-records.ts';
import type { Complaint } from './arf.ts';
import type { ReportedDelivery, ReportedRecipient } from './dsn.ts';
import { type InboundReport, type OriginalMessage, readReport } from './report.ts';
import type { OpenedToken, VerpToken } from './verp.ts';

/** A message that is ours to read, as leased. */
export interface ArrivedMessage {
  readonly message: MessageId;
  readonly content: Uint8Array;
  readonly body: '7bit' | '8bitmime';
  readonly smtpUtf8: boolean;
  readonly recipients: readonly { readonly index: number; readonly address: string }[];
}

/** What a report, proven or not, says against mailing somebody. */
export interface Condemnation {
  readonly address: string;
  readonly proven: boolean;
  readonly tenant: string;
  readonly cause: 'bounce-report' | 'complaint';
  /** Of a bounce. */
  readonly class: ReturnType<typeof classify> | null;
  readonly note: string;
}

export interface DeskDeps {
  /** The token in a local part of our own domains; null when it is none. */
  readonly open: (localPart: string) => OpenedToken | null;
  /** Whether an address is of our own domains. */
  readonly isOurs: (address: string) => boolean;
  readonly tenantOf: (token: VerpToken) => string;
  readonly tell: (record: FeedbackRecord) => void;
  /** Resolves when what was told is on disk. */
  readonly told: () => Promise<void>;
  /** Resolves when it is kept, if it is one to keep. @throws LedgerUnavailable */
  readonly condemn: (condemnation: Condemnation) => Promise<void>;
  /** Where what cannot be read goes; null keeps it as a file. */
  readonly forward: { readonly address: string; readonly domain: string } | null;
  /** @returns path of the file. @throws the system's error */
  readonly keep: (name: string, content: Uint8Array) => Promise<string>;
  readonly clock: Clock;
}

/** A complaint of these types is no wish to get no more mail. */
const NO_COMPLAINT: ReadonlySet<string> = new Set(['not-spam', 'auth-failure']);
const REPORTS_OF_FAILURE: ReadonlySet<string> = new Set(['failed', 'delayed']);

export interface DeskCounters {
  bounceReports: number;
  complaints: number;
  unrecognised: number;
}

export class FeedbackDesk {
  readonly counters: DeskCounters = { bounceReports: 0, complaints: 0, unrecognised: 0 };
  readonly #deps: DeskDeps;

  constructor(deps: DeskDeps) {
    this.#deps = deps;
  }

  /**
   * @returns messages that must be kept in the same commit that forgets this one
   * @throws LedgerUnavailable, the system's error
   */
  async take(arrived: ArrivedMessage): Promise<readonly Submission[]> {
    const report = readReport(arrived.content);
    const notices: Submission[] = [];
    for (const { index, address } of arrived.recipients) {
      const source = formatRecipientId({ message: arrived.message, index });
      const token = this.#open(address);
      if (report.kind === 'delivery') {
        await this.#delivery(report.delivery, report.original, token, source);
      } else if (report.kind === 'complaint') {
        await this.#complaint(report.complaint, report.original, token, source);
      } else {
        const notice = await this.#unrecognised(report, arrived, { address, index, token, source });
        if (notice !== null) notices.push(notice);
      }
    }
    await this.#deps.told();
    return notices;
  }

  #open(address: string | null): OpenedToken | null {
    if (address === null || !this.#deps.isOurs(address)) return null;
    return this.#deps.open(address.slice(0, address.lastIndexOf('@')));
  }

  async #delivery(
    delivery: ReportedDelivery,
    original: OriginalMessage | null,
    arrivedWith: OpenedToken | null,
    report: string,
  ): Promise<void> {
    const token = arrivedWith ?? this.#open(original?.reversePath ?? null);
    for (const recipient of delivery.recipients) {
      this.counters.bounceReports += 1;
      const { originalRecipient, finalRecipient, action, status, reply, diagnostic } = recipient;
      const kind = REPORTS_OF_FAILURE.has(action) ? classOf(recipient) : null;
      // Others of the original's recipients are candidates only where the report is about one.
      const others = delivery.recipients.length === 1 ? (original?.recipients ?? []) : [];
      const about = this.#about(token, [originalRecipient, finalRecipient, ...others]);
      this.#deps.tell({
        event: 'bounce-report',
        atMs: this.#deps.clock.wallMs(),
        report,
        ...about,
        messageId: original?.messageId ?? null,
        action,
        status,
        class: kind,
        diagnostic,
        originalRecipient,
        finalRecipient,
        reportingMta: delivery.reportingMta,
        remoteMta: recipient.remoteMta,
        envelopeId: delivery.envelopeId,
      });
      if (action !== 'failed' || about.recipient === null) continue;
      await this.#deps.condemn({
        address: about.recipient,
        proven: about.proven,
        tenant: about.tenant ?? '',
        cause: 'bounce-report',
        class: kind,
        note: reply === null ? `${status} ${diagnostic ?? ''}`.trim() : `${diagnostic}`,
      });
    }
  }

  async #complaint(
    complaint: Complaint,
    original: OriginalMessage | null,
    arrivedWith: OpenedToken | null,
    report: string,
  ): Promise<void> {
    this.counters.complaints += 1;
    const token =
      arrivedWith ??
      this.#open(complaint.originalReversePath) ??
      this.#open(original?.reversePath ?? null);
    const claimed = [...complaint.originalRecipients, ...(original?.recipients ?? [])];
    const about = this.#about(token, claimed);
    this.#deps.tell({
      event: 'feedback',
      atMs: this.#deps.clock.wallMs(),
      report,
      ...about,
      messageId: original?.messageId ?? null,
      type: complaint.type,
      userAgent: complaint.userAgent,
      sourceIp: complaint.sourceIp,
      reportingMta: complaint.reportingMta,
      reportedDomains: complaint.reportedDomains,
      incidents: complaint.incidents,
      envelopeId: complaint.envelopeId,
      subject: original?.subject ?? null,
    });
    if (NO_COMPLAINT.has(complaint.type) || about.recipient === null) return;
    await this.#deps.condemn({
      address: about.recipient,
      proven: about.proven,
      tenant: about.tenant ?? '',
      cause: 'complaint',
      class: null,
      note: `${complaint.type}${complaint.userAgent === null ? '' : ` by ${complaint.userAgent}`}`,
    });
  }

  async #unrecognised(
    { from, subject, automatic }: InboundReport & { kind: 'unrecognised' },
    arrived: ArrivedMessage,
    { address, index, token, source }: Addressed,
  ): Promise<Submission | null> {
    const { forward, keep, tell, clock } = this.#deps;
    this.counters.unrecognised += 1;
    const name = `${formatMessageId(arrived.message)}-${index}`;
    const kept = forward === null ? await keep(name, arrived.content) : 'forwarded';
    const { recipient, ...about } = this.#about(token, []);
    tell({
      event: 'unrecognised',
      atMs: clock.wallMs(),
      report: source,
      recipient,
      ...about,
      messageId: null,
      to: address,
      from,
      subject,
      automatic,
      octets: arrived.content.length,
      kept,
    });
    if (forward === null) return null;
    const { body, smtpUtf8, content } = arrived;
    return {
      // Null, so that nothing comes back of it.
      envelope: { reversePath: '', recipients: [{ index: 0, ...forward }], body, smtpUtf8 },
      content,
      receivedAtMs: clock.wallMs(),
      origin: 'feedback',
    };
  }

  /** @param claimed addresses that the report may mean, the likeliest first */
  #about(
    opened: OpenedToken | null,
    claimed: readonly (string | null)[],
  ): Pick<FeedbackRecord & { event: 'feedback' }, 'id' | 'recipient' | 'proven'> & {
    tenant?: string;
  } {
    const addresses = claimed.filter((address) => address !== null);
    const first = addresses[0] ?? null;
    if (opened === null) return { id: null, recipient: first, proven: false };
    const proven = addresses.find((address) => opened.isFor(address)) ?? null;
    const tenant = this.#deps.tenantOf(opened.token);
    return {
      id: formatRecipientId(opened.token),
      recipient: proven ?? first,
      proven: proven !== null,
      ...(tenant === '' ? {} : { tenant }),
    };
  }
}

interface Addressed {
  readonly address: string;
  readonly index: number;
  readonly token: OpenedToken | null;
  /** Id of the message and recipient that arrived. */
  readonly source: string;
}

const classOf = ({ status, reply, diagnostic }: ReportedRecipient): ReturnType<typeof classify> =>
  classify(
    status,
    reply ?? (diagnostic === null ? null : { code: 0, enhanced: null, lines: [diagnostic] }),
  );
