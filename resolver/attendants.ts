/**
 * Who accompanies the life of a query without being part of it: bundles that fetch ahead, guards that
 * doubt, the queue of refreshes. The service tells them what happens; what they want of it goes
 * through the two functions that they are handed.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { TimerWheel } from '../runtime/timer-wheel.ts';
import { Bundles } from './bundle/bundles.ts';
import type { CacheEntry } from './cache/entry.ts';
import type { ResolverConfig } from './config.ts';
import type { Events } from './events.ts';
import { BounceGuard, isDenial } from './guard/bounce-guard.ts';
import { Dnsbl } from './guard/dnsbl.ts';
import { PositiveMemory } from './guard/positive-memory.ts';
import { TtlUncap } from './guard/ttl-uncap.ts';
import { Ledger } from './ledger.ts';
import { QueryLog } from './query-log.ts';
import { Recovery } from './recovery.ts';
import { type Purpose, type RefreshOwner, RefreshQueue } from './refresh.ts';
import { LANE } from './upstream/budget.ts';
import type { Question } from './upstream/question.ts';
import type { ExtendedError } from './wire/write.ts';

/** How long a name that existed is remembered where nothing stale is kept. */
const MEMORY_MS_MIN = 86_400_000;

/** What they see of a flight. */
export interface Journey {
  readonly key: string;
  readonly question: Question;
  readonly startedAtMs: number;
  readonly waiters: readonly unknown[];
  doubt: { readonly reason: string; readonly question: Question } | null;
}

export interface AttendantDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
  readonly log: Log;
  readonly events: Events;
  /** Whether any upstream is up. */
  readonly reachable: () => boolean;
  readonly peek: (key: string) => CacheEntry | undefined;
  readonly refresh: (key: string) => Question | null;
}

export class Attendants implements RefreshOwner {
  readonly bundles: Bundles;
  readonly guard: BounceGuard;
  readonly dnsbl: Dnsbl;
  readonly uncap: TtlUncap;
  readonly ledger = new Ledger();
  readonly recovery: Recovery;
  readonly queryLog: QueryLog;
  readonly queue = new RefreshQueue(this);
  readonly #deps: AttendantDeps;

  constructor(config: ResolverConfig, deps: AttendantDeps) {
    this.#deps = deps;
    this.bundles = new Bundles({
      mode: config.bundles,
      ipv6: config.ipv6,
      peek: deps.peek,
      fetch: (key) => {
        if (!this.queue.add(key, 'bundle')) this.bundles.onSpared(key);
      },
    });
    const memoryMs = Math.max(config.stale, MEMORY_MS_MIN);
    const memory = new PositiveMemory(memoryMs, deps.random);
    this.guard = new BounceGuard(memory, config.bounce_guard);
    this.dnsbl = new Dnsbl(config.dnsbl, deps.random.integer(2 ** 32));
    this.uncap = new TtlUncap(config.uncap);
    this.recovery = new Recovery({ ...deps, probe: (key) => this.queue.add(key, 'watch') });
    this.queryLog = new QueryLog(config.query_log, deps.log);
  }

  /** Takes over what may change at any time. */
  reconfigure(config: ResolverConfig): void {
    this.bundles.options.mode = config.bundles;
    this.bundles.options.ipv6 = config.ipv6;
    this.guard.enabled = config.bounce_guard;
    this.dnsbl.configure(config.dnsbl);
    this.uncap.ceilingMs = config.uncap;
    this.queryLog.oneIn = config.query_log;
  }

  /** A client asked for the key, and need not wait for an exchange of its own. */
  onHit(key: string): void {
    this.bundles.onUse(key);
  }

  /** @returns why a DNSBL's answer is no statement about the address asked, or null */
  refusalOf(key: string, entry: CacheEntry): ExtendedError | null {
    const zone = this.dnsbl.zoneOf(key);
    return zone === null ? null : this.dnsbl.refusalOf(key, zone, entry);
  }

  /** Whether the guard has nothing to add: the answer is the second one, or a block list's. */
  isSettled(flight: Journey, entry: CacheEntry): boolean {
    if (flight.doubt !== null) {
      const verdict = isDenial(flight.key, entry) ? 'confirmed' : 'refuted';
      this.guard.end(verdict, flight.doubt.question.packetsSent);
      flight.doubt = null;
      return true;
    }
    // An address that is taken off a list is good news.
    return this.dnsbl.zoneOf(flight.key) !== null;
  }

  /** The answer is about to be served. */
  onAdmitted(flight: Journey, entry: CacheEntry, previous: CacheEntry | undefined): void {
    const nowMs = this.#deps.clock.monotonicMs();
    const { key, question, startedAtMs, waiters } = flight;
    const rttMs = nowMs - startedAtMs;
    const wanted = waiters.length > 0;
    this.ledger.countExchange(key, question.packetsSent, entry.upstream, rttMs, wanted);
    this.recovery.onAnswered(key);
    this.guard.onAdmitted(key, entry, nowMs);
    this.bundles.onAdmitted(key, entry, previous, nowMs);
    this.onFlightEnd(flight);
  }

  /** There is no answer. @param reason in words; @param remembered whether it says something of the name */
  onFailed(flight: Journey, reason: string, remembered: boolean): void {
    const { key, question, waiters } = flight;
    this.ledger.countExchange(key, question.packetsSent, null, 0, waiters.length > 0);
    if (remembered) this.recovery.onFailed(key, reason, waiters.length > 0);
    if (flight.doubt !== null) {
      this.guard.end('unconfirmed', flight.doubt.question.packetsSent);
      flight.doubt = null;
    }
    this.onFlightEnd(flight);
  }

  /** However it ended. */
  onFlightEnd({ key, question }: Journey): void {
    if (question.lane !== LANE.refresh && this.dnsbl.zoneOf(key) !== null) this.dnsbl.end();
    this.queue.onEnded(key);
  }

  refresh(key: string): Question | null {
    const question = this.#deps.refresh(key);
    if (question === null) this.bundles.onSpared(key);
    return question;
  }

  onRefreshStarted(key: string, purpose: Purpose): void {
    if (purpose === 'bundle') this.bundles.onStarted(key, this.#deps.clock.monotonicMs());
  }

  onRefreshEnded(_key: string, purpose: Purpose, packetsSent: number): void {
    if (purpose === 'bundle') this.bundles.onEnded(packetsSent);
  }
}
