/**
 * One record per outcome, as JSON lines: what became of every recipient, in the order it became so.
 *
 * Invariants
 * - A record is one line: JSON escapes whatever control characters a peer may have sent.
 * - Every recipient has one reception, then any number of deferrals, then one of delivery, bounce or
 *   expiry; or, at a domain of our own, what its message told (feedback-records.ts).
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Reply } from '../disposition.ts';
import {
  formatMessageId,
  formatRecipientId,
  type MessageId,
  type Submission,
} from '../envelope.ts';
import { readMessageExtra } from '../extra.ts';
import { mailDomainOf } from '../next-hop.ts';
import { type BounceClass, classify } from './classify.ts';
import type { FeedbackRecord } from './feedback-records.ts';

/** Fields that every record has. Instants are wall milliseconds. */
interface Common {
  readonly atMs: number;
  /** "1hzk3v8q2m0.3"; of a reception that of the message, "1hzk3v8q2m0". */
  readonly id: string;
  /** '' is the null reverse-path. */
  readonly reversePath: string;
  readonly tenant?: string;
  readonly campaign?: string;
  /** The client's own. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

interface OfRecipient extends Common {
  readonly recipient: string;
  readonly domain: string;
  /** Attempts that had ended before this one. */
  readonly attempts: number;
  /** From reception to this. */
  readonly ageMs: number;
}

export type EventRecord =
  | FeedbackRecord
  | (Common & {
      readonly event: 'reception';
      readonly origin: string;
      readonly recipients: readonly string[];
      readonly octets: number;
    })
  | (OfRecipient & {
      readonly event: 'delivery';
      readonly host: string;
      readonly reply: Reply;
    })
  | (OfRecipient & {
      readonly event: 'deferral';
      /** Stable; see WaitReason.code. */
      readonly reason: string;
      readonly text: string;
      readonly dueMs: number;
    })
  | (OfRecipient & {
      readonly event: 'bounce' | 'expiry';
      readonly status: string;
      readonly class: BounceClass;
      readonly text: string;
      /** null when DNS, age or we ourselves decided. */
      readonly host: string | null;
      readonly reply: Reply | null;
    });

/** Where lines go: a file stream, standard output, a test's array. Each ends with LF. */
export interface EventSink {
  write(line: string, event: EventName): unknown;
}

export const EVENT_NAMES = [
  'reception',
  'delivery',
  'deferral',
  'bounce',
  'expiry',
  'bounce-report',
  'feedback',
  'unrecognised',
  'suppression',
] as const;
export type EventName = (typeof EVENT_NAMES)[number];

/** One sink of several. */
export const fan = (sinks: readonly EventSink[]): EventSink => ({
  write: (line, event) => {
    for (const sink of sinks) sink.write(line, event);
  },
});

/** What records tell of a message; a leased message has it. */
export interface EventMessage {
  readonly message: MessageId;
  readonly reversePath: string;
  readonly receivedAtMs: number;
  /** Absent or '' where nobody in particular. */
  readonly tenant?: string;
  readonly campaign?: string;
  /** Of the spool; see ../extra.ts. */
  readonly extra?: string;
}

export interface EventRecipient {
  readonly index: number;
  readonly address: string;
  readonly domain: string;
  readonly attempts: number;
}

export interface EventFailure {
  readonly recipient: EventRecipient;
  readonly status: string;
  readonly text: string;
  readonly host: string | null;
  readonly reply: Reply | null;
  readonly expired: boolean;
}

/** Whose it is and what the client said of it, as far as there is something to say. */
function labels({
  tenant = '',
  campaign = '',
  extra,
}: Pick<EventMessage, 'tenant' | 'campaign' | 'extra'>): Pick<
  Common,
  'tenant' | 'campaign' | 'metadata'
> {
  if (tenant === '' && campaign === '' && extra === undefined) return NO_LABELS;
  const { metadata } = readMessageExtra(extra);
  return {
    ...(tenant === '' ? {} : { tenant }),
    ...(campaign === '' ? {} : { campaign }),
    ...(metadata === undefined ? {} : { metadata }),
  };
}

const NO_LABELS = {};

/** What JSON writes as it is. */
const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;
const quoted = (text: string): string => (PLAIN.test(text) ? `"${text}"` : JSON.stringify(text));

/** To stand behind another field. */
function labelsText(message: EventMessage): string {
  const found = labels(message);
  const text = found === NO_LABELS ? '' : JSON.stringify(found).slice(1, -1);
  return text === '' ? '' : `,${text}`;
}

const replyText = ({ code, enhanced, lines }: Reply): string => {
  const texts = lines.length === 1 ? quoted(lines[0]!) : lines.map(quoted).join(',');
  return `{"code":${code},"enhanced":${enhanced === null ? 'null' : quoted(enhanced)},"lines":[${texts}]}`;
};

export class Events {
  readonly #sink: EventSink | null;
  readonly #clock: Clock;

  /** @param sink null when nobody wants events; then none is made */
  constructor(sink: EventSink | null, clock: Clock) {
    this.#sink = sink;
    this.#clock = clock;
  }

  reception(message: MessageId, submission: Submission): void {
    if (this.#sink === null) return;
    const { envelope, content, origin } = submission;
    this.#write({
      event: 'reception',
      atMs: this.#clock.wallMs(),
      id: formatMessageId(message),
      reversePath: envelope.reversePath,
      origin,
      recipients: envelope.recipients.map(({ address }) => address),
      octets: content.length,
      ...labels(submission),
    });
  }

  delivery(message: EventMessage, recipient: EventRecipient, host: string, reply: Reply): void {
    if (this.#sink === null) return;
    this.#sink.write(this.#deliveryLine(message, recipient, host, reply), 'delivery');
  }

  /** As #write() would make it, for a third of the time: nearly all records are of this kind. */
  #deliveryLine(
    message: EventMessage,
    recipient: EventRecipient,
    host: string,
    reply: Reply,
  ): string {
    const atMs = this.#clock.wallMs();
    const { reversePath, receivedAtMs } = message;
    const { index, address, attempts } = recipient;
    return (
      `{"event":"delivery","atMs":${atMs},"id":"${formatMessageId(message.message)}.${index}"` +
      `,"reversePath":${quoted(reversePath)},"recipient":${quoted(address)}` +
      `,"domain":${quoted(mailDomainOf(recipient.domain))},"attempts":${attempts}` +
      `,"ageMs":${atMs - receivedAtMs}${labelsText(message)},"host":${quoted(host)},"reply":${replyText(reply)}}\n`
    );
  }

  deferral(
    message: EventMessage,
    recipient: EventRecipient,
    reason: { readonly code: string; readonly text: string },
    dueMs: number,
  ): void {
    if (this.#sink === null) return;
    const { code, text } = reason;
    const common = this.#common(message, recipient);
    this.#write({ event: 'deferral', ...common, reason: code, text, dueMs });
  }

  /** A bounce, or an expiry when it was time that failed the recipient. */
  bounce(message: EventMessage, failure: EventFailure): void {
    if (this.#sink === null) return;
    const { recipient, status, text, host, reply, expired } = failure;
    const event = expired ? 'expiry' : 'bounce';
    const kind = expired ? 'expired' : classify(status, reply);
    const common = this.#common(message, recipient);
    this.#write({ event, ...common, status, class: kind, text, host, reply });
  }

  /** What came back, and whom nothing is sent for it. */
  feedback(record: FeedbackRecord): void {
    if (this.#sink !== null) this.#write(record);
  }

  #common(message: EventMessage, recipient: EventRecipient): OfRecipient {
    const atMs = this.#clock.wallMs();
    return {
      atMs,
      id: formatRecipientId({ message: message.message, index: recipient.index }),
      reversePath: message.reversePath,
      recipient: recipient.address,
      domain: mailDomainOf(recipient.domain),
      attempts: recipient.attempts,
      ageMs: atMs - message.receivedAtMs,
      ...labels(message),
    };
  }

  #write(record: EventRecord): void {
    this.#sink?.write(`${JSON.stringify(record)}\n`, record.event);
  }
}
