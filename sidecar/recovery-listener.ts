/**
 * Hears from the resolver when DNS answers again (its `GET /v1/events`), so that mail which waits for it
 * does not wait longer.
 *
 * Invariants
 * - A connection that says nothing for SILENCE_MS, or more than LINE_OCTETS_MAX in one line, is given up.
 * - Without one the next is tried after RETRY_MS_FIRST, doubling to RETRY_MS_MAX; nothing depends on it, for
 *   mail is tried again in its time anyway.
 */
import type { ResolverEvent } from '../resolver/events.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';

const RETRY_MS_FIRST = 1_000;
const RETRY_MS_MAX = 30_000;
/** The resolver says something every 15 s. */
const SILENCE_MS = 45_000;
const LINE_OCTETS_MAX = 65_536;

export interface RecoveryListenerParts {
  /** "ADDRESS:PORT" of the resolver's admin HTTP. */
  readonly address: string;
  readonly clock: Clock;
  readonly log: Log;
  /** @param name null: DNS as a whole */
  readonly recovered: (name: string | null) => void;
}

export class RecoveryListener {
  readonly #parts: RecoveryListenerParts;
  #retryMs = RETRY_MS_FIRST;
  #connection: AbortController | null = null;
  #timer: Timer | null = null;
  #stopped = false;
  /** It was connected once, so that what happened since may have been missed. */
  #missed = false;

  constructor(parts: RecoveryListenerParts) {
    this.#parts = parts;
  }

  start(): void {
    void this.#listen();
  }

  /** Idempotent. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#connection?.abort();
  }

  async #listen(): Promise<void> {
    const { address, log, clock } = this.#parts;
    const connection = new AbortController();
    this.#connection = connection;
    const error = await this.#follow(connection).catch((thrown: unknown) => thrown);
    connection.abort();
    this.#timer?.cancel();
    if (this.#stopped) return;
    const retryInMs = this.#retryMs;
    this.#timer = clock.after(retryInMs, () => void this.#listen());
    this.#retryMs = Math.min(retryInMs * 2, RETRY_MS_MAX);
    log.debug({ resolver: address, retryInMs, error }, 'events of the resolver are not heard');
  }

  /** Resolves when the resolver ends the stream. @throws when it cannot be had, breaks or falls silent */
  async #follow(connection: AbortController): Promise<void> {
    const { address, log, recovered } = this.#parts;
    this.#watch(connection);
    const response = await fetch(`http://${address}/v1/events`, {
      signal: connection.signal,
      redirect: 'error',
    });
    if (!response.ok || response.body === null) {
      await response.body?.cancel();
      throw new Error(`${address} answered ${response.status}`);
    }
    log.debug({ resolver: address }, 'listening to events of the resolver');
    if (this.#missed) recovered(null);
    this.#missed = true;
    this.#retryMs = RETRY_MS_FIRST;
    let line = '';
    for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
      this.#watch(connection);
      const lines = `${line}${chunk}`.split('\n');
      line = lines.pop() ?? '';
      if (line.length > LINE_OCTETS_MAX) return;
      for (const each of lines) if (each.startsWith('data: ')) this.#take(each.slice(6));
    }
  }

  #watch(connection: AbortController): void {
    this.#timer?.cancel();
    this.#timer = this.#parts.clock.after(SILENCE_MS, () => connection.abort());
  }

  #take(text: string): void {
    const event = JSON.parse(text) as ResolverEvent;
    const { recovered, log } = this.#parts;
    if (event.event === 'name-recovered') recovered(event.name);
    else if (event.event === 'upstream-up' || event.event === 'reloaded') recovered(null);
    else return;
    log.debug({ event }, 'DNS answers again');
  }
}
