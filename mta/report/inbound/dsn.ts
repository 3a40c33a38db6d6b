/** The machine's part of a delivery status notification (RFC 3464 §2): a block of the message, one for each recipient. */
import type { Reply } from '../../disposition.ts';
import { hostOf, instantOf, textOf, typedAddressOf } from './fields.ts';
import { type Header, readFields } from './mime.ts';

export const ACTIONS = ['failed', 'delayed', 'delivered', 'relayed', 'expanded'] as const;
export type ReportAction = (typeof ACTIONS)[number];

/** Recipients of one report; more is no report of one message. */
export const REPORTED_MAX = 1_000;
const ENVELOPE_ID_MAX = 100;
const STATUS = /(?:^|[\s(#;])([245]\.\d{1,3}\.\d{1,3})(?=$|[\s,;:)])/;

export interface ReportedRecipient {
  /** As we sent to it, where the host knows (ORCPT). */
  readonly originalRecipient: string | null;
  /** Where it went in the end; may differ by forwarding. */
  readonly finalRecipient: string | null;
  readonly action: ReportAction;
  /** RFC 3463; "5.0.0" and the like where the report gives none. */
  readonly status: string;
  /** The host that refused it. */
  readonly remoteMta: string | null;
  /** What that host said, when it was SMTP. */
  readonly reply: Reply | null;
  /** Diagnostic-Code without its type. */
  readonly diagnostic: string | null;
}

export interface ReportedDelivery {
  readonly reportingMta: string | null;
  /** ENVID as we gave it (RFC 3461 §4.4). */
  readonly envelopeId: string | null;
  /** Wall ms, by the reporter's clock. */
  readonly arrivedAtMs: number | null;
  readonly recipients: readonly ReportedRecipient[];
}

/** @returns null when it tells of no recipient */
export function deliveryReportOf(text: string): ReportedDelivery | null {
  const blocks = text
    .split(/(?:\r?\n[ \t]*){2,}/)
    .map(readFields)
    .filter((block) => !block.empty);
  const ofMessage = blocks.find((block) => !isRecipient(block)) ?? null;
  const recipients = blocks
    .filter(isRecipient)
    .slice(0, REPORTED_MAX)
    .map(recipientOf)
    .filter((recipient) => recipient !== null);
  if (recipients.length === 0) return null;
  return {
    reportingMta: hostOf(ofMessage?.get('reporting-mta') ?? null),
    envelopeId: textOf(ofMessage?.get('original-envelope-id') ?? null, ENVELOPE_ID_MAX),
    arrivedAtMs: instantOf(ofMessage?.get('arrival-date') ?? null),
    recipients,
  };
}

/** Some reporters put everything in one block; it then counts as a recipient's. */
const isRecipient = (block: Header): boolean =>
  block.get('final-recipient') !== null ||
  block.get('original-recipient') !== null ||
  block.get('action') !== null;

/** @returns null when it says neither whom it is about nor what became of them */
function recipientOf(block: Header): ReportedRecipient | null {
  const originalRecipient = typedAddressOf(block.get('original-recipient'));
  const finalRecipient = typedAddressOf(block.get('final-recipient'));
  const diagnostic = textOf(block.get('diagnostic-code')?.replace(/^[^;]{1,40};/, '') ?? null);
  const reply = replyOf(block.get('diagnostic-code'));
  const written = STATUS.exec(block.get('status') ?? '')?.[1] ?? reply?.enhanced ?? null;
  const action = actionOf(block.get('action'), written);
  if (action === null) return null;
  return {
    originalRecipient,
    finalRecipient,
    action,
    status: written ?? `${CLASS_OF[action]}.0.0`,
    remoteMta: hostOf(block.get('remote-mta')),
    reply,
    diagnostic,
  };
}

const CLASS_OF: Readonly<Record<ReportAction, string>> = {
  failed: '5',
  delayed: '4',
  delivered: '2',
  relayed: '2',
  expanded: '2',
};

function actionOf(value: string | null, status: string | null): ReportAction | null {
  const word = /^[a-z]+/i.exec(value ?? '')?.[0].toLowerCase();
  const known = ACTIONS.find((action) => action === word);
  if (known !== undefined) return known;
  // RFC 3464 §2.3.3 demands it, and yet some leave it out: then the status must tell.
  return status?.startsWith('5') === true ? 'failed' : null;
}

/** "smtp; 550-5.1.1 No such user 550 5.1.1 …" → the reply; null when it was not SMTP. */
function replyOf(value: string | null): Reply | null {
  const [, text] = /^(?:x-)?smtp\s*;(.*)$/is.exec(value ?? '') ?? [];
  const line = textOf(text ?? null);
  const [, code, rest] = /^([245]\d\d)[ -]?(.*)$/.exec(line ?? '') ?? [];
  if (code === undefined) return null;
  const enhanced = /^[245]\.\d{1,3}\.\d{1,3}(?=\s|$)/.exec(rest!)?.[0] ?? null;
  const said = enhanced === null ? rest! : rest!.slice(enhanced.length).trim();
  return { code: Number(code), enhanced, lines: [said] };
}
