/**
 * What a message to a bounce domain tells: a delivery status notification (RFC 3464, 6522, 6533), a
 * complaint (RFC 5965), or nothing that these formats know. Nothing in it is proven; see verp.ts.
 */

import { type Complaint, complaintOf } from './arf.ts';
import { deliveryReportOf, type ReportedDelivery } from './dsn.ts';
import { addressesOf, addressOf, messageIdOf, textOf } from './fields.ts';
import {
  contentTypeOf,
  decoded,
  type Entity,
  type Header,
  partsOf,
  readEntity,
  readFields,
} from './mime.ts';

/** Multiparts within each other: a report in a multipart/mixed of some gateway is found. */
const DEPTH_MAX = 3;
/** Addresses that a header names and that are kept. */
const ADDRESSES_MAX = 20;
const SUBJECT_MAX = 200;

/** The message that the report is about, as far as its header came back. */
export interface OriginalMessage {
  /** With its angle brackets. */
  readonly messageId: string | null;
  /** Of Return-Path, '' for the null one. */
  readonly reversePath: string | null;
  readonly subject: string | null;
  /** Of To, Cc and what hosts add on the way (Delivered-To, X-Original-To). */
  readonly recipients: readonly string[];
}

export type InboundReport =
  | {
      readonly kind: 'delivery';
      readonly delivery: ReportedDelivery;
      readonly original: OriginalMessage | null;
    }
  | {
      readonly kind: 'complaint';
      readonly complaint: Complaint;
      readonly original: OriginalMessage | null;
    }
  | {
      readonly kind: 'unrecognised';
      readonly from: string | null;
      readonly subject: string | null;
      /** It says that no person wrote it (RFC 3834 §5). */
      readonly automatic: boolean;
    };

/** @param content borrowed; untrusted. Never throws. */
export function readReport(content: Uint8Array): InboundReport {
  const whole = readEntity(Buffer.from(content.buffer, content.byteOffset, content.length));
  return findReport(whole, 0) ?? unrecognised(whole.header);
}

function findReport(entity: Entity, depth: number): InboundReport | null {
  const parts = partsOf(entity);
  const typed = parts.map((part) => ({ part, type: contentTypeOf(part).type }));
  const original = (): OriginalMessage | null => {
    const returned = typed.find(({ type }) => RETURNED.has(type));
    return returned === undefined ? null : originalOf(returned.part, returned.type);
  };
  for (const { part, type } of typed) {
    if (STATUS.has(type)) {
      const delivery = deliveryReportOf(decoded(part).toString('utf8'));
      if (delivery !== null) return { kind: 'delivery', delivery, original: original() };
    }
    if (type === 'message/feedback-report') {
      const complaint = complaintOf(decoded(part).toString('utf8'));
      if (complaint !== null) return { kind: 'complaint', complaint, original: original() };
    }
  }
  if (depth === DEPTH_MAX) return null;
  for (const { part, type } of typed) {
    if (!type.startsWith('multipart/')) continue;
    const found = findReport(part, depth + 1);
    if (found !== null) return found;
  }
  return null;
}

const STATUS: ReadonlySet<string> = new Set([
  'message/delivery-status',
  'message/global-delivery-status',
]);
const RETURNED: ReadonlySet<string> = new Set([
  'message/rfc822',
  'message/global',
  'text/rfc822-headers',
  'message/rfc822-headers',
  'message/global-headers',
]);

function originalOf(part: Entity, type: string): OriginalMessage {
  const octets = decoded(part);
  // Headers alone may lack the empty line that ends them.
  const header = type.endsWith('headers')
    ? readFields(octets.toString('utf8'))
    : readEntity(octets).header;
  const returnPath = header.get('return-path')?.trim() ?? null;
  const named = ['x-original-to', 'delivered-to', 'x-failed-recipients', 'to', 'cc'];
  const recipients = named.flatMap((name) =>
    header.all(name).flatMap((value) => addressesOf(value, ADDRESSES_MAX)),
  );
  return {
    messageId: messageIdOf(header.get('message-id')),
    reversePath: returnPath === '<>' ? '' : addressOf(returnPath),
    subject: textOf(header.get('subject'), SUBJECT_MAX),
    recipients: [...new Set(recipients)].slice(0, ADDRESSES_MAX),
  };
}

function unrecognised(header: Header): InboundReport {
  const submitted = header.get('auto-submitted') ?? 'no';
  return {
    kind: 'unrecognised',
    from: addressesOf(header.get('from'), 1)[0] ?? null,
    subject: textOf(header.get('subject'), SUBJECT_MAX),
    automatic: !/^no\b/i.test(submitted),
  };
}
