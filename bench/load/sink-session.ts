/**
 * One SMTP session of the sink, without I/O: octets in, replies out. As cheap as it can be: content is
 * counted and skipped, never kept, save the head in which a header is looked for.
 *
 * Invariants
 * - Replies come in the order of commands, one string per chunk of input.
 * - It keeps at most LINE_OCTETS_MAX of an unfinished command and HEAD_OCTETS_MAX of a message.
 */

export interface SinkEnvelope {
  readonly reversePath: string;
  readonly recipients: readonly string[];
}

export interface SinkMessage extends SinkEnvelope {
  /** As sent: dot-stuffed when it came by DATA, without the final dot. */
  readonly octets: number;
  /** Value of the header that SinkPolicy.header names, or null. */
  readonly header: string | null;
  /** The first HEAD_OCTETS_MAX octets of the content; empty when no header is looked for. */
  readonly head: Buffer;
  /** Listening address that took it. */
  readonly address: string;
  readonly secured: boolean;
  /** Of MAIL, as sent, without the space in front; '' for none. */
  readonly parameters: string;
}

/** What the sink does about recipients and messages. A reply is code and text without CRLF: "451 4.7.1 later". */
export interface SinkPolicy {
  /** Name of the header whose value onMessage is told, such as "x-demo-id". */
  readonly header?: string;
  /** @returns null to accept, or the refusal */
  onRecipient?(recipient: string, envelope: SinkEnvelope): string | null;
  /** @returns null to accept, or the refusal */
  onMessage?(message: SinkMessage): string | null;
}

export interface SinkOffer {
  readonly pipelining: boolean;
  readonly chunking: boolean;
  readonly startTls: boolean;
  /** RFC 8689; over TLS only. */
  readonly requireTls: boolean;
  readonly sizeMax: number;
}

export interface SinkCounts {
  connections: number;
  handshakesFull: number;
  handshakesResumed: number;
  handshakesFailed: number;
  /** Accepted, and their accepted recipients and octets. */
  messages: number;
  recipients: number;
  octets: number;
  recipientsRefused: number;
  messagesRefused: number;
  /** Commands out of sequence, unknown or malformed. */
  errors: number;
}

export const newSinkCounts = (): SinkCounts => ({
  connections: 0,
  handshakesFull: 0,
  handshakesResumed: 0,
  handshakesFailed: 0,
  messages: 0,
  recipients: 0,
  octets: 0,
  recipientsRefused: 0,
  messagesRefused: 0,
  errors: 0,
});

const LINE_OCTETS_MAX = 4096;
const HEAD_OCTETS_MAX = 4096;
const LF = 0x0a;
const END_OF_DATA = Buffer.from('\r\n.\r\n');
const NONE = Buffer.alloc(0);

export class SinkSession {
  /** What the caller has to do besides sending the replies. */
  next: 'continue' | 'secure' | 'close' = 'continue';

  readonly #policy: SinkPolicy;
  readonly #counts: SinkCounts;
  readonly #offer: SinkOffer;
  readonly #address: string;
  readonly #secured: boolean;
  #state: 'command' | 'data' | 'bdat' = 'command';
  #rest: Buffer = NONE;
  #replies = '';
  /** null outside a mail transaction. */
  #reversePath: string | null = null;
  #parameters = '';
  #recipients: string[] = [];
  #octets = 0;
  #head: Buffer = NONE;
  #bdatLeft = 0;
  #bdatLast = false;
  /** Last octets of the content seen so far, in which the final dot may have begun. */
  #tail: Buffer = NONE;

  constructor(
    policy: SinkPolicy,
    counts: SinkCounts,
    offer: SinkOffer,
    address: string,
    secured: boolean,
  ) {
    this.#policy = policy;
    this.#counts = counts;
    this.#offer = offer;
    this.#address = address;
    this.#secured = secured;
  }

  greeting(): string {
    return '220 sink.example ESMTP\r\n';
  }

  /** @returns the replies to what this chunk completes, '' for none */
  take(chunk: Buffer): string {
    let input = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#rest = NONE;
    this.#replies = '';
    while (input.length > 0 && this.next === 'continue') {
      if (this.#state === 'bdat') input = this.#takeChunk(input);
      else if (this.#state === 'data') input = this.#takeData(input);
      else {
        const end = input.indexOf(LF);
        if (end === -1) {
          this.#rest = input;
          if (input.length > LINE_OCTETS_MAX) this.#fail('500 5.5.2 line too long');
          break;
        }
        this.#command(input.toString('latin1', 0, end).trimEnd());
        input = input.subarray(end + 1);
      }
    }
    return this.#replies;
  }

  #takeChunk(input: Buffer): Buffer {
    const taken = Math.min(this.#bdatLeft, input.length);
    this.#keepHead(input.subarray(0, taken));
    this.#bdatLeft -= taken;
    this.#octets += taken;
    if (this.#bdatLeft === 0) this.#endChunk();
    return input.subarray(taken);
  }

  #endChunk(): void {
    this.#state = 'command';
    if (this.#recipients.length === 0) this.#error('503 5.5.1 no valid recipients');
    else if (this.#bdatLast) this.#endMessage();
    else this.#reply('250 2.0.0 chunk taken');
  }

  #takeData(input: Buffer): Buffer {
    // The final dot may have begun in the octets before; content of nothing begins with it.
    const seam = Buffer.concat([this.#tail, input.subarray(0, END_OF_DATA.length)]);
    const inSeam = seam.indexOf(END_OF_DATA);
    const inInput = inSeam === -1 ? input.indexOf(END_OF_DATA) : -1;
    if (inSeam === -1 && inInput === -1) {
      this.#keepHead(input);
      this.#octets += input.length;
      this.#tail = Buffer.concat([this.#tail, input.subarray(-4)]).subarray(-4);
      return NONE;
    }
    // Index into input; negative when the end began before it.
    const at = inSeam === -1 ? inInput : inSeam - this.#tail.length;
    this.#keepHead(input.subarray(0, Math.max(at + 2, 0)));
    this.#octets += at + 2;
    this.#state = 'command';
    this.#endMessage();
    return input.subarray(at + END_OF_DATA.length);
  }

  #keepHead(octets: Buffer): void {
    if (this.#policy.header === undefined || this.#head.length >= HEAD_OCTETS_MAX) return;
    const part = octets.subarray(0, HEAD_OCTETS_MAX - this.#head.length);
    this.#head = this.#head.length === 0 ? part : Buffer.concat([this.#head, part]);
  }

  #endMessage(): void {
    const message: SinkMessage = {
      reversePath: this.#reversePath ?? '',
      recipients: this.#recipients,
      octets: this.#octets,
      header: this.#headerValue(),
      // What of the end of data came before it was known for that is not content.
      head: this.#head.subarray(0, this.#octets),
      address: this.#address,
      secured: this.#secured,
      parameters: this.#parameters,
    };
    const refusal = this.#policy.onMessage?.(message) ?? null;
    if (refusal === null) {
      this.#counts.messages += 1;
      this.#counts.recipients += this.#recipients.length;
      this.#counts.octets += this.#octets;
    } else {
      this.#counts.messagesRefused += 1;
    }
    this.#reset();
    this.#reply(refusal ?? '250 2.0.0 taken');
  }

  #headerValue(): string | null {
    const { header } = this.#policy;
    if (header === undefined) return null;
    const head = this.#head.toString('latin1').split('\r\n\r\n')[0]!;
    for (const line of head.split('\r\n')) {
      const colon = line.indexOf(':');
      if (line.slice(0, colon).toLowerCase() === header) return line.slice(colon + 1).trim();
    }
    return null;
  }

  #command(line: string): void {
    const verb = line.slice(0, 4).toUpperCase();
    if (verb === 'MAIL') this.#mail(line);
    else if (verb === 'RCPT') this.#rcpt(line);
    else if (verb === 'BDAT') this.#bdat(line);
    else if (verb === 'DATA') this.#data();
    else if (verb === 'EHLO') this.#ehlo();
    else if (verb === 'STAR' && this.#offer.startTls && !this.#secured) {
      this.#reply('220 2.0.0 go ahead');
      this.next = 'secure';
    } else if (verb === 'RSET') {
      this.#reset();
      this.#reply('250 2.0.0 ok');
    } else if (verb === 'QUIT') {
      this.#reply('221 2.0.0 bye');
      this.next = 'close';
    } else if (verb === 'HELO') this.#reply('250 sink.example');
    else if (verb === 'NOOP') this.#reply('250 2.0.0 ok');
    else this.#error('502 5.5.1 not known here');
  }

  #ehlo(): void {
    const { pipelining, chunking, startTls, requireTls, sizeMax } = this.#offer;
    const keywords = [
      'sink.example',
      ...(pipelining ? ['PIPELINING'] : []),
      `SIZE ${sizeMax}`,
      ...(startTls && !this.#secured ? ['STARTTLS'] : []),
      ...(requireTls && this.#secured ? ['REQUIRETLS'] : []),
      '8BITMIME',
      'SMTPUTF8',
      ...(chunking ? ['CHUNKING'] : []),
      'ENHANCEDSTATUSCODES',
    ];
    this.#reset();
    this.#replies += keywords
      .map((text, index) => `250${index === keywords.length - 1 ? ' ' : '-'}${text}\r\n`)
      .join('');
  }

  #mail(line: string): void {
    const path = pathOf(line);
    if (path === null) this.#error('501 5.5.4 no path');
    else if (this.#reversePath !== null) this.#error('503 5.5.1 nested MAIL');
    else {
      this.#reversePath = path;
      this.#parameters = line.slice(line.indexOf('>') + 1).trim();
      this.#reply('250 2.1.0 ok');
    }
  }

  #rcpt(line: string): void {
    const path = pathOf(line);
    if (path === null) this.#error('501 5.5.4 no path');
    else if (this.#reversePath === null) this.#error('503 5.5.1 no MAIL');
    else {
      const envelope = { reversePath: this.#reversePath, recipients: this.#recipients };
      const refusal = this.#policy.onRecipient?.(path, envelope) ?? null;
      if (refusal === null) this.#recipients.push(path);
      else this.#counts.recipientsRefused += 1;
      this.#reply(refusal ?? '250 2.1.5 ok');
    }
  }

  #data(): void {
    if (this.#recipients.length === 0) {
      this.#error('503 5.5.1 no valid recipients');
      return;
    }
    this.#state = 'data';
    this.#tail = Buffer.from('\r\n');
    this.#reply('354 go ahead');
  }

  #bdat(line: string): void {
    const match = /^BDAT (\d{1,10})( LAST)?$/i.exec(line);
    if (match === null || !this.#offer.chunking) {
      this.#fail('501 5.5.4 BDAT size [LAST]');
      return;
    }
    this.#bdatLeft = Number(match[1]);
    this.#bdatLast = match[2] !== undefined;
    this.#state = 'bdat';
    if (this.#bdatLeft === 0) this.#endChunk();
  }

  #reset(): void {
    this.#reversePath = null;
    this.#recipients = [];
    this.#octets = 0;
    this.#head = NONE;
  }

  #reply(text: string): void {
    this.#replies += `${text}\r\n`;
  }

  #error(text: string): void {
    this.#counts.errors += 1;
    this.#reply(text);
  }

  #fail(text: string): void {
    this.#error(text);
    this.next = 'close';
  }
}

/** @returns what stands between the angle brackets of MAIL or RCPT, or null */
function pathOf(line: string): string | null {
  const start = line.indexOf('<');
  const end = line.indexOf('>', start);
  return start === -1 || end === -1 ? null : line.slice(start + 1, end);
}
