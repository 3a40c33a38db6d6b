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

/** A message no sooner than so long after the one before. */
export interface Pause {
  readonly pauseMs: number;
  /** Monotonic ms of the last complaint, or of the last halving since. */
  readonly complainedAtMs: number;
  /** The last complaint. */
  readonly cause: string;
  /** Wall ms of the first. */
  readonly sinceMs: number;
}

/** @returns what a quiet time has left of it; null when nothing is */
export function relaxed(pause: Pause, nowMs: number): Pause | null {
  const halvings = Math.max(0, Math.floor((nowMs - pause.complainedAtMs) / QUIET_MS));
  if (halvings === 0) return pause;
  const pauseMs = pause.pauseMs / 2 ** halvings;
  const complainedAtMs = pause.complainedAtMs + halvings * QUIET_MS;
  return pauseMs < PAUSE_MS_FIRST ? null : { ...pause, pauseMs, complainedAtMs };
}

/** For `why` and the page of the site. */
export const slowness = (alias: string, { pauseMs, cause, sinceMs }: Pause) => ({
  text: `${alias} is slowed to a message every ${pauseMs} ms by rule: ${cause}`,
  sinceMs,
});

export class Tuner {
  readonly #alias: string;
  /** Rule and, for a rule about domains, domain → replies in a row. */
  readonly #runs = new Map<string, number>();
  #pause: Pause | null;
  /** There is one while there is a pause. */
  #bucket: TokenBucket | null = null;

  /** @param pause as an earlier one of the same site left it */
  constructor(alias: string, pause: Pause | null = null, nowMs = 0) {
    this.#alias = alias;
    this.#pause = pause;
    if (pause !== null) this.#pace(pause, nowMs);
  }

  /** For who serves the site after us. */
  pause(nowMs: number): Pause | null {
    this.#relax(nowMs);
    return this.#pause;
  }

  /** Ms to wait before the next message. */
  waitMs(nowMs: number): number {
    if (this.#bucket === null) return 0;
    this.#relax(nowMs);
    return this.#bucket?.waitMs(nowMs) ?? 0;
  }

  take(): void {
    this.#bucket?.take();
  }

  /** Why it is slow, for `why`; null when it is not. */
  get slowed(): Pick<Wait, 'text' | 'sinceMs'> | null {
    return this.#pause && slowness(this.#alias, this.#pause);
  }

  /** A message was taken. */
  taken(): void {
    // Nearly always there is none, and clear() makes a new table all the same.
    if (this.#runs.size > 0) this.#runs.clear();
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
        this.taken();
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
    const before = this.#pause;
    if (before !== null && nowMs - before.complainedAtMs < REPEAT_MS) return false;
    const twiceMs = Math.max((before?.pauseMs ?? 0) * 2, PAUSE_MS_FIRST);
    const pauseMs = Math.min(twiceMs, PAUSE_MS_MAX);
    this.#pause = { pauseMs, complainedAtMs: nowMs, cause, sinceMs: before?.sinceMs ?? wallMs };
    this.#pace(this.#pause, nowMs);
    return true;
  }

  #pace({ pauseMs }: Pause, nowMs: number): void {
    this.#bucket ??= new TokenBucket(1000 / pauseMs, nowMs);
    this.#bucket.set(1000 / pauseMs, nowMs);
  }

  #relax(nowMs: number): void {
    if (this.#pause === null) return;
    const left = relaxed(this.#pause, nowMs);
    if (left === this.#pause) return;
    this.#pause = left;
    if (left === null) this.#bucket = null;
    else this.#pace(left, nowMs);
  }
}
