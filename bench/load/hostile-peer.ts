/**
 * MX hosts that misbehave, one way each: the other half of a hostile farm. Like the sink they keep
 * nothing; unlike it they are wrong on purpose.
 *
 * Invariant: what a peer counts as taken it has acknowledged with a reply that was written before
 * anything went wrong.
 */
import { createServer, type Socket } from 'node:net';
import type { Endpoint } from '../../runtime/settings.ts';

export const MISBEHAVIOURS = [
  'closes at once',
  'resets at once',
  'closes after EHLO',
  'closes after MAIL',
  'closes after RCPT',
  'closes in the content',
  'closes after the content',
  'says 421 to RCPT',
  'says 421 after a message',
  'says 554 as greeting',
  'replies with two codes in one',
  'replies without end',
  'replies in nonsense',
  'never greets',
  'falls silent after MAIL',
  'never replies to content',
  'stops reading in the content',
  'offers STARTTLS and speaks on in clear',
  'offers STARTTLS and hangs up',
  'injects octets before TLS',
  'refuses content after 354',
  'refuses every other recipient',
  'defers everything',
  'doubles the reply to content',
  'leaves out a reply to content',
  'does not know the BDAT it offers',
] as const;
export type Misbehaviour = (typeof MISBEHAVIOURS)[number];

export interface HostilePeer {
  /** Recipients acknowledged. */
  taken(): number;
  close(): Promise<void>;
}

/** Octets of an unfinished line. */
const LINE_MAX = 10_000;

export function startHostilePeer(at: Endpoint, how: Misbehaviour): Promise<HostilePeer> {
  const sockets = new Set<Socket>();
  let taken = 0;
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    new Conversation(socket, how, (recipients) => {
      taken += recipients;
    }).begin();
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: at.address, port: at.port, backlog: 1024 }, () =>
      resolve({
        taken: () => taken,
        close: () =>
          new Promise((done) => {
            for (const socket of sockets) socket.destroy();
            server.close(() => done());
          }),
      }),
    );
  });
}

class Conversation {
  readonly #socket: Socket;
  readonly #how: Misbehaviour;
  readonly #onTaken: (recipients: number) => void;
  #rest = '';
  #recipients = 0;
  #asked = 0;
  #messages = 0;
  /** Octets of BDAT still to come, or -1 in DATA, or 0 in commands. */
  #content = 0;

  constructor(socket: Socket, how: Misbehaviour, onTaken: (recipients: number) => void) {
    this.#socket = socket;
    this.#how = how;
    this.#onTaken = onTaken;
  }

  begin(): void {
    const how = this.#how;
    if (how === 'resets at once') return void this.#socket.resetAndDestroy();
    if (how === 'closes at once') return void this.#socket.destroy();
    this.#socket.on('data', (chunk: Buffer) => this.#take(chunk.toString('latin1')));
    if (how === 'never greets') return;
    if (how === 'says 554 as greeting') return void this.#leave('554 5.7.1 not you');
    if (how === 'replies without end')
      return void this.#say(`220-${'x'.repeat(500)}\r\n`.repeat(500));
    this.#say(how === 'replies in nonsense' ? 'hello there\r\n' : '220 peer.example ESMTP\r\n');
  }

  #take(text: string): void {
    this.#rest += text;
    while (this.#rest !== '' && !this.#socket.destroyed) {
      if (this.#content !== 0) {
        if (!this.#takeContent()) return;
        continue;
      }
      const end = this.#rest.indexOf('\r\n');
      if (end === -1) {
        if (this.#rest.length > LINE_MAX) this.#socket.destroy();
        return;
      }
      const line = this.#rest.slice(0, end);
      this.#rest = this.#rest.slice(end + 2);
      this.#command(line);
    }
  }

  /** @returns false when more must come */
  #takeContent(): boolean {
    if (this.#how === 'closes in the content') this.#socket.destroy();
    if (this.#how === 'stops reading in the content') {
      this.#socket.pause();
      return false;
    }
    const dot = this.#content === -1 ? this.#rest.indexOf('\r\n.\r\n') : -1;
    const octets = this.#content === -1 ? dot + 5 : this.#content;
    if ((this.#content === -1 && dot === -1) || this.#rest.length < octets) return false;
    this.#rest = this.#rest.slice(octets);
    this.#content = 0;
    this.#endOfContent();
    return true;
  }

  #endOfContent(): void {
    const how = this.#how;
    this.#messages += 1;
    if (how === 'closes after the content') return void this.#socket.destroy();
    if (how === 'never replies to content') return;
    if (how === 'refuses content after 354') this.#say('554 5.6.0 not this\r\n');
    else if (this.#recipients === 0) this.#say('503 5.5.1 nobody\r\n');
    else if (how === 'leaves out a reply to content' && this.#messages % 3 === 0)
      return void this.#reset();
    else {
      this.#onTaken(this.#recipients);
      const taken = `250 2.0.0 taken as ${this.#messages}\r\n`;
      this.#say(how === 'doubles the reply to content' ? taken + taken : taken);
      if (how === 'says 421 after a message') return void this.#leave('421 4.3.2 enough');
    }
    this.#reset();
  }

  #command(line: string): void {
    const verb = line.slice(0, 4).toUpperCase();
    const how = this.#how;
    switch (verb) {
      case 'EHLO':
        return void this.#ehlo();
      case 'STAR':
        return void this.#startTls();
      case 'MAIL':
        if (how === 'closes after MAIL') return void this.#socket.destroy();
        if (how === 'falls silent after MAIL') return;
        return void this.#say(
          how === 'replies with two codes in one' ? '250-ok\r\n251 ok\r\n' : '250 2.1.0 ok\r\n',
        );
      case 'RCPT':
        return void this.#rcpt();
      case 'DATA':
        if (this.#recipients === 0) return void this.#say('503 5.5.1 nobody\r\n');
        this.#content = -1;
        return void this.#say('354 go\r\n');
      case 'BDAT':
        if (how === 'does not know the BDAT it offers') return void this.#leave('502 5.5.1 what');
        this.#content = Number(line.split(' ')[1]);
        return;
      case 'QUIT':
        return void this.#leave('221 2.0.0 bye');
      default:
        this.#reset();
        return void this.#say('250 2.0.0 reset\r\n');
    }
  }

  #ehlo(): void {
    if (this.#how === 'closes after EHLO') return void this.#socket.destroy();
    const tls = /TLS|STARTTLS/.test(this.#how) ? '250-STARTTLS\r\n' : '';
    this.#say(`250-peer.example\r\n${tls}250-CHUNKING\r\n250 PIPELINING\r\n`);
  }

  #startTls(): void {
    if (this.#how === 'offers STARTTLS and hangs up') return void this.#socket.destroy();
    const injected = this.#how === 'injects octets before TLS' ? '250 2.0.0 taken\r\n' : '';
    this.#say(`220 go\r\n${injected}`);
    if (injected === '') this.#say('250 still in clear\r\n');
  }

  #rcpt(): void {
    this.#asked += 1;
    if (this.#how === 'closes after RCPT') return void this.#socket.destroy();
    if (this.#how === 'says 421 to RCPT') return void this.#leave('421 4.3.2 not now');
    if (this.#how === 'defers everything') return void this.#say('451 4.3.0 later\r\n');
    if (this.#how === 'refuses every other recipient' && this.#asked % 2 === 0) {
      return void this.#say('550 5.1.1 no such user\r\n');
    }
    this.#recipients += 1;
    this.#say('250 2.1.5 ok\r\n');
  }

  #reset(): void {
    this.#recipients = 0;
  }

  #say(text: string): void {
    if (!this.#socket.destroyed) this.#socket.write(text, 'latin1');
  }

  #leave(text: string): void {
    this.#say(`${text}\r\n`);
    this.#socket.end();
  }
}
