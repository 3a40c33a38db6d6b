/**
 * Bounces: delivery status notifications for recipients that failed (RFC 3464, RFC 6522, RFC 6533).
 *
 * Invariants
 * - Every notice has the null reverse-path, and a message that has it causes none (RFC 5321 §4.5.5,
 *   §6.1), save one to our own operator, where they asked for it; that one causes none at all.
 * - Nothing of a peer's reply or of the message gets into a field of the notice but printable text.
 * - Header of the original and texts are bounded: HEADER_OCTETS_MAX, TEXT_MAX a recipient.
 */
import { isAscii as isAsciiOctets } from 'node:buffer';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import type { Reply } from '../disposition.ts';
import { formatMessageId, type MessageId, type Submission } from '../envelope.ts';
import {
  decodeXtext,
  readMessageExtra,
  readRecipientExtra,
  wantsNotice,
  writeExtra,
} from '../extra.ts';
import { asciiText, field, fieldText, headerOf, isAscii, mailDate, part, wrap } from './mime.ts';

/** The message that failed, as far as a notice tells of it. */
export interface ReturnedMessage {
  readonly message: MessageId;
  readonly reversePath: string;
  /** Wall ms. */
  readonly receivedAtMs: number;
  /** Borrowed. */
  readonly content: Uint8Array;
  /** Of the spool; see ../extra.ts. */
  readonly extra?: string;
}

/** A recipient that a host took which tells nobody of it. */
export interface RelayedRecipient {
  readonly recipient: ReportedRecipient;
  readonly reply: Reply;
}

export interface ReportedRecipient {
  readonly address: string;
  readonly extra?: string;
}

export interface FailedRecipient {
  readonly recipient: ReportedRecipient;
  /** RFC 3463, class 5. */
  readonly status: string;
  /** One line for a person. */
  readonly text: string;
  readonly reply: Reply | null;
  /** The host whose reply it is; null when DNS, age or we ourselves decided. */
  readonly host: string | null;
}

export interface DsnOptions {
  readonly hostname: string;
  readonly clock: Clock;
  readonly random: Random;
  /** What Recipient.domain is for an address; null when there is nothing to route by. */
  readonly domainOf: (address: string) => string | null;
  /** Where notices go that nobody else can be given, '' for nowhere. */
  readonly doubleBounce?: string;
}

/** Enough for mail that has been through many hands; some providers' headers run to 20 KB. */
const HEADER_OCTETS_MAX = 65_536;
/** Characters of a reply or an explanation. */
const TEXT_MAX = 2_000;
const ADDRESS_MAX = 320;
const NAME_MAX = 255;
const STATUS = /^[245]\.\d{1,3}\.\d{1,3}$/;
const REQUIRE_TLS = writeExtra({ requireTls: true })!;
const CLASS_OF = { failed: '5', relayed: '2', delayed: '4' } as const;
/** A larger message returns as its header, whatever RET says (RFC 3461 §4.3 lets us). */
const RETURNED_OCTETS_MAX = 1_048_576;
const UINT32_SPAN = 0x1_0000_0000;

interface NoticeKind {
  readonly subject: string;
  /** RFC 3464 §2.3.3. */
  readonly action: 'failed' | 'relayed' | 'delayed';
  explain(date: string, recipients: string): string;
}

const FAILED: NoticeKind = {
  subject: 'Undelivered mail returned to sender',
  action: 'failed',
  explain: (date, recipients) =>
    `The message that it took from you on ${date} could not be delivered to the following ${recipients}. It will not try again.`,
};

const DELAYED: NoticeKind = {
  subject: 'Your mail is late',
  action: 'delayed',
  explain: (date, recipients) =>
    `The message that it took from you on ${date} has not reached the following ${recipients} yet. It goes on trying; there is nothing that you have to do.`,
};

const RELAYED: NoticeKind = {
  subject: 'Your mail was handed on',
  action: 'relayed',
  explain: (date, recipients) =>
    `The message that it took from you on ${date} was handed on for the following ${recipients}. Whether it arrived will not be told.`,
};

export class DsnWriter {
  readonly #options: DsnOptions;
  readonly #hostname: string;

  constructor(options: DsnOptions) {
    this.#options = options;
    this.#hostname = asciiText(options.hostname, NAME_MAX);
  }

  /**
   * One notice for all recipients of one message that failed together and whose failure is to be told.
   *
   * @returns null when the reverse-path is null or leads nowhere, or nobody wants to hear of it
   */
  bounce(message: ReturnedMessage, failures: readonly FailedRecipient[]): Submission | null {
    const told = failures.filter(({ recipient }) =>
      wantsNotice(readRecipientExtra(recipient.extra), 'FAILURE'),
    );
    return this.#notice(message, FAILED, told);
  }

  /**
   * Late, and still on its way. Whether they want to hear of it was asked before.
   *
   * @returns null when the reverse-path is null or leads nowhere
   */
  delayed(message: ReturnedMessage, late: readonly FailedRecipient[]): Submission | null {
    return this.#notice(message, DELAYED, late);
  }

  /**
   * Success, as far as we can know of it: the host took the mail and offers no DSN (RFC 3461 §5.2.2).
   *
   * @returns null as {@link bounce} does; most senders want none
   */
  relayed(
    message: ReturnedMessage,
    recipients: readonly RelayedRecipient[],
    host: string,
  ): Submission | null {
    const told = recipients
      .filter(({ recipient }) => wantsNotice(readRecipientExtra(recipient.extra), 'SUCCESS'))
      .map(({ recipient, reply }) => {
        const text = `${host} took it, and sends no notices of its own`;
        return { recipient, status: reply.enhanced ?? '2.0.0', text, reply, host };
      });
    return this.#notice(message, RELAYED, told);
  }

  #notice(
    message: ReturnedMessage,
    kind: NoticeKind,
    told: readonly FailedRecipient[],
  ): Submission | null {
    const reversePath = this.#addressee(message, kind, told);
    if (reversePath === '' || told.length === 0) return null;
    const domain = this.#options.domainOf(reversePath);
    if (domain === null) return null;
    // To an ASCII address the notice stays ASCII, so that every host on the way takes it (RFC 6533 §1).
    const international = !isAscii(reversePath);
    const { ret, requireTls } = readMessageExtra(message.extra);
    // RFC 8689 §5: what asked for REQUIRETLS comes back under it, and its header alone.
    const whole =
      kind === FAILED &&
      ret === 'FULL' &&
      requireTls !== true &&
      message.content.length <= RETURNED_OCTETS_MAX;
    const asciiOnly = isAsciiOctets(message.content);
    return {
      envelope: {
        reversePath: '',
        recipients: [{ index: 0, address: reversePath, domain }],
        body: international || (whole && !asciiOnly) ? '8bitmime' : '7bit',
        smtpUtf8: international,
      },
      content: this.#content({ ...message, reversePath }, kind, told, international, whole),
      receivedAtMs: this.#options.clock.wallMs(),
      origin: 'dsn',
      ...(requireTls === true ? { extra: REQUIRE_TLS } : {}),
    };
  }

  #addressee(
    { reversePath }: ReturnedMessage,
    kind: NoticeKind,
    told: readonly FailedRecipient[],
  ): string {
    const { doubleBounce = '' } = this.#options;
    if (reversePath !== '' || kind !== FAILED) return reversePath;
    return told.some(({ recipient }) => recipient.address === doubleBounce) ? '' : doubleBounce;
  }

  #content(
    message: ReturnedMessage,
    kind: NoticeKind,
    failures: readonly FailedRecipient[],
    international: boolean,
    whole: boolean,
  ): Uint8Array {
    const boundary = `=_${this.#token()}`;
    const original = headerOf(message.content, HEADER_OCTETS_MAX);
    const parts = [
      part({
        type: 'text/plain; charset=utf-8',
        description: 'Notification',
        content: Buffer.from(this.#explanation(message, kind, failures)),
        eightBit: international,
      }),
      part({
        type: international ? 'message/global-delivery-status' : 'message/delivery-status',
        description: 'Delivery report',
        content: Buffer.from(this.#status(message, kind, failures, international)),
        eightBit: international,
      }),
      whole
        ? returned(message.content, original.international)
        : headerPart(original, international),
    ];
    const delimiter = Buffer.from(`\r\n--${boundary}\r\n`);
    return Buffer.concat([
      Buffer.from(this.#header(message.reversePath, kind, boundary)),
      ...parts.flatMap((pieces) => [delimiter, ...pieces]),
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]);
  }

  #header(reversePath: string, { subject }: NoticeKind, boundary: string): string {
    return [
      field('Date', mailDate(this.#options.clock.wallMs())),
      field('From', `Mail Delivery System <MAILER-DAEMON@${this.#hostname}>`),
      field('To', `<${fieldText(reversePath, ADDRESS_MAX)}>`),
      field('Subject', subject),
      field('Message-ID', `<${this.#token()}@${this.#hostname}>`),
      field('Auto-Submitted', 'auto-replied'),
      field('MIME-Version', '1.0'),
      field(
        'Content-Type',
        `multipart/report; report-type=delivery-status; boundary="${boundary}"`,
      ),
      '\r\nThis is a delivery status notification in MIME format.\r\n',
    ].join('');
  }

  #explanation(
    { receivedAtMs }: ReturnedMessage,
    { explain }: NoticeKind,
    failures: readonly FailedRecipient[],
  ): string {
    const recipients = failures.length === 1 ? 'recipient' : 'recipients';
    const what = explain(mailDate(receivedAtMs), recipients);
    const blocks = failures.map(({ recipient, text }) => {
      const address = fieldText(recipient.address, ADDRESS_MAX);
      return `\r\n<${address}>\r\n    ${wrap(fieldText(text, TEXT_MAX), '    ')}`;
    });
    return [
      `This is the mail system at ${this.#hostname}.\r\n\r\n`,
      wrap(what, ''),
      ...blocks,
    ].join('');
  }

  /** RFC 3464 §2: fields of the message, then a block for each recipient. */
  #status(
    { message, receivedAtMs, extra }: ReturnedMessage,
    { action }: NoticeKind,
    failures: readonly FailedRecipient[],
    international: boolean,
  ): string {
    const attempted = mailDate(this.#options.clock.wallMs());
    const blocks = failures.map((failure) =>
      [
        '\r\n',
        originalRecipient(failure.recipient),
        field('Final-Recipient', finalRecipient(failure.recipient.address, international)),
        field('Action', action),
        field('Status', statusFor(action, failure.status)),
        failure.host === null
          ? ''
          : field('Remote-MTA', `dns; ${asciiText(failure.host, NAME_MAX)}`),
        field('Diagnostic-Code', diagnostic(failure, international)),
        field('Last-Attempt-Date', attempted),
      ].join(''),
    );
    const { envid } = readMessageExtra(extra);
    return [
      envid === undefined
        ? ''
        : field('Original-Envelope-Id', asciiText(decodeXtext(envid), NAME_MAX)),
      field('Reporting-MTA', `dns; ${this.#hostname}`),
      field('X-Postilion-Message-Id', formatMessageId(message)),
      field('Arrival-Date', mailDate(receivedAtMs)),
      ...blocks,
    ].join('');
  }

  /** 96 random bits. */
  #token(): string {
    const { random } = this.#options;
    return Array.from({ length: 3 }, () =>
      random.integer(UINT32_SPAN).toString(16).padStart(8, '0'),
    ).join('');
  }
}

/** RFC 3461 §6.3 (d): as the sender wrote it, also of a type that we do not know. */
function originalRecipient({ extra }: ReportedRecipient): string {
  const { orcpt } = readRecipientExtra(extra);
  if (orcpt === undefined) return '';
  const split = orcpt.indexOf(';');
  const address = asciiText(decodeXtext(orcpt.slice(split + 1)), ADDRESS_MAX);
  return field('Original-Recipient', `${orcpt.slice(0, split)}; ${address}`);
}

const headerPart = (original: ReturnType<typeof headerOf>, eightBit: boolean) =>
  part({
    type: original.international ? 'message/global-headers' : 'text/rfc822-headers',
    description: 'Header of the message',
    content: original.header,
    eightBit,
  });

/** RFC 2046 §5.2.1: message/rfc822 may not be base64, so it goes as it came. */
const returned = (content: Uint8Array, international: boolean): Buffer[] => [
  Buffer.from(
    `Content-Description: Message\r\nContent-Type: ${international ? 'message/global' : 'message/rfc822'}\r\nContent-Transfer-Encoding: ${isAsciiOctets(content) ? '7bit' : '8bit'}\r\n\r\n`,
  ),
  Buffer.from(content.buffer, content.byteOffset, content.length),
];

/** RFC 3464 §2.3.4; of the class that goes with the action. */
function statusFor(action: NoticeKind['action'], status: string): string {
  const wanted = CLASS_OF[action];
  return STATUS.test(status) && status.startsWith(wanted) ? status : `${wanted}.0.0`;
}

/** RFC 3464 §2.3.2; where it is not ASCII, RFC 6533 §3: as it is, or with \x{…} in an ASCII notice. */
function finalRecipient(address: string, international: boolean): string {
  const text = fieldText(address, ADDRESS_MAX);
  if (isAscii(text)) return `rfc822; ${text}`;
  if (international) return `utf-8; ${text}`;
  const escaped = Array.from(text, (character) =>
    /[\x21-\x2a\x2c-\x3c\x3e-\x5b\x5d-\x7e]/.test(character)
      ? character
      : `\\x{${character.codePointAt(0)!.toString(16).toUpperCase()}}`,
  ).join('');
  return `utf-8; ${escaped}`;
}

/** RFC 3464 §2.3.6: the host's own words, or ours under a type of our own. */
function diagnostic({ reply, host, text }: FailedRecipient, international: boolean): string {
  const safe = international ? fieldText : asciiText;
  if (reply === null || host === null) return `x-postilion; ${safe(text, TEXT_MAX)}`;
  const { code, enhanced, lines } = reply;
  const words = [String(code), ...(enhanced === null ? [] : [enhanced]), ...lines];
  return `smtp; ${safe(words.join(' '), TEXT_MAX)}`;
}
