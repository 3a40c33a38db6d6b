/**
 * Which of a site's buffered mail may go now: rates, of the site, its provider and its domains, and
 * limits of connections that count within one domain.
 *
 * Invariant: what begin() counted, end() takes back, once.
 */
import type { Limits } from '../plan/shaping.ts';
import type { Site } from '../plan/site.ts';
import type { Wait } from '../running.ts';
import type { LeasedMessage } from '../spool/spool.ts';
import type { Buffer } from './buffer.ts';
import type { Consignment } from './consignment.ts';
import type { SiteContext } from './site-context.ts';
import type { Tuner } from './tuner.ts';

/** A rate limit that holds everything up is looked at again no later than this. */
const PACE_MS_MAX = 60_000;

export interface Turn {
  /** Has been begun. */
  readonly consignment: Consignment | null;
  /** The connection has carried what one may. */
  readonly spent: boolean;
  /** Ms until the rate that holds everything up lets one go; null when none does. */
  readonly pausedMs: number | null;
}

export class Turns {
  readonly #site: Site;
  readonly #context: SiteContext;
  readonly #tuner: Tuner;
  /** Consignments under way of domains with a limit of connections of their own. */
  readonly #underWay = new Map<string, number>();
  /** All that is buffered waits for its rate, or null; until this monotonic instant at most. */
  #pace: Wait | null = null;
  #paceUntilMs = 0;
  /** Domains whose own limits keep some of what is buffered, as last looked; no more is leased of them. */
  readonly #blocked = new Set<string>();
  #blockedCount = 0;
  /** What the look of next() through the buffer goes by, and what it has found. */
  readonly #look = { carried: 0, nowMs: 0, spent: false, waitMs: 0, text: '' };
  /** One function, as each message is looked for with it. */
  readonly #may = ({ limits, leased }: Consignment): boolean => {
    if (this.#look.carried < limits.messagesPerConnection) return this.#hasTurn(limits, leased);
    this.#look.spent = true;
    return false;
  };

  constructor(site: Site, context: SiteContext, tuner: Tuner) {
    this.#site = site;
    this.#context = context;
    this.#tuner = tuner;
  }

  /** Why all that is buffered waits, or null. */
  get pace(): Wait | null {
    return this.#pace;
  }

  /** Messages kept back by their domain's own limits, as last looked. */
  get blockedCount(): number {
    return this.#blockedCount;
  }

  blocks(domain: string): boolean {
    return this.#blocked.has(domain);
  }

  /** The pace ends when its time has come. @param nowMs monotonic */
  pass(nowMs: number): void {
    if (nowMs >= this.#paceUntilMs) this.#pace = null;
  }

  /** What is buffered is no longer what it was. */
  forget(): void {
    this.#pace = null;
  }

  /** @param carried messages that the connection has begun */
  next(buffer: Buffer, carried: number, nowMs: number): Turn {
    const look = this.#look;
    look.carried = carried;
    look.nowMs = nowMs;
    look.spent = false;
    look.waitMs = Number.POSITIVE_INFINITY;
    // Nearly always there are none, and clear() makes a new table all the same.
    if (this.#blocked.size > 0) this.#blocked.clear();
    this.#blockedCount = 0;
    const consignment = buffer.take(this.#may);
    if (consignment !== null) this.#begin(consignment, nowMs);
    const { spent, waitMs, text } = look;
    const isPaused = consignment === null && !spent && waitMs < Number.POSITIVE_INFINITY;
    return { consignment, spent, pausedMs: isPaused ? this.#paced(text, waitMs) : null };
  }

  /** No longer under way. */
  end({ limits, leased }: Consignment): void {
    if (isOfDomain(limits.connections)) this.#count(leased.recipients[0]!.domain, -1);
  }

  /** Neither its rate nor its domain's connections keep it; a rate that does is noted. */
  #hasTurn({ messagesPerSecond, connections }: Limits, { recipients }: LeasedMessage): boolean {
    const look = this.#look;
    const { nowMs } = look;
    if (isOfDomain(connections)) {
      const { domain } = recipients[0]!;
      if ((this.#underWay.get(domain) ?? 0) >= connections.max) return this.#block(domain);
    }
    const tunedMs = this.#tuner.waitMs(nowMs);
    const rateMs =
      messagesPerSecond === null
        ? 0
        : this.#context.throttles.bucket(messagesPerSecond, nowMs).waitMs(nowMs);
    if (tunedMs <= 0 && rateMs <= 0) return true;
    if (Math.max(tunedMs, rateMs) < look.waitMs) {
      look.waitMs = Math.max(tunedMs, rateMs);
      look.text =
        tunedMs >= rateMs || messagesPerSecond === null
          ? (this.#tuner.slowed?.text ?? '')
          : `${messagesPerSecond.max} messages a second is the limit of ${this.#scopeText(messagesPerSecond.scope)}`;
    }
    if (messagesPerSecond?.scope.startsWith('domain ') === true) {
      return this.#block(recipients[0]!.domain);
    }
    return false;
  }

  #block(domain: string): false {
    this.#blocked.add(domain);
    this.#blockedCount += 1;
    return false;
  }

  #scopeText(scope: string): string {
    return scope.startsWith('site ') ? this.#site.alias : scope;
  }

  #begin({ limits, leased }: Consignment, nowMs: number): void {
    this.#pace = null;
    this.#tuner.take();
    const { messagesPerSecond, connections } = limits;
    if (messagesPerSecond !== null) this.#context.throttles.bucket(messagesPerSecond, nowMs).take();
    if (isOfDomain(connections)) this.#count(leased.recipients[0]!.domain, 1);
  }

  #count(domain: string, change: 1 | -1): void {
    const count = (this.#underWay.get(domain) ?? 0) + change;
    if (count === 0) this.#underWay.delete(domain);
    else this.#underWay.set(domain, count);
  }

  /** Everything that is buffered waits for its rate. @returns when to look again, ms from now */
  #paced(text: string, waitMs: number): number {
    const wallMs = this.#context.clock.wallMs();
    const untilMs = wallMs + Math.ceil(waitMs);
    this.#pace = { on: 'rate', text, sinceMs: this.#pace?.sinceMs ?? wallMs, untilMs };
    const delayMs = Math.min(Math.ceil(waitMs), PACE_MS_MAX);
    this.#paceUntilMs = this.#context.clock.monotonicMs() + delayMs;
    return delayMs;
  }
}

/** A limit that counts within the mail of one domain. */
const isOfDomain = ({ scope }: Limits['connections']): boolean => scope.startsWith('domain ');
