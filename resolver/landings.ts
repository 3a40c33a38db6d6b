/**
 * What an exchange came to: admission of its answer and doubts of it, what is remembered of a failure, and
 * the answer to everyone who waits. Each of them is answered once.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Attendants } from './attendants.ts';
import { type AdmissionLimits, admit } from './cache/admission.ts';
import { type CacheEntry, failureEntry, isStale } from './cache/entry.ts';
import type { CacheStore } from './cache/store.ts';
import type { ResolverConfig } from './config.ts';
import type { Source } from './counters.ts';
import { OVERDUE, unconfirmed } from './extended-errors.ts';
import type { Replies, Waiter } from './replies.ts';
import type { ForwardFailure } from './upstream/forward.ts';
import type { Flight, FlightOwner, InFlight } from './upstream/in-flight.ts';
import type { Upstream } from './upstream/upstream.ts';
import { EXTENDED_ERROR } from './wire/constants.ts';
import { readExtendedError } from './wire/extended-error.ts';
import type { ExtendedError } from './wire/write.ts';

const limitsOf = ({ cache, stale }: ResolverConfig): AdmissionLimits => ({
  minTtlMs: cache.min_ttl,
  maxTtlMs: cache.max_ttl,
  byType: new Map(cache.types.map(({ type, ...bounds }) => [type, bounds])),
  maxNegativeTtlMs: cache.max_negative_ttl,
  failureTtlMs: cache.failure_ttl,
  staleMs: stale,
});

export interface LandingsParts {
  readonly clock: Clock;
  readonly attendants: Attendants;
  readonly replies: Replies;
  readonly cache: CacheStore;
}

export class Landings implements FlightOwner<Waiter> {
  /** The table of which this is the owner; set before anything is under way. */
  inFlight!: InFlight<Waiter>;
  readonly #clock: Clock;
  readonly #attendants: Attendants;
  readonly #replies: Replies;
  readonly #cache: CacheStore;
  #limits: AdmissionLimits;
  #recheckMs: number;

  constructor(config: ResolverConfig, parts: LandingsParts) {
    this.#clock = parts.clock;
    this.#attendants = parts.attendants;
    this.#replies = parts.replies;
    this.#cache = parts.cache;
    this.#limits = limitsOf(config);
    this.#recheckMs = config.stale_recheck;
  }

  reconfigure(config: ResolverConfig): void {
    this.#limits = limitsOf(config);
    this.#recheckMs = config.stale_recheck;
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
    const cache = this.#cacheOf(key);
    const previous = cache.peek(key, 'answer');
    const refusal = this.#attendants.refusalOf(key, entry);
    if (refusal !== null) {
      this.#settleFailure(flight, refusal, true);
      return;
    }
    if (this.#doubts(flight, entry, previous, upstream)) return;
    const kept = this.#attendants.uncap.uncapped(key, entry, previous, nowMs);
    if (admission.verdict === 'keep') cache.set(key, kept);
    this.#attendants.onAdmitted(flight, kept, previous);
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
    const { guard } = this.#attendants;
    const nowMs = this.#clock.monotonicMs();
    if (this.#attendants.isSettled(flight, entry)) return false;
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
    const stale = this.#staleOf(flight, nowMs);
    if (stale === null) return;
    for (const waiter of this.inFlight.release(flight)) {
      this.#replies.sendEntry(flight.key, stale, waiter, 'stale', nowMs);
    }
  }

  onOverdue(flight: Flight<Waiter>, waiters: readonly Waiter[]): void {
    const nowMs = this.#clock.monotonicMs();
    const stale = this.#staleOf(flight, nowMs);
    const { query, questionEnd } = flight.question;
    const overdue = stale ?? failureEntry(query, questionEnd, nowMs, 0, OVERDUE);
    const source = stale === null ? 'failure' : 'stale';
    for (const waiter of waiters) {
      this.#replies.sendEntry(flight.key, overdue, waiter, source, nowMs);
    }
  }

  /** Remembers the failure, and answers who waits with what is stale, else with SERVFAIL. */
  #settleFailure(flight: Flight<Waiter>, error: ExtendedError, remember: boolean): void {
    const nowMs = this.#clock.monotonicMs();
    this.#attendants.onFailed(flight, error.text, remember);
    const { query, questionEnd } = flight.question;
    const stale = this.#staleOf(flight, nowMs);
    const ttlMs = stale === null ? this.#limits.failureTtlMs : this.#recheckMs;
    const failure = failureEntry(query, questionEnd, nowMs, ttlMs, error);
    if (remember) {
      const extendedError = { code: EXTENDED_ERROR.CACHED_ERROR, text: error.text };
      this.#cacheOf(flight.key).set(flight.key, { ...failure, extendedError });
    }
    this.#settle(flight, stale ?? failure, stale === null ? 'failure' : 'stale');
  }

  /** @param source null: as each waiter came by it */
  #settle(flight: Flight<Waiter>, entry: CacheEntry, source: Source | null): void {
    const nowMs = this.#clock.monotonicMs();
    for (const waiter of this.inFlight.release(flight)) {
      this.#replies.sendEntry(flight.key, entry, waiter, source ?? waiter.source, nowMs);
    }
  }

  #cacheOf(key: string): CacheStore {
    return this.#attendants.dnsbl.cacheOf(key, this.#cache);
  }

  /** What may be served though it has expired, or null. */
  #staleOf({ key }: Flight<Waiter>, nowMs: number): CacheEntry | null {
    const entry = this.#cacheOf(key).get(key);
    return entry !== undefined && isStale(entry, nowMs) ? entry : null;
  }
}
