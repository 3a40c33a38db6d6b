/**
 * Which domain has work due when: one entry a domain, one timer for all of them.
 *
 * Invariants
 * - The queue itself stays in the spool; memory here grows with domains that have mail, never with mail.
 * - dueMs is wall time, as in the spool. The timer is re-armed at least every TIMER_MS_MAX, so a
 *   step of the wall clock is noticed within that.
 */
import type { Clock, Timer } from '../../runtime/clock.ts';

const TIMER_MS_MAX = 30_000;
/** A heap with more than this many outdated entries for each live one is rebuilt. */
const OUTDATED_RATIO_MAX = 4;

export class DueLedger {
  readonly #clock: Clock;
  readonly #onDue: (domain: string) => void;
  readonly #dueMs = new Map<string, number>();
  /** Binary min-heap by due instant; entries that #dueMs no longer confirms are skipped. */
  #heap: { readonly dueMs: number; readonly domain: string }[] = [];
  #timer: Timer | null = null;
  #armedForMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, onDue: (domain: string) => void) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  get size(): number {
    return this.#dueMs.size;
  }

  dueMs(domain: string): number | null {
    return this.#dueMs.get(domain) ?? null;
  }

  /**
   * Domains that fall due until then, in no order, at most `limit`. Cost grows with what is found: below
   * an entry of the heap that is later nothing is earlier.
   */
  soon(untilMs: number, limit: number): string[] {
    const found: string[] = [];
    const path = [0];
    for (let at = path.pop(); at !== undefined && found.length < limit; at = path.pop()) {
      const entry = this.#heap[at];
      if (entry === undefined || entry.dueMs > untilMs) continue;
      if (this.#dueMs.get(entry.domain) === entry.dueMs) found.push(entry.domain);
      path.push(2 * at + 1, 2 * at + 2);
    }
    return found;
  }

  /** The domain has work at `dueMs` or later than it had; an earlier known instant stands. */
  note(domain: string, dueMs: number): void {
    const known = this.#dueMs.get(domain);
    if (known !== undefined && known <= dueMs) return;
    this.#dueMs.set(domain, dueMs);
    this.#push({ dueMs, domain });
    if (dueMs < this.#armedForMs) this.#arm(dueMs);
  }

  /** Every known instant of the domain is void, as when its work has just been taken up. */
  forget(domain: string): void {
    this.#dueMs.delete(domain);
    if (this.#heap.length > 1024 && this.#heap.length > OUTDATED_RATIO_MAX * this.#dueMs.size) {
      this.#rebuild();
    }
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#armedForMs = Number.NEGATIVE_INFINITY;
  }

  #arm(dueMs: number): void {
    this.#timer?.cancel();
    const nowMs = this.#clock.wallMs();
    const delayMs = Math.min(Math.max(dueMs - nowMs, 0), TIMER_MS_MAX);
    this.#armedForMs = nowMs + delayMs;
    this.#timer = this.#clock.after(delayMs, () => this.#fire());
  }

  #fire(): void {
    this.#timer = null;
    this.#armedForMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.wallMs();
    for (let top = this.#heap[0]; top !== undefined && top.dueMs <= nowMs; top = this.#heap[0]) {
      this.#pop();
      if (this.#dueMs.get(top.domain) !== top.dueMs) continue;
      this.#dueMs.delete(top.domain);
      this.#onDue(top.domain);
    }
    const next = this.#heap[0];
    if (next !== undefined && next.dueMs < this.#armedForMs) this.#arm(next.dueMs);
  }

  #push(entry: { dueMs: number; domain: string }): void {
    const heap = this.#heap;
    let at = heap.push(entry) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]!.dueMs <= entry.dueMs) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = entry;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.dueMs < heap[child]!.dueMs) child += 1;
      if (heap[child]!.dueMs >= last.dueMs) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }

  #rebuild(): void {
    this.#heap = [];
    for (const [domain, dueMs] of this.#dueMs) this.#push({ dueMs, domain });
  }
}
