/**
 * The automatic rules at work at one site: counts what its hosts say, and keeps what follows from it, a
 * pause between messages or a rest.
 *
 * Invariants
 * - A message taken ends every run of replies; a quiet time takes a pause back by halves.
 * - PAUSE_MS_FIRST <= pause <= PAUSE_MS_MAX while there is one.
 */

import type { Wait } from '../running.ts';
import { formatReply } from '../smtp/reply.ts';
import type { RecipientFact } from '../smtp/transaction.ts';
import { TokenBucket } from './throttle.ts';
import { type TuningRule, tuningRuleFor } from './tuning.ts';

const PAUSE_MS_FIRST = 100;
const PAUSE_MS_MAX = 60_000;
/** So long without a complaint, and the pause is halved. */
const QUIET_MS = 60_000;
/** One complaint in so long counts: those of messages already on their way are the same one. */
const REPEAT_MS = 2_000;
/** Domains whose runs are counted. */
const RUNS_MAX = 1_000;

/** What a rule did just now, to be logged and told. */
export interface Change {
  readonly rule: TuningRule;
  readonly domain: string;
  /** One sentence, with the reply that caused it. */
  readonly text: string;
}

export class Tuner {
  readonly #alias: string;
  /** Rule and, for a rule about domains, domain → replies in a row. */
  readonly #runs = new Map<string, number>();
  #pauseMs = 0;
  #complainedAtMs = Number.NEGATIVE_INFINITY;
  #bucket: TokenBucket | null = null;
  #cause = '';
  #sinceMs = 0;

  constructor(alias: string) {
    this.#alias = alias;
  }

  /** Ms to wait before the next message. */
  waitMs(nowMs: number): number {
    if (this.#bucket === null) return 0;
    this.#relax(nowMs);
    return this.#bucket?.waitMs(nowMs) ?? 0;
  }

  /** A pause that a rule made is still to be kept. */
  slows(nowMs: number): boolean {
    this.#relax(nowMs);
    return this.#bucket !== null;
  }

  take(): void {
    this.#bucket?.take();
  }

  /** Why it is slow, for `why`; null when it is not. */
  get slowed(): Pick<Wait, 'text' | 'sinceMs'> | null {
    if (this.#bucket === null) return null;
    const text = `${this.#alias} is slowed to a message every ${this.#pauseMs} ms by rule: ${this.#cause}`;
    return { text, sinceMs: this.#sinceMs };
  }

  /** A transaction was answered. @returns what changes by it */
  observe(
    facts: readonly RecipientFact[],
    domains: readonly string[],
    nowMs: number,
    wallMs: number,
  ): Change | null {
    let change: Change | null = null;
    for (const [at, { phase, reply, local }] of facts.entries()) {
      if (reply === null || local) continue;
      if (reply.code < 400) {
        this.#runs.clear();
        continue;
      }
      const rule = tuningRuleFor(phase, reply);
      if (rule === null || !this.#counts(rule, domains[at]!)) continue;
      const text = `${rule.name}, after ${formatReply(reply)}`;
      if (rule.remedy.kind === 'slow' && !this.#slow(text, nowMs, wallMs)) continue;
      change = { rule, domain: domains[at]!, text };
    }
    return change;
  }

  /** @returns whether the run is long enough; then it begins anew */
  #counts({ name, times, remedy }: TuningRule, domain: string): boolean {
    const key = remedy.kind === 'suspend-domain' ? `${name} ${domain}` : name;
    const run = (this.#runs.get(key) ?? 0) + 1;
    if (run < times) {
      if (this.#runs.size >= RUNS_MAX) this.#runs.clear();
      this.#runs.set(key, run);
      return false;
    }
    this.#runs.delete(key);
    return true;
  }

  #slow(cause: string, nowMs: number, wallMs: number): boolean {
    if (nowMs - this.#complainedAtMs < REPEAT_MS) return false;
    this.#complainedAtMs = nowMs;
    this.#pauseMs = Math.min(Math.max(this.#pauseMs * 2, PAUSE_MS_FIRST), PAUSE_MS_MAX);
    this.#cause = cause;
    if (this.#bucket === null) {
      this.#sinceMs = wallMs;
      this.#bucket = new TokenBucket(1000 / this.#pauseMs, nowMs);
    }
    this.#bucket.set(1000 / this.#pauseMs, nowMs);
    return true;
  }

  #relax(nowMs: number): void {
    while (this.#bucket !== null && nowMs - this.#complainedAtMs >= QUIET_MS) {
      this.#complainedAtMs += QUIET_MS;
      this.#pauseMs /= 2;
      if (this.#pauseMs < PAUSE_MS_FIRST) {
        this.#pauseMs = 0;
        this.#bucket = null;
      } else this.#bucket.set(1000 / this.#pauseMs, nowMs);
    }
  }
}
