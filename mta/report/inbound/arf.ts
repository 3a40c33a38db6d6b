/** The machine's part of a complaint in Abuse Reporting Format (RFC 5965 §3, RFC 6591). */
import { addressOf, hostOf, instantOf, textOf } from './fields.ts';
import { readFields } from './mime.ts';

const VALUES_MAX = 20;
const NAME_MAX = 255;
const INCIDENTS_MAX = 1_000_000;

export interface Complaint {
  /** "abuse", "fraud", "not-spam", "opt-out", …, in lower case. */
  readonly type: string;
  readonly userAgent: string | null;
  readonly originalReversePath: string | null;
  readonly originalRecipients: readonly string[];
  readonly envelopeId: string | null;
  /** Host that the mail came from, so one of ours. */
  readonly sourceIp: string | null;
  readonly reportingMta: string | null;
  /** Wall ms, by the reporter's clock. */
  readonly arrivedAtMs: number | null;
  readonly reportedDomains: readonly string[];
  /** Complaints that it stands for. */
  readonly incidents: number;
}

/** @returns null when it has no Feedback-Type */
export function complaintOf(text: string): Complaint | null {
  const fields = readFields(text);
  const type = /^[a-z0-9!#$%&'*+.^_`{|}~-]{1,40}/i.exec(fields.get('feedback-type') ?? '')?.[0];
  if (type === undefined) return null;
  const incidents = Number(/^\d{1,7}/.exec(fields.get('incidents') ?? '1')?.[0] ?? 1);
  const reversePath = fields.get('original-mail-from');
  return {
    type: type.toLowerCase(),
    userAgent: textOf(fields.get('user-agent'), NAME_MAX),
    originalReversePath: reversePath === '<>' ? '' : addressOf(reversePath),
    originalRecipients: fields
      .all('original-rcpt-to')
      .slice(0, VALUES_MAX)
      .flatMap((value) => addressOf(value) ?? []),
    envelopeId: textOf(fields.get('original-envelope-id'), NAME_MAX),
    sourceIp: textOf(fields.get('source-ip'), 64),
    reportingMta: hostOf(fields.get('reporting-mta')),
    arrivedAtMs: instantOf(fields.get('arrival-date') ?? fields.get('received-date')),
    reportedDomains: fields
      .all('reported-domain')
      .slice(0, VALUES_MAX)
      .flatMap((value) => textOf(value, NAME_MAX) ?? []),
    incidents: Math.min(Math.max(incidents, 1), INCIDENTS_MAX),
  };
}
