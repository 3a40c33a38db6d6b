/**
 * When the mail of the healthy half of a farm was acknowledged and arrived, round by round.
 *
 * Invariant: times are seconds since the first injection of their round.
 */
import type { Letter } from './injector.ts';
import { median } from './rounds.ts';

interface Site {
  /** Of the round: its last arrival. */
  lastAt: number;
  /** The same of all rounds that ended; 0 where it got none. */
  readonly rounds: number[];
  waited: number;
  count: number;
}

export class FarmArrivals {
  #startMs = performance.now();
  readonly #acknowledged = new Map<string, number>();
  /** By domain. */
  readonly #sites = new Map<string, Site>();
  readonly #waits: number[] = [];
  #ofRound = 0;
  #seconds = 0;

  get ofRound(): number {
    return this.#ofRound;
  }

  get total(): number {
    return this.#waits.length;
  }

  get now(): number {
    return (performance.now() - this.#startMs) / 1000;
  }

  begin(): void {
    this.#startMs = performance.now();
    this.#acknowledged.clear();
    this.#ofRound = 0;
    for (const site of this.#sites.values()) site.lastAt = 0;
  }

  acknowledged({ recipients: [to] }: Letter): void {
    this.#acknowledged.set(to!, this.now);
  }

  /** It may be seen before the acknowledgement. */
  arrived(to: string): void {
    const now = this.now;
    const waited = Math.max(0, now - (this.#acknowledged.get(to) ?? now));
    this.#waits.push(waited);
    this.#ofRound += 1;
    const domain = to.slice(to.indexOf('@') + 1);
    const site = this.#sites.get(domain) ?? { lastAt: 0, rounds: [], waited: 0, count: 0 };
    this.#sites.set(domain, site);
    site.lastAt = now;
    site.waited += waited;
    site.count += 1;
  }

  /** @returns when the last of the round arrived */
  end(): number {
    let last = 0;
    for (const site of this.#sites.values()) {
      site.rounds.push(site.lastAt);
      last = Math.max(last, site.lastAt);
    }
    this.#seconds += last;
    return last;
  }

  /** Forgets all rounds so far. */
  clear(): void {
    this.#sites.clear();
    this.#waits.length = 0;
    this.#seconds = 0;
  }

  /** By round, when its last mail arrived; empty where none ever did. */
  roundsOf(domain: string): readonly number[] {
    return this.#sites.get(domain)?.rounds ?? [];
  }

  summary() {
    const waits = this.#waits.toSorted((a, b) => a - b);
    const share = (part: number): number => waits[Math.floor(waits.length * part)] ?? Number.NaN;
    const sites = [...this.#sites.values()];
    return {
      seconds: this.#seconds,
      medianSiteSeconds: median(sites.map(({ rounds }) => rounds.reduce((a, b) => a + b, 0))),
      p50Seconds: share(0.5),
      p99Seconds: share(0.99),
      slowestSiteSeconds: Math.max(...sites.map(({ waited, count }) => waited / count)),
    };
  }
}
