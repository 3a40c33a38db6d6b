/**
 * How a site stands: whether its hosts took mail lately, and why it is left alone when it is.
 *
 * Invariant: hold is null while the site is neither waiting nor being probed.
 */
import { BackOff } from '../plan/back-off.ts';
import type { Wait } from '../running.ts';
import type { SiteContext } from './site-context.ts';

export class Standing {
  readonly #alias: string;
  readonly #context: SiteContext;
  readonly #backOff: BackOff;
  #proven = false;
  #hold: Wait | null = null;
  /** Monotonic ms until which a rule lets the site rest. */
  #restUntilMs = Number.NEGATIVE_INFINITY;

  constructor(alias: string, context: SiteContext) {
    this.#alias = alias;
    this.#context = context;
    this.#backOff = new BackOff(context.random);
  }

  get hold(): Wait | null {
    return this.#hold;
  }

  /** A host has answered a transaction since the site was made or last failed. */
  get proven(): boolean {
    return this.#proven;
  }

  /** It has failed, and nothing has gone well since: one connection, one message. */
  get probing(): boolean {
    return this.#backOff.failures > 0;
  }

  get waiting(): boolean {
    const nowMs = this.#context.clock.monotonicMs();
    return nowMs < this.#restUntilMs || this.#backOff.state(nowMs) === 'waiting';
  }

  /** It is at work again: a rest by rule is over. */
  worked(): void {
    if (this.#hold?.on === 'rule') this.#hold = null;
  }

  /** Asks leave to connect. */
  enter(): boolean {
    return this.#backOff.enter(this.#context.clock.monotonicMs());
  }

  /** A connection ended without telling anything of the site. */
  abandoned(): void {
    this.#backOff.abandoned();
  }

  /** A host answered a transaction. */
  answered(): void {
    this.#proven = true;
    if (this.#backOff.failures === 0) return;
    this.#backOff.succeeded();
    this.#changed('well', 'takes mail again');
    this.#hold = null;
  }

  /** The site as a whole does not take mail. @returns ms until it is probed */
  failed(text: string, hintMs: number | null): number {
    const { clock } = this.#context;
    const nowMs = clock.monotonicMs();
    this.#proven = false;
    if (this.#backOff.failures === 0) this.#changed('hold', text);
    this.#backOff.failed(nowMs, hintMs);
    const waitMs = Math.max(0, this.#backOff.untilMs - nowMs);
    const wallMs = clock.wallMs();
    this.#hold = {
      on: 'site',
      text: `${this.#alias} takes no mail now: ${text}`,
      sinceMs: this.#hold?.sinceMs ?? wallMs,
      untilMs: wallMs + Math.ceil(waitMs),
    };
    return waitMs;
  }

  /** A rule lets it rest. */
  rest(forMs: number, text: string, wallMs: number): void {
    this.#restUntilMs = this.#context.clock.monotonicMs() + forMs;
    this.#hold = {
      on: 'rule',
      text: `${this.#alias} rests by rule: ${text}`,
      sinceMs: wallMs,
      untilMs: wallMs + forMs,
    };
  }

  /** An operator wants it tried now. @param endRests and rests by rule to end */
  press(endRests: boolean): void {
    const { clock } = this.#context;
    const nowMs = clock.monotonicMs();
    this.#backOff.press(nowMs);
    if (endRests) this.#restUntilMs = nowMs;
    if (this.#hold?.on === 'site') this.#hold = { ...this.#hold, untilMs: clock.wallMs() };
    else if (endRests) this.#hold = null;
  }

  #changed(kind: 'hold' | 'well', text: string): void {
    const atMs = this.#context.clock.wallMs();
    this.#context.changed({ atMs, site: this.#alias, kind, text });
  }
}
