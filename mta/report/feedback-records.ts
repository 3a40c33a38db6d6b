/** Events about what came back: reports of other hosts on our mail, complaints, and whom we send nothing for it. */
import type { BounceClass } from './classify.ts';
import type { ReportAction } from './inbound/dsn.ts';
import type { SuppressionCause } from './suppression/list.ts';

/** What a message to a bounce domain tells. Instants are wall milliseconds. */
interface OfReport {
  readonly atMs: number;
  /** Of our mail that it is about, "1hzk3v8q2m0.3", where a token of ours says so; else null. */
  readonly id: string | null;
  /** Id of the message that brought it. */
  readonly report: string;
  /** Whom our mail was for: as proven, or as the report claims; null when it does not say. */
  readonly recipient: string | null;
  /** A token of ours proves that mail to this recipient is meant. Anybody can write a report without. */
  readonly proven: boolean;
  readonly tenant?: string;
  /** Of the message that it is about, as it claims. */
  readonly messageId: string | null;
}

export type FeedbackRecord =
  | (OfReport & {
      readonly event: 'bounce-report';
      readonly action: ReportAction;
      readonly status: string;
      /** null where nothing failed. */
      readonly class: BounceClass | null;
      readonly diagnostic: string | null;
      readonly originalRecipient: string | null;
      readonly finalRecipient: string | null;
      readonly reportingMta: string | null;
      readonly remoteMta: string | null;
      /** ENVID, where the client gave one. */
      readonly envelopeId: string | null;
    })
  | (OfReport & {
      readonly event: 'feedback';
      /** "abuse", "not-spam", …: the Feedback-Type (RFC 5965 §3.1). */
      readonly type: string;
      readonly userAgent: string | null;
      readonly sourceIp: string | null;
      readonly reportingMta: string | null;
      readonly reportedDomains: readonly string[];
      readonly incidents: number;
      readonly envelopeId: string | null;
      readonly subject: string | null;
    })
  | (OfReport & {
      readonly event: 'unrecognised';
      /** Address that it came to. */
      readonly to: string;
      readonly from: string | null;
      readonly subject: string | null;
      readonly automatic: boolean;
      readonly octets: number;
      /** Where it is now: forwarded, or the file that keeps it. */
      readonly kept: string;
    })
  | {
      readonly event: 'suppression';
      readonly atMs: number;
      /** Of the request or transaction that named it; nothing was kept of it. */
      readonly origin: string;
      readonly reversePath: string;
      readonly recipient: string;
      readonly tenant?: string;
      readonly cause: SuppressionCause | 'hook';
      readonly text: string;
    };
