/**
 * One query's life: who asks, what is asked, cache, the exchange of somebody else, an exchange of its
 * own, admission, and the answer to everyone who waits.
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
import { type AdmissionLimits, admit } from './cache/admission.ts';
import {
  type CacheEntry,
  failureEntry,
  isFresh,
  isStale,
  RENDER_OCTETS_MAX,
  renderAnswer,
  renewableFromMs,
} from './cache/entry.ts';
import { parseKey, queryKey } from './cache/key.ts';
import type { CacheStore } from './cache/store.ts';
import type { ResolverConfig } from './config.ts';
import type { Counters, Source, Transport } from './counters.ts';
import { Deadlines } from './deadlines.ts';
import type { Events } from './events.ts';
import { crowdedOut, NOT_RECURSIVE, OVERDUE, unconfirmed } from './extended-errors.ts';
import { Gate } from './gate.ts';
import { LocalNames } from './local-names.ts';
import { refreshQuestion } from './refresh.ts';
import { REPLY_OPTIONS_OCTETS_MAX, ReplyOptions } from './reply-options.ts';
import { SECRET_OCTETS, ServerCookies } from './server-cookies.ts';
import { LANE } from './upstream/budget.ts';
import type { Forwarder, ForwardFailure } from './upstream/forward.ts';
import { type Flight, type FlightOwner, InFlight } from './upstream/in-flight.ts';
import { laneOf, type Question, questionOf } from './upstream/question.ts';
import type { Upstream } from './upstream/upstream.ts';
import { EXTENDED_ERROR, HEADER_OCTETS, MESSAGE_OCTETS_MAX, RCODE } from './wire/constants.ts';
import { readExtendedError } from './wire/extended-error.ts';
import { parseQuery, QueryVerdict, QueryView, udpLimitOctets } from './wire/message.ts';
import { type ExtendedError, writeError } from './wire/write.ts';

/** What {@link Service.answer} returns besides a number of octets. */
export const DROPPED = 0;
export const MISSED = -1;
/** Room that {@link Service.answer} wants for an answer. */
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

interface Waiter {
  readonly client: Client;
  /** Its query, owned here. */
  readonly query: Uint8Array;
  readonly arrivedAtMs: number;
  readonly dueAtMs: number;
  readonly source: 'upstream' | 'coalesced';
}

const limitsOf = ({ cache, stale }: ResolverConfig): AdmissionLimits => ({
  minTtlMs: cache.min_ttl,
  maxTtlMs: cache.max_ttl,
  byType: new Map(cache.types.map(({ type, ...bounds }) => [type, bounds])),
  maxNegativeTtlMs: cache.max_negative_ttl,
  failureTtlMs: cache.failure_ttl,
  staleMs: stale,
});

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

export class Service implements FlightOwner<Waiter> {
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
  #limits: AdmissionLimits;
  readonly #view = new QueryView();
  /** Reused for every rendering. */
  readonly #how = { nowMs: 0, octetsMax: 0, staleTtlSeconds: 0 };
  #patienceMs = 0;
  #recheckMs = 0;
  #prefetchHits = 0;
  readonly #scratch = new Uint8Array(ANSWER_OCTETS_MAX);
  readonly #replyOptions: ReplyOptions;
  readonly #wallSeconds = (): number => Math.floor(this.#clock.wallMs() / 1000);

  constructor(options: ServiceOptions) {
    const { config, cache, counters, clock, wheel, forwarder } = options;
    this.#cache = cache;
    this.#counters = counters;
    this.#clock = clock;
    this.localNames = new LocalNames(config);
    this.#deadlines = new Deadlines(config.clients, config.deadline);
    const cookies = new ServerCookies(cookieSecrets(config, options.random));
    this.#gate = new Gate(config, cookies, counters);
    this.#replyOptions = new ReplyOptions(cookies, config.identity, IDLE_MS);
    this.#limits = limitsOf(config);
    this.#setPace(config);
    this.#forwarder = forwarder;
    this.inFlight = new InFlight(forwarder, wheel, config.in_flight, this);
    this.#ipv6 = config.ipv6;
    this.attendants = new Attendants(config, {
      clock,
      random: options.random,
      wheel,
      log: options.log,
      events: options.events,
      reachable: () => this.#forwarder.upstreams.some(({ up }) => up),
      peek: (key) => this.cacheOf(key).peek(key, 'answer'),
      refresh: (key) => this.refresh(key),
    });
  }

  /** Takes over a configuration whose differences are live; questions under way end as they began. */
  reconfigure(config: ResolverConfig, forwarder: Forwarder, localNames: LocalNames): void {
    this.localNames = localNames;
    this.#deadlines = new Deadlines(config.clients, config.deadline);
    this.#limits = limitsOf(config);
    this.#setPace(config);
    this.#ipv6 = config.ipv6;
    this.#forwarder = forwarder;
    this.inFlight.use(forwarder, config.in_flight);
    this.attendants.reconfigure(config);
  }

  #setPace({ stale_after, stale_recheck, stale_ttl, cache }: ResolverConfig): void {
    this.#patienceMs = stale_after;
    this.#recheckMs = stale_recheck;
    this.#how.staleTtlSeconds = Math.floor(stale_ttl / 1000);
    this.#prefetchHits = cache.prefetch;
  }

  /** The cache that keeps the key: DNSBL zones have their own. */
  cacheOf(key: string): CacheStore {
    const { dnsbl } = this.attendants;
    return dnsbl.zoneOf(key) === null ? this.#cache : dnsbl.cache;
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
    if (octets <= 0 || !this.#replyOptions.wanted(this.#view, transport)) return octets;
    return this.#appendOptions(out, octets, message, { transport, address });
  }

  #answerAtOnce(
    message: Uint8Array,
    transport: Transport,
    address: string,
    out: Uint8Array,
  ): number {
    const view = this.#view;
    const verdict = parseQuery(message, view);
    if (verdict === QueryVerdict.drop) {
      this.#counters.drops[message.length < HEADER_OCTETS ? 'short' : 'response'] += 1;
      return DROPPED;
    }
    this.#counters.countQuery(transport, view.qtype);
    const nowMs = this.#clock.monotonicMs();
    const turned = this.#gate.turn(message, view, transport, address, nowMs, this.#wallSeconds);
    if (turned !== null) {
      const { answer, source } = turned;
      if (answer !== null) out.set(answer);
      if (source !== null) this.#count(source, out, nowMs);
      return answer?.length ?? DROPPED;
    }
    const key = queryKey(message, view);
    const cache = this.cacheOf(key);
    const entry = cache.get(key);
    this.#how.nowMs = nowMs;
    this.#how.octetsMax = this.#octetsMax(transport);
    if (entry !== undefined && isFresh(entry, nowMs)) {
      this.attendants.onHit(key);
      this.attendants.ledger.countLookup(key, 'answer');
      const octets = renderAnswer(entry, message, view, this.#how, out);
      if (transport === 'udp') cache.offer(key, entry);
      this.onServed(key, entry, nowMs);
      this.#count('cache', out, nowMs);
      return octets;
    }
    const failure = cache.getFailure(key);
    if (failure === undefined || !isFresh(failure, nowMs)) return MISSED;
    const serveStale = entry !== undefined && isStale(entry, nowMs);
    const octets = renderAnswer(serveStale ? entry : failure, message, view, this.#how, out);
    this.attendants.ledger.countLookup(key, serveStale ? 'stale' : 'failure');
    this.#count(serveStale ? 'stale' : 'failure', out, nowMs);
    return octets;
  }

  /**
   * Answers what {@link answer} missed, through `client.send`, exactly once unless we are stopped.
   *
   * @param message the query as {@link answer} had it; copied
   */
  resolve(message: Uint8Array, client: Client): void {
    const view = this.#view;
    if (parseQuery(message, view) !== QueryVerdict.ok) return;
    const nowMs = this.#clock.monotonicMs();
    const local =
      this.localNames.answer(message, view) ??
      (this.#ipv6 ? null : answerWithoutIpv6(message, view));
    if (local !== null) {
      this.#sendOwn(local, message, client, 'local', nowMs);
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
      this.#sendOwn(refusal, message, client, 'refused', nowMs);
      return;
    }
    if (flight === undefined) flight = this.#takeOff(key, message, nowMs);
    else this.attendants.onHit(key);
    const dueAtMs = nowMs + this.#deadlines.of(client.address);
    const waiter: Waiter = { client, query: message.slice(), arrivedAtMs: nowMs, dueAtMs, source };
    if (stale !== null && (flight === undefined || this.#isHopeless(flight))) {
      this.#sendEntry(key, stale, waiter, 'stale', nowMs);
    } else if (flight === undefined || !this.inFlight.join(flight, waiter)) {
      const isDnsbl = this.attendants.dnsbl.zoneOf(key) !== null;
      const reason = crowdedOut(isDnsbl, this.#forwarder.waitsForBudget);
      this.#sendOwn(
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
    this.#sendEntry(key, denial, waiter, 'cache', nowMs);
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
    const view = this.#view;
    const { dnsbl } = this.attendants;
    const isDnsbl = dnsbl.zoneOf(key) !== null;
    if (isDnsbl && !dnsbl.begin()) return undefined;
    const question = questionOf(message, view, isDnsbl ? LANE.reverse : laneOf(view.qtype));
    const flight = this.inFlight.start(key, question, nowMs);
    if (flight === null && isDnsbl) dnsbl.end();
    return flight ?? undefined;
  }

  onLanded(flight: Flight<Waiter>, message: Uint8Array, upstream: Upstream): void {
    const nowMs = this.#clock.monotonicMs();
    const admission = admit(message, nowMs, this.#limits, upstream.name);
    if (admission.verdict === 'malformed') {
      // It could be stepped through, or the forwarder had gone on; what it holds contradicts itself.
      const text = `${upstream.name}: malformed response (${admission.fault})`;
      this.#settleFailure(flight, { code: EXTENDED_ERROR.INVALID_DATA, text }, true);
      return;
    }
    const { key } = flight;
    const { entry } = admission;
    const cache = this.cacheOf(key);
    const previous = cache.peek(key, 'answer');
    const refusal = this.attendants.refusalOf(key, entry);
    if (refusal !== null) {
      this.#settleFailure(flight, refusal, true);
      return;
    }
    if (this.#doubts(flight, entry, previous, upstream)) return;
    const kept = this.attendants.uncap.uncapped(key, entry, previous, nowMs);
    if (admission.verdict === 'keep') cache.set(key, kept);
    this.attendants.onAdmitted(flight, kept, previous);
    this.#settle(flight, kept, null);
  }

  /**
   * Whether the answer must not be served: it contradicts what was true lately, and is now asked for
   * elsewhere within what is left of the deadline, or that cannot be done.
   */
  #doubts(
    flight: Flight<Waiter>,
    entry: CacheEntry,
    previous: CacheEntry | undefined,
    upstream: Upstream,
  ): boolean {
    const { guard } = this.attendants;
    const nowMs = this.#clock.monotonicMs();
    if (this.attendants.isSettled(flight, entry)) return false;
    const doubt = guard.doubts(flight.key, entry, previous, nowMs);
    if (doubt === null) return false;
    const withinMs = flight.startedAtMs + flight.deadlineMs - nowMs;
    const reason = `${upstream.name} says ${doubt}`;
    if (withinMs > 0 && guard.begin()) {
      const question = flight.question.confirming({ doubted: upstream, withinMs });
      flight.doubt = { reason, question };
      this.inFlight.confirm(flight, question);
      return true;
    }
    this.#settleFailure(flight, unconfirmed(reason), true);
    return true;
  }

  onLost(flight: Flight<Waiter>, failure: ForwardFailure): void {
    const said = failure.rejection === null ? null : readExtendedError(failure.rejection);
    const error =
      said === null
        ? failure.extendedError
        : {
            code: said.code,
            text: `${failure.extendedError.text}${said.text && `: ${said.text}`}`,
          };
    const told =
      flight.doubt === null ? error : unconfirmed(`${flight.doubt.reason}; ${error.text}`);
    // A budget says nothing of the name, so the next who asks may be luckier.
    this.#settleFailure(flight, told, failure.kind !== 'budget');
  }

  onPatienceEnd(flight: Flight<Waiter>): void {
    const nowMs = this.#clock.monotonicMs();
    const entry = this.cacheOf(flight.key).get(flight.key);
    if (entry === undefined || !isStale(entry, nowMs)) return;
    for (const waiter of this.inFlight.release(flight)) {
      this.#sendEntry(flight.key, entry, waiter, 'stale', nowMs);
    }
  }

  onOverdue(flight: Flight<Waiter>, waiters: readonly Waiter[]): void {
    const nowMs = this.#clock.monotonicMs();
    const entry = this.cacheOf(flight.key).get(flight.key);
    const stale = entry !== undefined && isStale(entry, nowMs) ? entry : null;
    const { query, questionEnd } = flight.question;
    const overdue = stale ?? failureEntry(query, questionEnd, nowMs, 0, OVERDUE);
    const source = stale === null ? 'failure' : 'stale';
    for (const waiter of waiters) this.#sendEntry(flight.key, overdue, waiter, source, nowMs);
  }

  /** Nothing can be expected of it soon enough to keep a client waiting who could have stale data. */
  #isHopeless(flight: Flight<Waiter>): boolean {
    const { forwarding, patienceEnded } = flight;
    return patienceEnded || forwarding.waitsForBudget || forwarding.allDown;
  }

  /** Remembers the failure, and answers who waits with what is stale, else with SERVFAIL. */
  #settleFailure(flight: Flight<Waiter>, error: ExtendedError, remember: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    this.attendants.onFailed(flight, error.text, remember);
    const cache = this.cacheOf(flight.key);
    const { query, questionEnd } = flight.question;
    const entry = cache.get(flight.key);
    const stale = entry !== undefined && isStale(entry, nowMs) ? entry : null;
    const ttlMs = stale === null ? this.#limits.failureTtlMs : this.#recheckMs;
    const failure = failureEntry(query, questionEnd, nowMs, ttlMs, error);
    if (remember) {
      const extendedError = { code: EXTENDED_ERROR.CACHED_ERROR, text: error.text };
      cache.set(flight.key, { ...failure, extendedError });
    }
    this.#settle(flight, stale ?? failure, stale === null ? 'failure' : 'stale');
  }

  /** @param source null: as each waiter came by it */
  #settle(flight: Flight<Waiter>, entry: CacheEntry, source: Source | null): void {
    const nowMs = this.#clock.monotonicMs();
    for (const waiter of this.inFlight.release(flight)) {
      this.#sendEntry(flight.key, entry, waiter, source ?? waiter.source, nowMs);
    }
  }

  #sendEntry(key: string, entry: CacheEntry, waiter: Waiter, source: Source, nowMs: number): void {
    const view = this.#view;
    const outcome = source === 'stale' || source === 'failure' ? source : 'answer';
    this.attendants.ledger.countLookup(key, outcome);
    const { query, client } = waiter;
    parseQuery(query, view);
    this.#how.nowMs = nowMs;
    this.#how.octetsMax = this.#octetsMax(client.transport);
    const octets = renderAnswer(entry, query, view, this.#how, this.#scratch);
    this.#count(source, this.#scratch, waiter.arrivedAtMs);
    this.#send(octets, query, client);
  }

  /** @param query is what the view was parsed from */
  #sendOwn(
    answer: Uint8Array,
    query: Uint8Array,
    client: Client,
    source: Source,
    arrivedAtMs: number,
  ): void {
    this.#count(source, answer, arrivedAtMs);
    this.#scratch.set(answer);
    this.#send(answer.length, query, client);
  }

  /** Sends what is in the scratch buffer. */
  #send(octets: number, query: Uint8Array, client: Client): void {
    const whole = this.#replyOptions.wanted(this.#view, client.transport)
      ? this.#appendOptions(this.#scratch, octets, query, client)
      : octets;
    client.send(this.#scratch.subarray(0, whole));
  }

  #appendOptions(
    out: Uint8Array,
    octets: number,
    query: Uint8Array,
    client: { readonly transport: Transport; readonly address: string },
  ): number {
    return this.#replyOptions.append(out, octets, query, this.#view, client, this.#wallSeconds());
  }

  #octetsMax(transport: Transport): number {
    const octets = transport === 'udp' ? udpLimitOctets(this.#view) : MESSAGE_OCTETS_MAX;
    return octets - this.#replyOptions.reserve(this.#view, transport);
  }

  #count(source: Source, answer: Uint8Array, arrivedAtMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#counters.countAnswer(source, answer[3]! & 0x0f, nowMs - arrivedAtMs);
    this.attendants.queryLog.note(answer, source, nowMs - arrivedAtMs, nowMs);
  }
}

const cookieSecrets = (
  { cookie_secrets }: ResolverConfig,
  random: Random,
): readonly Uint8Array[] =>
  cookie_secrets.length > 0
    ? cookie_secrets.map((hex) => Buffer.from(hex, 'hex'))
    : [Uint8Array.from({ length: SECRET_OCTETS }, () => random.integer(256))];
