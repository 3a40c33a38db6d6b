/**
 * What happens to upstreams and to names that failed, for whoever listens: an MTA that hears that a
 * domain resolves again need not wait for its next retry.
 *
 * Invariant: at most LISTENERS_MAX listen at once. Nothing is kept for those who come later.
 */

export type ResolverEvent =
  | { readonly event: 'upstream-down'; readonly upstream: string; readonly reason: string | null }
  | { readonly event: 'upstream-up'; readonly upstream: string }
  /** A name that clients asked for in vain; it is asked for again, ever more rarely, until it resolves. */
  | {
      readonly event: 'name-failing';
      readonly name: string;
      readonly type: string;
      readonly reason: string;
    }
  | {
      readonly event: 'name-recovered';
      readonly name: string;
      readonly type: string;
      readonly failedSeconds: number;
    }
  | { readonly event: 'reloaded'; readonly changed: readonly string[] };

export type EventListener = (event: ResolverEvent) => void;

const LISTENERS_MAX = 64;

export class Events {
  readonly #listeners = new Set<EventListener>();
  publishedTotal = 0;

  /** @returns how to stop listening, or null when too many listen */
  subscribe(listener: EventListener): (() => void) | null {
    if (this.#listeners.size >= LISTENERS_MAX) return null;
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listening(): boolean {
    return this.#listeners.size > 0;
  }

  publish(event: ResolverEvent): void {
    this.publishedTotal += 1;
    for (const listener of this.#listeners) listener(event);
  }
}
