/** Owns where events go: the file, and every webhook with its journal; opens them, and closes them in order. */
import { join } from 'node:path';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { MtaConfig } from '../config.ts';
import { EventFile } from './event-file.ts';
import { EVENT_NAMES, type EventSink, fan } from './events.ts';
import { Journal } from './journal.ts';
import { post } from './post.ts';
import { Webhook } from './webhooks.ts';

/** In the spool's folder. */
const WEBHOOKS_FOLDER = 'webhooks';

export type OutletSettings = Pick<
  MtaConfig,
  'events' | 'events_bytes' | 'events_files' | 'webhooks' | 'spool'
>;

export interface OutletDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export class EventOutlets {
  readonly #file: EventFile | null;
  readonly #webhooks: readonly Webhook[];
  /** null when nobody wants events. */
  readonly sink: EventSink | null;

  private constructor(file: EventFile | null, webhooks: readonly Webhook[]) {
    this.#file = file;
    this.#webhooks = webhooks;
    const sinks = [...(file === null ? [] : [file]), ...webhooks];
    this.sink = sinks.length === 0 ? null : fan(sinks);
  }

  /** @throws the system's error when a file or folder cannot be opened */
  static async open(settings: OutletSettings, deps: OutletDeps): Promise<EventOutlets> {
    const webhooks: Webhook[] = [];
    for (const [name, { url, secret, events }] of Object.entries(settings.webhooks)) {
      const journal = await Journal.open(join(settings.spool, WEBHOOKS_FOLDER, name));
      const wanted = new Set(events ?? EVENT_NAMES);
      webhooks.push(new Webhook({ name, url, secret, events: wanted, journal, post, ...deps }));
    }
    const { events: path, events_bytes: octetsMax, events_files: filesMax } = settings;
    const { clock, log } = deps;
    const file =
      path === '' ? null : await EventFile.open({ path, octetsMax, filesMax, clock, log });
    return new EventOutlets(file, webhooks);
  }

  /** Resolves when the events written so far are on disk, or cannot be written. */
  async flushed(): Promise<void> {
    await Promise.all([
      this.#file?.flushed(),
      ...this.#webhooks.map((webhook) => webhook.flushed()),
    ]);
  }

  /** Octets that wait for the endpoint that is furthest behind. */
  get behindOctets(): number {
    return Math.max(0, ...this.#webhooks.map(({ octets }) => octets));
  }

  troubles(): string[] {
    return this.#webhooks.map(({ trouble }) => trouble).filter((trouble) => trouble !== null);
  }

  /** Goes on in a file of the configured name. */
  reopen(): void {
    this.#file?.reopen();
  }

  async close(): Promise<void> {
    await Promise.all([this.#file?.close(), ...this.#webhooks.map((webhook) => webhook.stop())]);
  }
}
