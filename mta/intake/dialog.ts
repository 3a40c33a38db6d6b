/**
 * Owns what one SMTP client may say next and what it is answered: command lines in, steps out. No socket.
 *
 * Invariants
 * - A mail transaction has a reverse-path before it has recipients, and those before it has content.
 * - No reply quotes what the client sent, so nothing can be injected into one.
 */
import { isIPv4 } from 'node:net';
import { type RecipientExtra, writeExtra } from '../extra.ts';
import { type Forward, type Mailbox, parsePath } from './address.ts';
import { Collector } from './collector.ts';
import { parseCommand, parsePathCommand } from './command.ts';
import type { Refusal } from './counters.ts';
import { readRcptDsn } from './dsn-parameters.ts';
import type { Draft, Intake, SubmissionOptions } from './intake.ts';
import { Login } from './login.ts';
import { type MailParameters, readMailParameters } from './mail-parameters.ts';
import type { Protocol } from './received.ts';
import { busyReply, type Refused, refused, type Step, say } from './replies.ts';
import { parseXclient, XCLIENT_OFFER } from './xclient.ts';

/** Errors between two messages taken after which a client is sent away; a legitimate one stays far below. */
export const ERRORS_MAX = 20;
/** What counts as one. Not what a mailing list of poor quality brings about: a bad recipient costs itself only. */
const ERRORS: ReadonlySet<Refusal> = new Set(['syntax', 'relay', 'auth']);

interface Transaction {
  readonly reversePath: Mailbox | null;
  readonly parameters: MailParameters;
  readonly recipients: Forward[];
}

const OK = say('250 2.0.0 OK');
const MAIL_OK = say('250 2.1.0 OK');
const RCPT_OK = say('250 2.1.5 OK');
const NO_DSN: RecipientExtra = {};
const SEND_DATA: Step = { reply: '354 end with <CR><LF>.<CR><LF>', next: 'content' };
const BYE: Step = { reply: '221 2.0.0 bye', next: 'close' };
const SECURE: Step = { reply: '220 2.0.0 ready to start TLS', next: 'secure' };
const CONTROL = /[\x00-\x1f\x7f]/;

export class Dialog {
  readonly #intake: Intake;
  /** Numeric, as the socket reports it. */
  #address: string;
  /** A certificate is at hand. */
  readonly #tls: boolean;
  #allowed: boolean;
  /** It may say XCLIENT, whoever it last spoke for. */
  readonly #trusted: boolean;
  #secure = false;
  #helo = '';
  #extended = false;
  readonly #login: Login;
  #transaction: Transaction | null = null;
  #content: Collector | null = null;
  /** A message has been sent, and answered. */
  hasSent = false;
  #errors = 0;

  constructor(intake: Intake, address: string, tls: boolean) {
    this.#intake = intake;
    this.#address = address;
    this.#tls = tls;
    this.#login = new Login(intake);
    this.#allowed = intake.allows(address);
    this.#trusted = intake.settings.smtp_trusted.some((network) => network.contains(address));
  }

  get inTransaction(): boolean {
    return this.#transaction !== null;
  }

  /** Whether a mail transaction may begin, for all that we are about to stop. */
  get mayBegin(): boolean {
    const { draining, lastOrders } = this.#intake;
    return !draining || (lastOrders && !this.hasSent);
  }

  greet(): Step {
    const { credentials, ownDomains } = this.#intake;
    if (!this.#allowed && !this.#trusted && !credentials.any && ownDomains === null) {
      this.#intake.refuse('relay');
      return {
        reply: `554 5.7.1 ${this.#intake.settings.hostname} takes no mail from your address`,
        next: 'close',
      };
    }
    return say(`220 ${this.#intake.settings.hostname} ESMTP Postilion`);
  }

  /** @param line without its CRLF; untrusted */
  onLine(line: string): Step {
    const step = this.#login.isExpecting
      ? this.#answer(this.#login.onLine(line))
      : this.#onCommand(line);
    if (this.#errors < ERRORS_MAX || step.next === 'close') return step;
    return { reply: `${step.reply}\r\n421 4.7.0 too many errors`, next: 'close' };
  }

  /** TLS is up: nothing said before it counts (RFC 3207 §4.2). */
  onSecure(): void {
    this.reset();
    this.#secure = true;
    this.#helo = '';
    this.#extended = false;
    this.#login.principal = null;
  }

  /** After a step to content: where to put it. */
  get content(): Collector {
    return this.#content!;
  }

  /** The finished message; the transaction ends with reset(). */
  draft(): Draft {
    const { reversePath, recipients, parameters } = this.#transaction!;
    return {
      door: 'smtp',
      reversePath,
      recipients,
      content: this.#content!,
      mayUseUtf8: parameters.utf8,
      trace: {
        protocol: this.#protocol(parameters.utf8),
        helo: this.#helo,
        address: this.#address,
      },
      origin: `smtp ${this.#address}`,
      options: this.#options(parameters),
    };
  }

  #options(parameters: MailParameters): SubmissionOptions {
    const priority = this.#isStranger ? 'normal' : parameters.priority;
    const extra = writeExtra(parameters.extra);
    const tenant = this.#login.principal?.tenant ?? '';
    if (extra === undefined && tenant === '') return { priority };
    return {
      priority,
      ...(tenant === '' ? {} : { tenant }),
      ...(extra === undefined ? {} : { extra }),
    };
  }

  /** The message of this transaction was taken. */
  onAccepted(): void {
    this.#errors = 0;
  }

  /** Ends the mail transaction, if there is one, and gives its memory back. */
  reset(): void {
    this.#content?.release();
    this.#content = null;
    this.#transaction = null;
  }

  #onCommand(line: string): Step {
    if (CONTROL.test(line))
      return this.#refuse('syntax', '500 5.5.2 control character in a command');
    const { verb, argument } = parseCommand(line);
    switch (verb) {
      case 'MAIL':
        return this.#onMail(argument);
      case 'RCPT':
        return this.#onRcpt(argument);
      case 'DATA':
        return this.#onData(argument);
      case 'EHLO':
      case 'HELO':
        return this.#onHello(verb, argument);
      case 'RSET':
        this.reset();
        return OK;
      case 'NOOP':
        return OK;
      case 'QUIT':
        return BYE;
      case 'STARTTLS':
        return this.#onStartTls(argument);
      case 'AUTH':
        return this.#onAuth(argument);
      case 'XCLIENT':
        return this.#onXclient(argument);
      case 'VRFY':
        return say('252 2.5.0 not verified here; send mail and see');
      case 'HELP':
        return say('214 2.0.0 RFC 5321; EHLO lists what is offered');
      case 'EXPN':
        return this.#refuse('syntax', '502 5.5.1 not implemented');
      default:
        return this.#refuse('syntax', '500 5.5.1 command not recognized');
    }
  }

  #onHello(verb: 'EHLO' | 'HELO', argument: string): Step {
    if (argument === '') return this.#refuse('syntax', `501 5.5.4 write ${verb} and your name`);
    this.reset();
    this.#helo = argument;
    this.#extended = verb === 'EHLO';
    const { hostname, message_bytes } = this.#intake.settings;
    if (verb === 'HELO') return say(`250 ${hostname}`);
    const offers = [hostname, 'PIPELINING', `SIZE ${message_bytes}`, '8BITMIME', 'SMTPUTF8', 'DSN'];
    offers.push('MT-PRIORITY');
    if (this.#trusted) offers.push(XCLIENT_OFFER);
    if (this.#tls && !this.#secure) offers.push('STARTTLS');
    // RFC 8689 §4.1: over TLS only.
    if (this.#secure) offers.push('REQUIRETLS');
    if (this.#mayAuthenticate()) offers.push('AUTH PLAIN LOGIN');
    offers.push('ENHANCEDSTATUSCODES');
    return say(
      offers.map((offer, i) => `250${i < offers.length - 1 ? '-' : ' '}${offer}`).join('\r\n'),
    );
  }

  #onMail(argument: string): Step {
    if (!this.mayBegin) return { reply: '421 4.3.2 shutting down', next: 'close' };
    if (this.#helo === '') return this.#refuse('syntax', '503 5.5.1 EHLO first');
    if (this.#transaction !== null)
      return this.#refuse('syntax', '503 5.5.1 nested MAIL; finish or RSET');
    // To domains of our own anybody may send; whether it is for one of them, RCPT will tell.
    if (this.#isStranger && this.#intake.ownDomains === null) {
      return this.#refuse('relay', '530 5.7.0 authentication required from your address');
    }
    const spent = this.#overRate();
    if (spent !== null) return this.#refuse('rate', spent);
    const command = parsePathCommand(argument, 'FROM');
    if (command === null)
      return this.#refuse('syntax', '501 5.5.4 write MAIL FROM:<local-part@domain>');
    const parameters = readMailParameters(command.parameters, this.#secure);
    if ('reason' in parameters) return this.#answer(parameters);
    const bound = this.#boundReached(parameters);
    if (bound !== null) return this.#answer(bound);
    const mailbox = command.path === '' ? null : parsePath(command.path);
    if (mailbox !== null && mailbox.fault !== null)
      return this.#refuse('address', `501 5.1.7 ${mailbox.text}`);
    if (mailbox !== null && !mailbox.ascii && !parameters.utf8)
      return this.#refuse('address', '553 5.6.7 address needs SMTPUTF8');
    this.#transaction = { reversePath: mailbox, parameters, recipients: [] };
    return MAIL_OK;
  }

  /** @returns what to say while the allowance of who authenticated is spent, or null */
  #overRate(): string | null {
    const { allowances } = this.#intake;
    const waitMs = this.#login.principal === null ? null : allowances.waitMs(this.#login.principal);
    if (waitMs === null) return null;
    const rate = allowances.ratePerSecond(this.#login.principal!);
    return `450 4.7.1 more than ${rate} recipients a second, try again in ${Math.ceil(waitMs / 1000)} seconds (bound key_rate)`;
  }

  /** @returns what to say when there is no room for such a message, or null */
  #boundReached({ octets }: MailParameters): Refused | null {
    const { pressure, held, settings } = this.#intake;
    const bound = pressure.reached();
    if (bound !== null) return busyReply(bound);
    if (octets > settings.message_bytes) {
      const limit = `${settings.message_bytes} octets`;
      return refused('size', `552 5.3.4 message exceeds the size limit of ${limit}`);
    }
    return octets > held.max - held.held ? busyReply(held.name) : null;
  }

  #onRcpt(argument: string): Step {
    const transaction = this.#transaction;
    if (transaction === null) return this.#refuse('syntax', '503 5.5.1 MAIL first');
    const { allowances } = this.#intake;
    const recipientsMax = allowances.recipientsMax(this.#login.principal);
    if (transaction.recipients.length >= recipientsMax) {
      return this.#refuse(
        'recipients',
        `452 4.5.3 more than ${recipientsMax} recipients; send the rest in another transaction`,
      );
    }
    const command = parsePathCommand(argument, 'TO');
    if (command === null)
      return this.#refuse('syntax', '501 5.5.4 write RCPT TO:<local-part@domain>');
    for (const name of command.parameters.keys()) {
      if (name !== 'NOTIFY' && name !== 'ORCPT')
        return this.#refuse('syntax', '555 5.5.4 RCPT parameter not recognized');
    }
    const dsn = command.parameters.size === 0 ? NO_DSN : readRcptDsn(command.parameters);
    if (dsn === null) return this.#refuse('syntax', '501 5.5.4 bad value of NOTIFY or ORCPT');
    if (command.path.toLowerCase() === 'postmaster') {
      // RFC 5321 §4.5.1 asks it of hosts that receive mail; this one has no mailboxes, only a way out.
      return this.#refuse(
        'address',
        '550 5.1.1 no mailboxes here, this host only sends; write postmaster@domain',
      );
    }
    const mailbox = parsePath(command.path);
    if (mailbox.fault !== null) return this.#refuse('address', `501 5.1.3 ${mailbox.text}`);
    if (!mailbox.ascii && !transaction.parameters.utf8)
      return this.#refuse('address', '553 5.6.7 address needs SMTPUTF8');
    const refusal = this.#refuseRecipient(mailbox, transaction);
    if (refusal !== null) return refusal;
    if (this.#login.principal !== null) allowances.take(this.#login.principal, 1);
    const extra = writeExtra(dsn);
    transaction.recipients.push(extra === undefined ? mailbox : { ...mailbox, extra });
    return RCPT_OK;
  }

  /** @returns null when mail to it is taken from this client */
  #refuseRecipient(mailbox: Mailbox, { reversePath }: Transaction): Step | null {
    const { ownDomains, suppressions } = this.#intake;
    if (ownDomains?.owns(mailbox.domain) === true) {
      if (ownDomains.knows(mailbox.address)) return null;
      return this.#refuse('address', '550 5.1.1 no such address here');
    }
    if (this.#isStranger) return this.#refuse('relay', '550 5.7.1 relaying denied');
    if (suppressions === null || !suppressions.atSmtp) return null;
    const tenant = this.#login.principal?.tenant ?? '';
    const verdict = suppressions.find(mailbox.address, tenant);
    if (verdict === null) return null;
    suppressions.tell(verdict, {
      origin: `smtp ${this.#address}`,
      reversePath: reversePath?.address ?? '',
      recipient: mailbox.address,
      tenant,
    });
    return this.#refuse('suppressed', `550 5.7.1 recipient is suppressed: ${verdict.text}`);
  }

  #onData(argument: string): Step {
    if (argument !== '') return this.#refuse('syntax', '501 5.5.4 DATA takes no argument');
    if (this.#transaction === null) return this.#refuse('syntax', '503 5.5.1 MAIL first');
    if (this.#transaction.recipients.length === 0)
      return this.#refuse('syntax', '554 5.5.1 no valid recipients');
    this.#content = Collector.open(this.#intake.held, this.#transaction.parameters.octets);
    if (this.#content !== null) return SEND_DATA;
    this.reset();
    return this.#answer(busyReply(this.#intake.held.name));
  }

  /** What follows is said by the client that the peer names; the session begins anew. */
  #onXclient(argument: string): Step {
    if (!this.#trusted) return this.#refuse('relay', '550 5.7.0 not from your address');
    if (this.#transaction !== null) return this.#refuse('syntax', '503 5.5.1 not now');
    const client = parseXclient(argument);
    if (client === null) return this.#refuse('syntax', '501 5.5.4 bad XCLIENT attribute');
    if (client.address !== null) {
      this.#address = client.address;
      this.#allowed = this.#intake.allows(client.address);
    }
    const { credentials } = this.#intake;
    this.#login.principal = client.login === null ? null : credentials.vouchedFor(client.login);
    this.#helo = client.helo ?? '';
    return say(`220 ${this.#intake.settings.hostname} ESMTP Postilion`);
  }

  #onStartTls(argument: string): Step {
    if (!this.#tls) return this.#refuse('syntax', '502 5.5.1 STARTTLS not offered');
    if (this.#secure) return this.#refuse('syntax', '503 5.5.1 TLS is active');
    return argument === ''
      ? SECURE
      : this.#refuse('syntax', '501 5.5.4 STARTTLS takes no argument');
  }

  #onAuth(argument: string): Step {
    if (!this.#intake.credentials.any) return this.#refuse('syntax', '502 5.5.1 AUTH not offered');
    if (!this.#mayAuthenticate()) {
      if (this.#login.principal !== null)
        return this.#refuse('syntax', '503 5.5.1 already authenticated');
      return this.#refuse('auth', '538 5.7.11 not without TLS');
    }
    if (this.#helo === '' || this.#transaction !== null)
      return this.#refuse('syntax', '503 5.5.1 not now');
    return this.#answer(this.#login.begin(argument));
  }

  /** After a step to verify; until it resolves nothing else may be said. */
  async verify(): Promise<Step> {
    return this.#answer(await this.#login.verify());
  }

  /** May send to domains of our own and nowhere else. */
  get #isStranger(): boolean {
    return !this.#allowed && this.#login.principal === null;
  }

  /** A password crosses no network in the clear: TLS, or a client on this very machine. */
  #mayAuthenticate(): boolean {
    const safe = this.#secure || isLoopback(this.#address);
    return safe && this.#intake.credentials.any && this.#login.principal === null && this.#extended;
  }

  #protocol(utf8: boolean): Protocol {
    if (!this.#extended) return 'SMTP';
    const variant =
      `${this.#secure ? 'S' : ''}${this.#login.principal === null ? '' : 'A'}` as const;
    return utf8 ? `UTF8SMTP${variant}` : `ESMTP${variant}`;
  }

  #answer(outcome: Step | Refused): Step {
    return 'reason' in outcome ? this.#refuse(outcome.reason, outcome.reply) : outcome;
  }

  #refuse(reason: Refusal, reply: string): Step {
    this.#intake.refuse(reason);
    if (ERRORS.has(reason)) this.#errors += 1;
    return say(reply);
  }
}

function isLoopback(address: string): boolean {
  const plain = address.startsWith('::ffff:') ? address.slice(7) : address;
  return plain === '::1' || (isIPv4(plain) && plain.startsWith('127.'));
}
