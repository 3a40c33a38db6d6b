/**
 * Events for one HTTP endpoint: kept on disk, sent in order, signed, and sent again until they are taken.
 *
 * Invariants
 * - One request is under way at a time, and the next lines go only when these were taken (2xx).
 * - What was not taken stays in the journal, across restarts; a receiver may see a batch twice, with the
 *   same Postilion-Batch.
 */
import { createHmac } from 'node:crypto';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { EventName, EventSink } from './events.ts';
import type { Batch, Journal } from './journal.ts';

/** Events in one request. */
const BATCH_MAX = 200;
const BACK_OFF_MS_FIRST = 1_000;
const BACK_OFF_MS_MAX = 300_000;
export const REQUEST_TIMEOUT_MS = 10_000;
const SUCCESS = /^2\d\d$/;

export interface WebhookOptions {
  readonly name: string;
  readonly url: string;
  /** Key of the signature. */
  readonly secret: string;
  /** Events of other names are not sent. */
  readonly events: ReadonlySet<EventName>;
  readonly journal: Journal;
  /** @returns the status code. @throws when there was none */
  readonly post: (url: string, headers: Record<string, string>, body: string) => Promise<number>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class Webhook implements EventSink {
  readonly #options: WebhookOptions;
  #sending: Promise<void> | null = null;
  #timer: Timer | null = null;
  #failures = 0;
  #stopping = false;

  constructor(options: WebhookOptions) {
    this.#options = options;
    const { journal } = options;
    journal.onLines = () => this.#wake();
    journal.onTrouble = (error) => this.#failed(`the journal cannot be written: ${String(error)}`);
    this.#wake();
  }

  /** Of events that wait for the endpoint. */
  get octets(): number {
    return this.#options.journal.octets;
  }

  /** Why events wait, in a sentence, or null. */
  get trouble(): string | null {
    const { name } = this.#options;
    if (this.#failures === 0) return null;
    return `webhook ${name} does not take events; ${this.octets} octets of them wait`;
  }

  write(line: string, event: EventName): void {
    if (this.#options.events.has(event)) this.#options.journal.append(line);
  }

  /** Resolves when what was written is in the journal, or cannot be. */
  flushed(): Promise<void> {
    return this.#options.journal.flushed();
  }

  /** What is not sent stays on disk. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#timer?.cancel();
    await this.#options.journal.flushed();
    await this.#sending;
    await this.#options.journal.close();
  }

  #wake(): void {
    if (this.#stopping || this.#timer !== null) return;
    this.#sending ??= this.#send();
  }

  async #send(): Promise<void> {
    const { journal } = this.#options;
    try {
      while (!this.#stopping) {
        const batch = await journal.read(BATCH_MAX);
        if (batch === null) break;
        const status = await this.#post(batch);
        if (!SUCCESS.test(String(status))) {
          this.#failed(`it answered ${status}`);
          break;
        }
        this.#failures = 0;
        await journal.commit(batch.next);
      }
    } catch (error) {
      this.#failed(error instanceof Error ? error.message : String(error));
    }
    this.#sending = null;
  }

  /**
   * Postilion-Signature: t=<unix seconds>,v1=<hex of HMAC-SHA-256 of "<t>.<body>">; a receiver computes
   * it anew, and refuses what is old.
   */
  #post({ lines }: Batch): Promise<number> {
    const { url, secret, post, clock, journal } = this.#options;
    const body = `[${lines.join(',')}]`;
    const seconds = Math.floor(clock.wallMs() / 1000);
    const mac = createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex');
    const { segment, offset } = journal.cursor;
    return post(
      url,
      {
        'content-type': 'application/json',
        'postilion-signature': `t=${seconds},v1=${mac}`,
        'postilion-batch': `${segment}-${offset}`,
      },
      body,
    );
  }

  #failed(text: string): void {
    const { name, clock, random, log, journal } = this.#options;
    const doubledMs = Math.min(BACK_OFF_MS_FIRST * 2 ** this.#failures, BACK_OFF_MS_MAX);
    const waitMs = doubledMs * (0.9 + 0.2 * random.fraction());
    this.#failures = Math.min(this.#failures + 1, 20);
    log.warn({ webhook: name, retryInMs: Math.round(waitMs), octets: journal.octets }, text);
    if (this.#stopping) return;
    this.#timer?.cancel();
    this.#timer = clock.after(waitMs, () => {
      this.#timer = null;
      journal.retry();
      this.#wake();
    });
  }
}
