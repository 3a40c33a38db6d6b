/**
 * An SMTP client that injects many messages over several sessions, and survives the server's death:
 * it knows for each letter whether the server has acknowledged it, which is all that may be relied on.
 *
 * Invariants
 * - A letter is acknowledged at most once; after that it is never sent again.
 * - A letter whose session died before the final reply is sent again, and counted as resent: the
 *   server may have taken it all the same.
 * - MAIL, RCPT and DATA travel together (PIPELINING), the content after 354: two round trips a letter.
 */
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Letter {
  /** Unique within the run. */
  readonly id: string;
  /** Without angle brackets. */
  readonly reversePath: string;
  readonly recipients: readonly string[];
  /** Of MAIL, such as "MT-PRIORITY=4". */
  readonly parameters?: string;
  /** Parts of the content, sent one after the other: CRLF line endings, dot-stuffed, ending with CRLF. */
  readonly content: readonly Uint8Array[];
}

export interface InjectionOptions {
  readonly address: string;
  readonly port: number;
  readonly sessions: number;
  readonly letters: Iterator<Letter> | AsyncIterator<Letter>;
  /** Called once for each letter that got its 250. */
  readonly onAcknowledged?: (letter: Letter) => void;
  /** Wait after a refusal for now (4xx) or a lost session; default 100. */
  readonly retryMs?: number;
  /** Attempts per letter before it counts as failed; default 100. */
  readonly attemptsMax?: number;
  /** A session ends after so many letters, and another is begun; default: it stays. */
  readonly lettersPerSession?: number;
  /** Ends injection at once; letters under way fail. */
  readonly signal?: AbortSignal;
}

export interface InjectionResult {
  readonly acknowledged: number;
  /** Letters refused for good, or given up after attemptsMax: id → last reply or error. */
  readonly failed: ReadonlyMap<string, string>;
  /** Refusals for now (4xx), repeated ones included. */
  readonly deferrals: number;
  /** Letters sent again because a session died before their final reply. */
  readonly resent: ReadonlySet<string>;
  readonly connections: number;
  /** What befell attempts to connect that came to no answer to EHLO, repeated ones included. */
  readonly refusals: readonly string[];
}

const REPLY_TIMEOUT_MS = 60_000;
const RETRY_MS = 100;
const ATTEMPTS_MAX = 100;
const REPLY_OCTETS_MAX = 65_536;
const FINAL_DOT = Buffer.from('.\r\n');

/** One SMTP session; every method rejects once the connection is lost. */
class Session {
  readonly #socket: Socket;
  #buffered = '';
  #waiting: { resolve: (reply: string) => void; reject: (error: Error) => void } | null = null;
  #lost: Error | null = null;

  constructor(address: string, port: number) {
    this.#socket = connect({ port, host: address, noDelay: true });
    this.#socket.setEncoding('latin1');
    this.#socket.setTimeout(REPLY_TIMEOUT_MS, () => this.#lose(new Error('no reply in time')));
    this.#socket.on('data', (chunk) => this.#take(String(chunk)));
    this.#socket.on('error', (error) => this.#lose(error));
    this.#socket.on('close', () => this.#lose(new Error('connection closed')));
  }

  async open(name: string): Promise<void> {
    requireCode(await this.reply(), '220');
    this.#socket.write(`EHLO ${name}\r\n`);
    requireCode(await this.reply(), '250');
  }

  /** @returns the reply that decides about the letter: the first refusal, or the final 250 */
  async send(letter: Letter): Promise<string> {
    const recipients = letter.recipients.map((address) => `RCPT TO:<${address}>\r\n`).join('');
    const parameters = letter.parameters === undefined ? '' : ` ${letter.parameters}`;
    this.#socket.write(`MAIL FROM:<${letter.reversePath}>${parameters}\r\n${recipients}DATA\r\n`);
    let refusal: string | null = null;
    for (let expected = 1 + letter.recipients.length; expected > 0; expected -= 1) {
      const reply = await this.reply();
      if (!reply.startsWith('250')) refusal ??= reply;
    }
    const go = await this.reply();
    if (!go.startsWith('354')) {
      this.#socket.write('RSET\r\n');
      await this.reply();
      return refusal ?? go;
    }
    // Some recipients were taken and some not: too odd for a load run, so the whole letter fails.
    this.#socket.cork();
    for (const part of letter.content) this.#socket.write(part);
    this.#socket.write(FINAL_DOT);
    this.#socket.uncork();
    const final = await this.reply();
    return refusal ?? final;
  }

  /** The next reply, its lines joined by LF; a session waits for one at a time. */
  reply(): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#settle();
    });
  }

  quit(): void {
    this.#socket.end('QUIT\r\n');
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #take(chunk: string): void {
    this.#buffered += chunk;
    if (this.#buffered.length > REPLY_OCTETS_MAX) this.#lose(new Error('endless reply'));
    this.#settle();
  }

  #settle(): void {
    if (this.#waiting === null) return;
    const match = /^(?:\d{3}-.*\r\n)*\d{3}(?: .*)?\r\n/.exec(this.#buffered);
    if (match !== null) {
      this.#buffered = this.#buffered.slice(match[0].length);
      const { resolve } = this.#waiting;
      this.#waiting = null;
      resolve(match[0].trimEnd());
    } else if (this.#lost !== null) {
      const { reject } = this.#waiting;
      this.#waiting = null;
      reject(this.#lost);
    }
  }

  #lose(error: Error): void {
    this.#lost ??= error;
    this.#socket.destroy();
    this.#settle();
  }
}

function requireCode(reply: string, code: string): void {
  if (!reply.startsWith(code)) throw new Error(reply);
}

/** One session's worth of injection, with a new connection whenever the old one is lost. */
class Worker {
  deferrals = 0;
  connections = 0;
  readonly resent = new Set<string>();
  readonly refusals: string[] = [];
  readonly #options: InjectionOptions;
  #session: Session | null = null;
  #lettersOfSession = 0;

  constructor(options: InjectionOptions) {
    this.#options = options;
    options.signal?.addEventListener('abort', () => this.#session?.destroy());
  }

  /** @returns the last reply or error; it starts with 250 only when the letter is acknowledged */
  async deliver(letter: Letter): Promise<string> {
    const { attemptsMax = ATTEMPTS_MAX, retryMs = RETRY_MS } = this.#options;
    let last = 'not tried';
    for (let attempt = 0; attempt < attemptsMax && !this.#stopped(); attempt += 1) {
      last = await this.#attempt(letter);
      if (/^[25]/.test(last)) return last;
      await sleep(retryMs);
    }
    return last;
  }

  close(): void {
    this.#session?.quit();
  }

  #stopped(): boolean {
    return this.#options.signal?.aborted === true;
  }

  async #attempt(letter: Letter): Promise<string> {
    let sent = false;
    try {
      const session = this.#session ?? (await this.#open());
      sent = true;
      const reply = await session.send(letter);
      this.#lettersOfSession += 1;
      if (this.#lettersOfSession >= (this.#options.lettersPerSession ?? Number.POSITIVE_INFINITY)) {
        session.quit();
        this.#session = null;
      }
      if (reply.startsWith('4')) this.deferrals += 1;
      return reply;
    } catch (error) {
      this.#session?.destroy();
      this.#session = null;
      if (sent) this.resent.add(letter.id);
      return String(error);
    }
  }

  async #open(): Promise<Session> {
    const session = new Session(this.#options.address, this.#options.port);
    this.#session = session;
    this.#lettersOfSession = 0;
    try {
      await session.open('injector.example');
    } catch (error) {
      this.refusals.push(String(error));
      throw error;
    }
    this.connections += 1;
    return session;
  }
}

/** Injects every letter; resolves when each is acknowledged or has failed. */
export async function inject(options: InjectionOptions): Promise<InjectionResult> {
  const workers = Array.from({ length: options.sessions }, () => new Worker(options));
  const failed = new Map<string, string>();
  let acknowledged = 0;
  const run = async (worker: Worker): Promise<void> => {
    const { letters } = options;
    for (let next = await letters.next(); next.done !== true; next = await letters.next()) {
      const reply = await worker.deliver(next.value);
      if (reply.startsWith('250')) {
        acknowledged += 1;
        options.onAcknowledged?.(next.value);
      } else {
        failed.set(next.value.id, reply);
      }
      if (options.signal?.aborted === true) break;
    }
    worker.close();
  };
  await Promise.all(workers.map(run));
  return {
    acknowledged,
    failed,
    deferrals: workers.reduce((sum, worker) => sum + worker.deferrals, 0),
    resent: new Set(workers.flatMap((worker) => [...worker.resent])),
    connections: workers.reduce((sum, worker) => sum + worker.connections, 0),
    refusals: workers.flatMap((worker) => worker.refusals),
  };
}
