/**
 * The client of the mail benches: as cheap as it can be, so that what is measured is the server. Each
 * session has one letter under way; the content of one travels with the envelope of the next (RFC 2920
 * §3.1), so a letter takes one round trip and the server's commit.
 *
 * Invariants
 * - The next envelope is sent only behind a content, so no letter waits for a session that is stuck.
 * - Replies are taken in the order of commands. Whatever is refused ends the run: see injector.ts for a
 *   client that bears it.
 */
import { connect, type Socket } from 'node:net';
import type { Letter } from './injector.ts';

export interface MailInjection {
  readonly address: string;
  readonly port: number;
  readonly sessions: number;
  readonly letters: Iterator<Letter>;
  /** The server wants to have answered a content before the next envelope comes. */
  readonly oneByOne?: boolean | undefined;
}

const REPLY_TIMEOUT_MS = 60_000;
/** A reply's longest line, and what may precede its end. */
const PARTIAL_CHARACTERS_MAX = 65_536;

/** Replies that are due, in order. */
type Due = 'greeting' | 'ehlo' | 'envelope' | 'go' | 'taken' | 'bye';
const WANTED: Readonly<Record<Due, string>> = {
  greeting: '220',
  ehlo: '250',
  envelope: '250',
  go: '354',
  taken: '250',
  bye: '221',
};

/** @returns how many were taken: all of them */
export async function injectMail(injection: MailInjection): Promise<number> {
  const sessions = Array.from({ length: injection.sessions }, () => new Session(injection));
  try {
    await Promise.all(sessions.map(({ ended }) => ended));
  } finally {
    for (const session of sessions) session.destroy();
  }
  return sessions.reduce((sum, { taken }) => sum + taken, 0);
}

class Session {
  taken = 0;
  /** Resolves when there are no more letters and all were taken; rejects with the first refusal. */
  readonly ended: Promise<void>;
  readonly #letters: Iterator<Letter>;
  readonly #oneByOne: boolean;
  readonly #socket: Socket;
  #due: Due[] = ['greeting'];
  /** Its envelope has been sent. */
  #letter: Letter | null = null;
  #partial = '';
  #resolve: () => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;

  constructor({ address, port, letters, oneByOne = false }: MailInjection) {
    this.#letters = letters;
    this.#oneByOne = oneByOne;
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#socket = connect({ host: address, port, noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.setTimeout(REPLY_TIMEOUT_MS, () => this.#reject(new Error('no reply in time')));
    this.#socket.on('data', (text) => this.#take(String(text)));
    this.#socket.on('error', (error) => this.#reject(error));
    this.#socket.on('close', () => this.#reject(new Error('connection closed')));
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #take(chunk: string): void {
    const text = this.#partial === '' ? chunk : this.#partial + chunk;
    let at = 0;
    for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', at)) {
      // A hyphen behind the code: another line follows.
      if (text[at + 3] !== '-') this.#onReply(text, at, end);
      at = end + 1;
    }
    this.#partial = text.slice(at);
    if (this.#partial.length > PARTIAL_CHARACTERS_MAX) this.#reject(new Error('endless reply'));
  }

  #onReply(text: string, at: number, end: number): void {
    const due = this.#due.shift();
    if (due === undefined || !text.startsWith(WANTED[due], at)) {
      this.#reject(new Error(`${due ?? 'nothing'} was awaited: ${text.slice(at, end).trim()}`));
      this.#socket.destroy();
    } else if (due === 'greeting') this.#say('EHLO injector.example\r\n', 'ehlo');
    else if (due === 'ehlo') this.#socket.write(this.#nextEnvelope());
    else if (due === 'go') this.#sendContent();
    else if (due === 'taken') this.#onTaken();
    else if (due === 'bye') this.#resolve();
  }

  #onTaken(): void {
    this.taken += 1;
    if (this.#oneByOne) this.#socket.write(this.#nextEnvelope());
  }

  #say(text: string, due: Due): void {
    this.#due.push(due);
    this.#socket.write(text);
  }

  #sendContent(): void {
    const { content } = this.#letter!;
    this.#due.push('taken');
    this.#socket.cork();
    for (const part of content) this.#socket.write(part);
    this.#socket.write(this.#oneByOne ? '.\r\n' : `.\r\n${this.#nextEnvelope()}`);
    this.#socket.uncork();
  }

  /** @returns the commands of the next letter, or QUIT when there is none */
  #nextEnvelope(): string {
    const next = this.#letters.next();
    if (next.done === true) {
      this.#due.push('bye');
      return 'QUIT\r\n';
    }
    this.#letter = next.value;
    let commands = `MAIL FROM:<${next.value.reversePath}>\r\n`;
    this.#due.push('envelope');
    for (const recipient of next.value.recipients) {
      commands += `RCPT TO:<${recipient}>\r\n`;
      this.#due.push('envelope');
    }
    this.#due.push('go');
    return `${commands}DATA\r\n`;
  }
}
