/**
 * Bounces: delivery status notifications for recipients that failed (RFC 3464, RFC 6522, RFC 6533).
 *
 * Invariants
 * - A message with the null reverse-path never causes one, and every one has it (RFC 5321 §4.5.5, §6.1).
 * - Nothing of a peer's reply or of the message gets into a field of the notice but printable text.
 * - Header of the original and texts are bounded: HEADER_OCTETS_MAX, TEXT_MAX a recipient.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import type { Reply } from '../disposition.ts';
import { formatMessageId, type MessageId, type Submission } from '../envelope.ts';
import { asciiText, field, fieldText, headerOf, isAscii, mailDate, part, wrap } from './mime.ts';

/** The message that failed, as far as a notice tells of it. */
export interface ReturnedMessage {
  readonly message: MessageId;
  readonly reversePath: string;
  /** Wall ms. */
  readonly receivedAtMs: number;
  /** Borrowed. */
  readonly content: Uint8Array;
}

export interface FailedRecipient {
  readonly recipient: { readonly address: string };
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
}

/** Enough for mail that has been through many hands; some providers' headers run to 20 KB. */
const HEADER_OCTETS_MAX = 65_536;
/** Characters of a reply or an explanation. */
const TEXT_MAX = 2_000;
const ADDRESS_MAX = 320;
const NAME_MAX = 255;
const STATUS = /^5\.\d{1,3}\.\d{1,3}$/;
const UINT32_SPAN = 0x1_0000_0000;

export class DsnWriter {
  readonly #options: DsnOptions;
  readonly #hostname: string;

  constructor(options: DsnOptions) {
    this.#options = options;
    this.#hostname = asciiText(options.hostname, NAME_MAX);
  }

  /**
   * One notice for all recipients of one message that failed together.
   *
   * @returns null when the reverse-path is null or leads nowhere, or nothing failed
   */
  bounce(message: ReturnedMessage, failures: readonly FailedRecipient[]): Submission | null {
    const { reversePath } = message;
    if (reversePath === '' || failures.length === 0) return null;
    const domain = this.#options.domainOf(reversePath);
    if (domain === null) return null;
    // To an ASCII address the notice stays ASCII, so that every host on the way takes it (RFC 6533 §1).
    const international = !isAscii(reversePath);
    return {
      envelope: {
        reversePath: '',
        recipients: [{ index: 0, address: reversePath, domain }],
        body: international ? '8bitmime' : '7bit',
        smtpUtf8: international,
      },
      content: this.#content(message, failures, international),
      receivedAtMs: this.#options.clock.wallMs(),
      origin: 'dsn',
    };
  }

  #content(
    message: ReturnedMessage,
    failures: readonly FailedRecipient[],
    international: boolean,
  ): Uint8Array {
    const boundary = `=_${this.#token()}`;
    const original = headerOf(message.content, HEADER_OCTETS_MAX);
    const parts = [
      part({
        type: 'text/plain; charset=utf-8',
        description: 'Notification',
        content: Buffer.from(this.#explanation(message, failures)),
        eightBit: international,
      }),
      part({
        type: international ? 'message/global-delivery-status' : 'message/delivery-status',
        description: 'Delivery report',
        content: Buffer.from(this.#status(message, failures, international)),
        eightBit: international,
      }),
      part({
        type: original.international ? 'message/global-headers' : 'text/rfc822-headers',
        description: 'Header of the undelivered message',
        content: original.header,
        eightBit: international,
      }),
    ];
    const delimiter = Buffer.from(`\r\n--${boundary}\r\n`);
    return Buffer.concat([
      Buffer.from(this.#header(message.reversePath, boundary)),
      ...parts.flatMap((pieces) => [delimiter, ...pieces]),
      Buffer.from(`\r\n--${boundary}--\r\n`),
    ]);
  }

  #header(reversePath: string, boundary: string): string {
    return [
      field('Date', mailDate(this.#options.clock.wallMs())),
      field('From', `Mail Delivery System <MAILER-DAEMON@${this.#hostname}>`),
      field('To', `<${fieldText(reversePath, ADDRESS_MAX)}>`),
      field('Subject', 'Undelivered mail returned to sender'),
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

  #explanation({ receivedAtMs }: ReturnedMessage, failures: readonly FailedRecipient[]): string {
    const recipients = failures.length === 1 ? 'recipient' : 'recipients';
    const what = `The message that it took from you on ${mailDate(receivedAtMs)} could not be delivered to the following ${recipients}. It will not try again.`;
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
    { message, receivedAtMs }: ReturnedMessage,
    failures: readonly FailedRecipient[],
    international: boolean,
  ): string {
    const attempted = mailDate(this.#options.clock.wallMs());
    const blocks = failures.map((failure) =>
      [
        '\r\n',
        field('Final-Recipient', finalRecipient(failure.recipient.address, international)),
        field('Action', 'failed'),
        field('Status', STATUS.test(failure.status) ? failure.status : '5.0.0'),
        failure.host === null
          ? ''
          : field('Remote-MTA', `dns; ${asciiText(failure.host, NAME_MAX)}`),
        field('Diagnostic-Code', diagnostic(failure, international)),
        field('Last-Attempt-Date', attempted),
      ].join(''),
    );
    return [
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
