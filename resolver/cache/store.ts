/**
 * Where cached responses live: least recently used out first, bounded by octets, not by count.
 *
 * Invariants: answerBytes <= bytesMax - failureBytesMax, and failureBytes <= failureBytesMax, where
 * the size of an entry is its key, its response, and ENTRY_OVERHEAD_BYTES. Failures live apart, so
 * that a flood of names that fail evicts no answer, and a failure never takes the place of an answer
 * that may still serve stale.
 */
import { LRUCache } from 'lru-cache';
import type { AnswerTable } from './answer-table.ts';
import type { CacheEntry } from './entry.ts';
import { keyHasName, keyHasSuffix } from './key.ts';

/**
 * What an entry costs beside its key, its response and its TTL offsets. Measured with 400,000 MX
 * answers: 440 on the heap (objects, string header, lru-cache's lists), 95 for the buffer's bookkeeping
 * outside of it, and a fifth for the room that the collector keeps.
 */
export const ENTRY_OVERHEAD_BYTES = 640;
/** One part in this many of the cache is for failures. */
const FAILURE_SHARE = 16;

/** Octets that an entry counts for. */
export const entryBytes = (entry: CacheEntry, key: string): number =>
  ENTRY_OVERHEAD_BYTES + key.length + entry.wire.length + 8 * entry.ttlOffsets.length;

export class CacheStore {
  readonly #answers: LRUCache<string, CacheEntry>;
  readonly #failures: LRUCache<string, CacheEntry>;
  /** Has a copy of every answer that is kept and small, for fronts to serve; failures never. */
  readonly #table: AnswerTable | null;

  /** @param bytesMax all entries together, at least 1 MiB by the configuration */
  constructor(bytesMax: number, table: AnswerTable | null = null) {
    this.#table = table;
    const failureBytesMax = Math.floor(bytesMax / FAILURE_SHARE);
    this.#answers = new LRUCache({
      maxSize: bytesMax - failureBytesMax,
      sizeCalculation: entryBytes,
    });
    this.#failures = new LRUCache({ maxSize: failureBytesMax, sizeCalculation: entryBytes });
  }

  /** The answer or denial kept under the key, fresh or not; it counts as used. */
  get(key: string): CacheEntry | undefined {
    return this.#answers.get(key);
  }

  /** The failure kept under the key, fresh or not; ask only when there is no fresh answer. */
  getFailure(key: string): CacheEntry | undefined {
    return this.#failures.get(key);
  }

  /** The answer or failure kept under the key, fresh or not, without counting as used. */
  peek(key: string, what: 'answer' | 'failure'): CacheEntry | undefined {
    return (what === 'answer' ? this.#answers : this.#failures).peek(key);
  }

  /** Keeps an entry. An answer ends the failure of its key; a failure leaves the answer be. */
  set(key: string, entry: CacheEntry): void {
    if (entry.kind === 'failure') {
      this.#failures.set(key, entry);
      return;
    }
    this.#answers.set(key, entry);
    this.#failures.delete(key);
    this.#table?.publish(key, entry);
  }

  /** Gives fronts an answer that they asked for although it is kept here: it was crowded out there. */
  offer(key: string, entry: CacheEntry): void {
    this.#table?.ensure(key, entry);
  }

  /**
   * Counts as used what fronts served of late, a part of it each time.
   *
   * @param turns   calls until every answer was looked at
   * @param usedMax answers at most each time
   * @param onUsed  told of each
   */
  noteHits(turns: number, usedMax: number, onUsed: (key: string) => void): void {
    const table = this.#table;
    table?.sweep(Math.ceil(table.slotCount / turns), usedMax, (key) => {
      this.#answers.get(key);
      onUsed(key);
    });
  }

  /** @returns whether there was one */
  delete(key: string): boolean {
    const hadFailure = this.#failures.delete(key);
    this.#table?.remove(key);
    return this.#answers.delete(key) || hadFailure;
  }

  /** @param name as nameKey gives it. @returns entries removed */
  flushName(name: string): number {
    return this.#flushWhere((key) => keyHasName(key, name));
  }

  /** Removes the name and all below it. @param suffix as nameKey gives it. @returns entries removed */
  flushSuffix(suffix: string): number {
    return this.#flushWhere((key) => keyHasSuffix(key, suffix));
  }

  /** Forgets what failed, as when its cause is over. @returns entries removed */
  flushFailures(): number {
    const removed = this.failures;
    this.#failures.clear();
    return removed;
  }

  /** @returns entries removed */
  flushAll(): number {
    const removed = this.entries;
    this.#table?.clear();
    this.#answers.clear();
    this.#failures.clear();
    return removed;
  }

  /** At most `entriesMax` entries, most recently used first, failures last; nothing counts as used. */
  *dump(entriesMax: number): Generator<readonly [key: string, entry: CacheEntry]> {
    let left = entriesMax;
    for (const cache of [this.#answers, this.#failures]) {
      for (const pair of cache.entries()) {
        if (left <= 0) return;
        left -= 1;
        yield pair;
      }
    }
  }

  /** Octets in use, failures included. */
  get bytes(): number {
    return this.#answers.calculatedSize + this.#failures.calculatedSize;
  }

  get entries(): number {
    return this.#answers.size + this.#failures.size;
  }

  get failures(): number {
    return this.#failures.size;
  }

  #flushWhere(isDoomed: (key: string) => boolean): number {
    let removed = 0;
    for (const cache of [this.#answers, this.#failures]) {
      // The keys are collected first, because deleting moves the list that is walked.
      for (const key of [...cache.keys()].filter(isDoomed)) {
        cache.delete(key);
        this.#table?.remove(key);
        removed += 1;
      }
    }
    return removed;
  }
}
