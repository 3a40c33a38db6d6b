/**
 * How an answer leaves the core: rendered for the query at hand, with the options that its client wants,
 * counted, sent.
 *
 * Invariant: `view` is of the query that was parsed last; who calls here has just parsed the one it answers,
 * save sendEntry(), which parses its waiter's.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Attendants } from './attendants.ts';
import { type CacheEntry, RENDER_OCTETS_MAX, renderAnswer } from './cache/entry.ts';
import type { Counters, Source, Transport } from './counters.ts';
import { REPLY_OPTIONS_OCTETS_MAX, ReplyOptions } from './reply-options.ts';
import type { ServerCookies } from './server-cookies.ts';
import { MESSAGE_OCTETS_MAX } from './wire/constants.ts';
import { parseQuery, QueryView, udpLimitOctets } from './wire/message.ts';

/** Room that an answer wants. */
export const ANSWER_OCTETS_MAX = RENDER_OCTETS_MAX + REPLY_OPTIONS_OCTETS_MAX;
/** Idle time of a stream connection; RFC 7766 §6.2.3 suggests seconds. */
export const IDLE_MS = 20_000;

/** Who waits for an answer that takes time. */
export interface Client {
  readonly transport: Transport;
  readonly address: string;
  /** @param answer borrowed until this returns */
  send(answer: Uint8Array): void;
}

/** A client that waits for an exchange. */
export interface Waiter {
  readonly client: Client;
  /** Its query, owned here. */
  readonly query: Uint8Array;
  readonly arrivedAtMs: number;
  readonly dueAtMs: number;
  readonly source: 'upstream' | 'coalesced';
}

export interface RepliesParts {
  readonly clock: Clock;
  readonly counters: Counters;
  readonly attendants: Attendants;
  readonly cookies: ServerCookies;
  /** Told as NSID; "": nothing is. */
  readonly identity: string;
}

export class Replies {
  readonly view = new QueryView();
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #attendants: Attendants;
  readonly #options: ReplyOptions;
  /** Reused for every rendering. */
  readonly #how = { nowMs: 0, octetsMax: 0, staleTtlSeconds: 0 };
  readonly #scratch = new Uint8Array(ANSWER_OCTETS_MAX);

  constructor({ clock, counters, attendants, cookies, identity }: RepliesParts) {
    this.#clock = clock;
    this.#counters = counters;
    this.#attendants = attendants;
    this.#options = new ReplyOptions(cookies, identity, IDLE_MS);
  }

  /** Of answers that have expired. */
  set staleTtlSeconds(seconds: number) {
    this.#how.staleTtlSeconds = seconds;
  }

  readonly wallSeconds = (): number => Math.floor(this.#clock.wallMs() / 1000);

  /** @param query is what the view was parsed from. @returns octets in `out`, without options */
  render(
    entry: CacheEntry,
    query: Uint8Array,
    transport: Transport,
    nowMs: number,
    out: Uint8Array,
  ): number {
    this.#how.nowMs = nowMs;
    this.#how.octetsMax = this.#octetsMax(transport);
    return renderAnswer(entry, query, this.view, this.#how, out);
  }

  #octetsMax(transport: Transport): number {
    const octets = transport === 'udp' ? udpLimitOctets(this.view) : MESSAGE_OCTETS_MAX;
    return octets - this.#options.reserve(this.view, transport);
  }

  /** @param octets of the answer in `out`. @returns octets with the options that the client wants */
  complete(
    out: Uint8Array,
    octets: number,
    query: Uint8Array,
    transport: Transport,
    address: string,
  ): number {
    if (!this.#options.wanted(this.view, transport)) return octets;
    const client = { transport, address };
    return this.#options.append(out, octets, query, this.view, client, this.wallSeconds());
  }

  sendEntry(key: string, entry: CacheEntry, waiter: Waiter, source: Source, nowMs: number): void {
    const outcome = source === 'stale' || source === 'failure' ? source : 'answer';
    this.#attendants.ledger.countLookup(key, outcome);
    const { query, client } = waiter;
    parseQuery(query, this.view);
    const octets = this.render(entry, query, client.transport, nowMs, this.#scratch);
    this.count(source, this.#scratch, waiter.arrivedAtMs);
    this.#send(octets, query, client);
  }

  /** An answer that no entry holds. @param query is what the view was parsed from */
  sendOwn(
    answer: Uint8Array,
    query: Uint8Array,
    client: Client,
    source: Source,
    arrivedAtMs: number,
  ): void {
    this.count(source, answer, arrivedAtMs);
    this.#scratch.set(answer);
    this.#send(answer.length, query, client);
  }

  /** Sends what is in the scratch buffer. */
  #send(octets: number, query: Uint8Array, client: Client): void {
    const { transport, address } = client;
    const whole = this.complete(this.#scratch, octets, query, transport, address);
    client.send(this.#scratch.subarray(0, whole));
  }

  count(source: Source, answer: Uint8Array, arrivedAtMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#counters.countAnswer(source, answer[3]! & 0x0f, nowMs - arrivedAtMs);
    this.#attendants.queryLog.note(answer, source, nowMs - arrivedAtMs, nowMs);
  }
}
