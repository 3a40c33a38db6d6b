/** A driver for the client under test, and peers that behave as scripted. */
import { createServer, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';
import {
  type Connection,
  type ConnectionDeps,
  newCounters,
  openConnection,
  type Target,
} from '../../../mta/smtp/connection.ts';
import { HostMemory } from '../../../mta/smtp/manners.ts';
import { formatReply } from '../../../mta/smtp/reply.ts';
import { createClientContext, TicketCache } from '../../../mta/smtp/tickets.ts';
import type { CloseCause, RecipientFact, Transaction } from '../../../mta/smtp/transaction.ts';
import { systemClock } from '../../../runtime/clock.ts';

export interface Letter extends Transaction {
  readonly name: string;
}

const CONTENT = Buffer.from('Subject: hello\r\n\r\nhello\r\n');

export const letter = (name: string, fields: Partial<Transaction> = {}): Letter => ({
  name,
  reversePath: 'from@example.net',
  recipients: [`${name}@example.org`],
  content: CONTENT,
  body: '7bit',
  smtpUtf8: false,
  ...fields,
});

export function newDeps(fields: Partial<ConnectionDeps> = {}): ConnectionDeps {
  const clock = fields.clock ?? systemClock();
  return {
    clock,
    tlsContext: createClientContext(''),
    tickets: new TicketCache(clock),
    hosts: new HostMemory(clock),
    counters: newCounters(),
    ...fields,
  };
}

/** "endOfData 250 2.0.0 taken", "lost maybe", "mail local 552 5.3.4 …" */
export const factText = ({ phase, local, maybeDelivered, reply }: RecipientFact): string =>
  [
    phase,
    ...(local ? ['local'] : []),
    ...(maybeDelivered ? ['maybe'] : []),
    ...(reply === null ? [] : [formatReply(reply)]),
  ].join(' ');

export interface Told {
  /** Name of the letter and what became of each recipient, in the order told. */
  readonly outcomes: readonly (readonly [name: string, ...facts: string[]])[];
  readonly cause: CloseCause;
  /** Names. */
  readonly untouched: readonly string[];
  readonly connection: Connection<Letter>;
}

export interface DeliveryOptions {
  /** Those added later are offered after wake(). */
  readonly letters: readonly Letter[];
  readonly target?: Partial<Target>;
  readonly deps?: ConnectionDeps;
  /** Called after each outcome. */
  readonly onOutcome?: (connection: Connection<Letter>) => void;
  readonly onReady?: (connection: Connection<Letter>) => void;
  /** Keep the connection open when all are told. */
  readonly stay?: boolean;
}

/** Offers the letters to one connection; resolves when it is closed. Quits once all are told. */
export function deliver(port: number, options: DeliveryOptions): Promise<Told> {
  const { letters, target = {}, deps = newDeps(), onOutcome, onReady, stay = false } = options;
  let offered = 0;
  const outcomes: [string, ...string[]][] = [];
  return new Promise((resolve) => {
    openConnection<Letter>(
      {
        host: 'sink.example',
        address: '127.0.0.1',
        port,
        tls: 'none',
        clientName: 'client.example',
        ...target,
      },
      deps,
      {
        ...(onReady === undefined ? {} : { onReady }),
        next: () => (offered < letters.length ? letters[offered++]! : null),
        onOutcome(transaction, facts, connection) {
          outcomes.push([transaction.name, ...facts.map(factText)]);
          if (outcomes.length === letters.length && !stay) connection.quit();
          onOutcome?.(connection);
        },
        onClosed: (cause, untouched, connection) =>
          resolve({ outcomes, cause, untouched: untouched.map(({ name }) => name), connection }),
      },
    );
  });
}

/** The other end of one connection, driven line by line. */
export class PeerSession {
  /** Everything received, for expectations. */
  received = '';
  #socket: Socket;
  #buffered = '';
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen(socket);
  }

  /** @returns the next line without CRLF; 'EOF' when the client has closed */
  async line(): Promise<string> {
    await this.#until(() => this.#buffered.includes('\r\n'));
    const end = this.#buffered.indexOf('\r\n');
    if (end === -1) return 'EOF';
    const text = this.#buffered.slice(0, end);
    this.#buffered = this.#buffered.slice(end + 2);
    return text;
  }

  /** @returns lines up to and with the first that matches */
  async linesTo(last: RegExp): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.line();
      lines.push(line);
      if (last.test(line) || line === 'EOF') return lines;
    }
  }

  async octets(count: number): Promise<string> {
    await this.#until(() => this.#buffered.length >= count);
    const text = this.#buffered.slice(0, count);
    this.#buffered = this.#buffered.slice(count);
    return text;
  }

  say(text: string): void {
    if (!this.#socket.destroyed) this.#socket.write(text.replaceAll('\n', '\r\n'), 'latin1');
  }

  /** Greets and answers EHLO. */
  async open(...keywords: readonly string[]): Promise<void> {
    this.say('220 peer.example\n');
    await this.ehlo(...keywords);
  }

  async ehlo(...keywords: readonly string[]): Promise<void> {
    await this.linesTo(/^EHLO/);
    const lines = ['peer.example', ...keywords];
    this.say(
      lines.map((text, at) => `250${at === lines.length - 1 ? ' ' : '-'}${text}\n`).join(''),
    );
  }

  /** Takes QUIT in good order. */
  async bye(): Promise<void> {
    await this.linesTo(/^QUIT$/);
    this.say('221 bye\n');
  }

  /** Becomes the TLS server. */
  secure(): Promise<void> {
    this.#socket.removeAllListeners('data');
    const { key, cert } = selfSigned(['sink.example']);
    const secured = new TLSSocket(this.#socket, {
      isServer: true,
      secureContext: createSecureContext({ key, cert }),
    });
    this.#socket = secured;
    this.#listen(secured);
    return new Promise((resolve) => {
      secured.once('secure', () => resolve());
    });
  }

  /** Reads no more. */
  pause(): void {
    this.#socket.pause();
  }

  close(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      this.received += text;
      this.#buffered += text;
      this.#wake?.();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  async #until(isMet: () => boolean): Promise<void> {
    while (!isMet() && !this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** A peer that runs `script` on each connection. @returns its port */
export async function startPeer(
  script: (session: PeerSession, connection: number) => Promise<void>,
): Promise<number> {
  let connections = 0;
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    connections += 1;
    void script(new PeerSession(socket), connections);
  });
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve());
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}
