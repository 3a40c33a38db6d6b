/**
 * One query's life: who asks, what is asked, cache, the exchange of somebody else or one of its own. What an
 * exchange came to is landings.ts, how answers leave replies.ts.
 *
 * Two doors. {@link Service.answer} answers at once what needs no waiting: hits, refusals, errors; it
 * makes no promise, closure or object on a hit, and batched fronts will do without it. What it misses
 * goes to {@link Service.resolve}, which answers each query exactly once, within the deadline.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import { Attendants } from './attendants.ts';
import { answerWithoutIpv6 } from './bundle/no-ipv6.ts';
import { type CacheEntry, isFresh, isStale, renewableFromMs } from './cache/entry.ts';
import { parseKey, queryKey } from './cache/key.ts';
import type { CacheStore } from './cache/store.ts';
import type { ResolverConfig } from './config.ts';
import type { Counters, Transport } from './counters.ts';
import { Deadlines } from './deadlines.ts';
import type { Events } from './events.ts';
import { crowdedOut, NOT_RECURSIVE } from './extended-errors.ts';
import { Gate } from './gate.ts';
import { Landings } from './landings.ts';
import { LocalNames } from './local-names.ts';
import { refreshQuestion } from './refresh.ts';
import { type Client, Replies, type Waiter } from './replies.ts';
import { SECRET_OCTETS, ServerCookies } from './server-cookies.ts';
import { LANE } from './upstream/budget.ts';
import type { Forwarder } from './upstream/forward.ts';
import { type Flight, InFlight } from './upstream/in-flight.ts';
import { laneOf, type Question, questionOf } from './upstream/question.ts';
import { HEADER_OCTETS, RCODE } from './wire/constants.ts';
import { parseQuery, QueryVerdict } from './wire/message.ts';
import { writeError } from './wire/write.ts';

/** What {@link Service.answer} returns besides a number of octets. */
export const DROPPED = 0;
export const MISSED = -1;
export interface ServiceOptions {
  readonly config: ResolverConfig;
  readonly cache: CacheStore;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly wheel: TimerWheel;
  readonly forwarder: Forwarder;
  readonly random: Random;
  readonly log: Log;
  readonly events: Events;
}

export class Service {
  readonly inFlight: InFlight<Waiter>;
  readonly attendants: Attendants;
  localNames: LocalNames;
  #ipv6 = true;
  #forwarder: Forwarder;
  readonly #cache: CacheStore;
  readonly #counters: Counters;
  readonly #clock: Clock;
  readonly #gate: Gate;
  #deadlines: Deadlines;
  readonly #replies: Replies;
  readonly #landings: Landings;
  #patienceMs = 0;
  #prefetchHits = 0;

  constructor(options: ServiceOptions) {
    const { config, cache, counters, clock, wheel, forwarder } = options;
    this.#cache = cache;
    this.#counters = counters;
    this.#clock = clock;
    this.localNames = new LocalNames(config);
    this.#deadlines = new Deadlines(config.clients, config.deadline);
    const cookies = new ServerCookies(cookieSecrets(config, options.random));
    this.#gate = new Gate(config, cookies, counters);
    this.#forwarder = forwarder;
    this.#ipv6 = config.ipv6;
    const attendants = new Attendants(config, {
      clock,
      random: options.random,
      wheel,
      log: options.log,
      events: options.events,
      reachable: () => this.#forwarder.upstreams.some(({ up }) => up),
      peek: (key) => this.cacheOf(key).peek(key, 'answer'),
      refresh: (key) => this.refresh(key),
    });
    this.attendants = attendants;
    const { identity } = config;
    this.#replies = new Replies({ clock, counters, attendants, cookies, identity });
    this.#landings = new Landings(config, {
      clock,
      attendants,
      replies: this.#replies,
      cache,
    });
    this.inFlight = new InFlight(forwarder, wheel, config.in_flight, this.#landings);
    this.#landings.inFlight = this.inFlight;
    this.#setPace(config);
  }

  /** Takes over a configuration whose differences are live; questions under way end as they began. */
  reconfigure(config: ResolverConfig, forwarder: Forwarder, localNames: LocalNames): void {
    this.localNames = localNames;
    this.#deadlines = new Deadlines(config.clients, config.deadline);
    this.#landings.reconfigure(config);
    this.#setPace(config);
    this.#ipv6 = config.ipv6;
    this.#forwarder = forwarder;
    this.inFlight.use(forwarder, config.in_flight);
    this.attendants.reconfigure(config);
  }

  #setPace({ stale_after, stale_ttl, cache }: ResolverConfig): void {
    this.#patienceMs = stale_after;
    this.#replies.staleTtlSeconds = Math.floor(stale_ttl / 1000);
    this.#prefetchHits = cache.prefetch;
  }

  /** The cache that keeps the key: DNSBL zones have their own. */
  cacheOf(key: string): CacheStore {
    return this.attendants.dnsbl.cacheOf(key, this.#cache);
  }

  /** Clients were answered from the fresh entry, here or by a front: it may be worth renewing. */
  onServed(key: string, entry: CacheEntry | undefined, nowMs: number): void {
    if (this.#prefetchHits === 0 || entry === undefined || !isFresh(entry, nowMs)) return;
    if (nowMs < renewableFromMs(entry) || this.inFlight.get(key) !== undefined) return;
    if (this.#isDue(key, entry, nowMs)) this.attendants.queue.add(key, 'prefetch');
  }

  /** Expired, or popular and about to expire. */
  #isDue(key: string, entry: CacheEntry, nowMs: number): boolean {
    if (!isFresh(entry, nowMs)) return true;
    if (this.#prefetchHits === 0 || nowMs < renewableFromMs(entry)) return false;
    return this.cacheOf(key).hits(key) >= this.#prefetchHits;
  }

  /**
   * Asks for what nobody waits for, in the lane of refreshes.
   * @returns the question now under way; null when the answer is fresh or under way, or there is no room
   */
  refresh(key: string): Question | null {
    const nowMs = this.#clock.monotonicMs();
    const entry = this.cacheOf(key).peek(key, 'answer');
    if (this.inFlight.get(key) !== undefined) return null;
    if (entry !== undefined && !this.#isDue(key, entry, nowMs)) return null;
    if (this.#denialAbove(key, nowMs) !== null) return null;
    return this.inFlight.start(key, refreshQuestion(key), nowMs)?.question ?? null;
  }

  /**
   * Answers at once what can be.
   *
   * @param message the query, borrowed
   * @param address numeric, of the client
   * @param out     takes the answer; ANSWER_OCTETS_MAX octets
   * @returns octets of the answer in `out`; DROPPED when there is nothing to answer; MISSED when the
   *   query must go to {@link resolve}
   */
  answer(message: Uint8Array, transport: Transport, address: string, out: Uint8Array): number {
    const octets = this.#answerAtOnce(message, transport, address, out);
    return octets <= 0 ? octets : this.#replies.complete(out, octets, message, transport, address);
  }

  #answerAtOnce(
    message: Uint8Array,
    transport: Transport,
    address: string,
    out: Uint8Array,
  ): number {
    const replies = this.#replies;
    const { view } = replies;
    const verdict = parseQuery(message, view);
    if (verdict === QueryVerdict.drop) {
      this.#counters.drops[message.length < HEADER_OCTETS ? 'short' : 'response'] += 1;
      return DROPPED;
    }
    this.#counters.countQuery(transport, view.qtype);
    const nowMs = this.#clock.monotonicMs();
    const turned = this.#gate.turn(message, view, transport, address, nowMs, replies.wallSeconds);
    if (turned !== null) {
      const { answer, source } = turned;
      if (answer !== null) out.set(answer);
      if (source !== null) replies.count(source, out, nowMs);
      return answer?.length ?? DROPPED;
    }
    const key = queryKey(message, view);
    const cache = this.cacheOf(key);
    const entry = cache.get(key);
    if (entry !== undefined && isFresh(entry, nowMs)) {
      this.attendants.onHit(key);
      this.attendants.ledger.countLookup(key, 'answer');
      const octets = replies.render(entry, message, transport, nowMs, out);
      if (transport === 'udp') cache.offer(key, entry);
      this.onServed(key, entry, nowMs);
      replies.count('cache', out, nowMs);
      return octets;
    }
    const failure = cache.getFailure(key);
    if (failure === undefined || !isFresh(failure, nowMs)) return MISSED;
    const serveStale = entry !== undefined && isStale(entry, nowMs);
    const octets = replies.render(serveStale ? entry : failure, message, transport, nowMs, out);
    this.attendants.ledger.countLookup(key, serveStale ? 'stale' : 'failure');
    replies.count(serveStale ? 'stale' : 'failure', out, nowMs);
    return octets;
  }

  /**
   * Answers what {@link answer} missed, through `client.send`, exactly once unless we are stopped.
   *
   * @param message the query as {@link answer} had it; copied
   */
  resolve(message: Uint8Array, client: Client): void {
    const replies = this.#replies;
    const { view } = replies;
    if (parseQuery(message, view) !== QueryVerdict.ok) return;
    const nowMs = this.#clock.monotonicMs();
    const local =
      this.localNames.answer(message, view) ??
      (this.#ipv6 ? null : answerWithoutIpv6(message, view));
    if (local !== null) {
      replies.sendOwn(local, message, client, 'local', nowMs);
      return;
    }
    const key = queryKey(message, view);
    const denial = this.#denialAbove(key, nowMs);
    if (denial !== null) {
      this.#sendDenial(key, denial, message, client, nowMs);
      return;
    }
    const entry = this.cacheOf(key).get(key);
    const stale = entry !== undefined && isStale(entry, nowMs) ? entry : null;
    let flight = this.#flightToJoin(key);
    const source = flight === undefined ? 'upstream' : 'coalesced';
    if (flight === undefined && !view.rd) {
      const refusal = writeError(message, view, RCODE.REFUSED, NOT_RECURSIVE);
      replies.sendOwn(refusal, message, client, 'refused', nowMs);
      return;
    }
    if (flight === undefined) flight = this.#takeOff(key, message, nowMs);
    else this.attendants.onHit(key);
    const dueAtMs = nowMs + this.#deadlines.of(client.address);
    const waiter: Waiter = { client, query: message.slice(), arrivedAtMs: nowMs, dueAtMs, source };
    if (stale !== null && (flight === undefined || this.#isHopeless(flight))) {
      replies.sendEntry(key, stale, waiter, 'stale', nowMs);
    } else if (flight === undefined || !this.inFlight.join(flight, waiter)) {
      const isDnsbl = this.attendants.dnsbl.zoneOf(key) !== null;
      const reason = crowdedOut(isDnsbl, this.#forwarder.waitsForBudget);
      replies.sendOwn(
        writeError(message, view, RCODE.SERVFAIL, reason),
        message,
        client,
        'failure',
        nowMs,
      );
    } else if (stale !== null) {
      this.inFlight.setPatience(flight, this.#patienceMs);
    }
  }

  /**
   * The denial that follows from one of a name above, unless that contradicts what was true lately, or
   * crosses into a zone with upstreams of its own. Block lists are not cut: their names are no tree.
   */
  #denialAbove(key: string, nowMs: number): CacheEntry | null {
    const cache = this.cacheOf(key);
    if (cache.cuts === null) return null;
    const apexOctets = this.#forwarder.zones.apexOctetsOf(parseKey(key).name);
    const denial = cache.denialAbove(key, apexOctets, nowMs);
    if (denial === null) return null;
    const previous = cache.peek(key, 'answer');
    return this.attendants.guard.doubts(key, denial, previous, nowMs) === null ? denial : null;
  }

  #sendDenial(
    key: string,
    denial: CacheEntry,
    message: Uint8Array,
    client: Client,
    nowMs: number,
  ): void {
    this.#cache.cuts!.usedTotal += 1;
    const waiter: Waiter = {
      client,
      query: message,
      arrivedAtMs: nowMs,
      dueAtMs: nowMs,
      source: 'upstream',
    };
    this.#replies.sendEntry(key, denial, waiter, 'cache', nowMs);
  }

  /** The flight of the key; but one that nobody waits for, and that waits for the budget, makes room. */
  #flightToJoin(key: string): Flight<Waiter> | undefined {
    const flight = this.inFlight.get(key);
    if (flight === undefined || flight.question.lane !== LANE.refresh) return flight;
    if (flight.waiters.length > 0 || !flight.forwarding.waitsForBudget) return flight;
    this.inFlight.giveUp(flight);
    this.attendants.onFlightEnd(flight);
    return undefined;
  }

  /** @returns undefined when there is no room */
  #takeOff(key: string, message: Uint8Array, nowMs: number): Flight<Waiter> | undefined {
    const { view } = this.#replies;
    const { dnsbl } = this.attendants;
    const isDnsbl = dnsbl.zoneOf(key) !== null;
    if (isDnsbl && !dnsbl.begin()) return undefined;
    const question = questionOf(message, view, isDnsbl ? LANE.reverse : laneOf(view.qtype));
    const flight = this.inFlight.start(key, question, nowMs);
    if (flight === null && isDnsbl) dnsbl.end();
    return flight ?? undefined;
  }

  /** Nothing can be expected of it soon enough to keep a client waiting who could have stale data. */
  #isHopeless(flight: Flight<Waiter>): boolean {
    const { forwarding, patienceEnded } = flight;
    return patienceEnded || forwarding.waitsForBudget || forwarding.allDown;
  }
}

const cookieSecrets = (
  { cookie_secrets }: ResolverConfig,
  random: Random,
): readonly Uint8Array[] =>
  cookie_secrets.length > 0
    ? cookie_secrets.map((hex) => Buffer.from(hex, 'hex'))
    : [Uint8Array.from({ length: SECRET_OCTETS }, () => random.integer(256))];
