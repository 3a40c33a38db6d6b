/**
 * Where cached responses live, bounded by octets of memory, and who is forgotten first.
 *
 * Three shares. Failures live apart, so that a flood of names that fail evicts no answer, and a failure
 * never takes the place of an answer that may still serve stale. Of the rest a quarter is for newcomers:
 * denials and answers that nobody asked for twice. MX answers are residents from the start, so a flood
 * of random names, whatever their zone answers, leaves the mail domains alone.
 *
 * Invariant: both shelves together take at most `bytesMax` octets of memory, indexes included.
 */
import { TYPE } from '../wire/constants.ts';
import type { AnswerTable } from './answer-table.ts';
import type { CacheEntry } from './entry.ts';
import { keyHasName, keyHasSuffix, keyHasType, typeOfKey } from './key.ts';
import type { NxdomainCuts } from './nxdomain-cut.ts';
import { Shelf } from './shelf.ts';

/** One part in this many of the cache is for failures. */
const FAILURE_SHARE = 16;
/** Of the rest. */
const NEWCOMER_SHARE = 1 / 4;

export interface CacheStoreOptions {
  readonly table?: AnswerTable | null;
  /** Learns of every denial that is kept; null: a denial is of its own question only. */
  readonly cuts?: NxdomainCuts | null;
  /** 32 secret bits, so that nobody can choose names that collide. */
  readonly seed?: number;
}

export class CacheStore {
  readonly #answers: Shelf;
  readonly #failures: Shelf;
  /** Has a copy of every answer that is kept and small, for fronts to serve; failures never. */
  readonly #table: AnswerTable | null;
  readonly cuts: NxdomainCuts | null;

  /** @param bytesMax all entries together, at least 1 MiB by the configuration */
  constructor(bytesMax: number, { table = null, cuts = null, seed = 0 }: CacheStoreOptions = {}) {
    this.#table = table;
    this.cuts = cuts;
    const failureOctets = Math.floor(bytesMax / FAILURE_SHARE);
    const octetsMax = bytesMax - failureOctets;
    this.#answers = new Shelf({ octetsMax, newcomerShare: NEWCOMER_SHARE, seed });
    this.#failures = new Shelf({ octetsMax: failureOctets, newcomerShare: 0, seed });
  }

  /**
   * The answer or denial kept under the key, fresh or not; it counts as asked for. The entry is the
   * caller's.
   */
  get(key: string): CacheEntry | undefined {
    return this.#answers.get(key, true);
  }

  /** The failure kept under the key, fresh or not; ask only when there is no fresh answer. */
  getFailure(key: string): CacheEntry | undefined {
    return this.#failures.get(key, true);
  }

  /** The answer or failure kept under the key, fresh or not, without counting as asked for. */
  peek(key: string, what: 'answer' | 'failure'): CacheEntry | undefined {
    return (what === 'answer' ? this.#answers : this.#failures).get(key, false);
  }

  /**
   * Keeps an entry, whose question is that of the key. An answer ends the failure of its key; a failure
   * leaves the answer be.
   */
  set(key: string, entry: CacheEntry): void {
    if (entry.kind === 'failure') {
      this.#failures.set(key, entry, true);
      return;
    }
    this.#answers.set(key, entry, entry.kind === 'answer' && typeOfKey(key) === TYPE.MX);
    this.#failures.delete(key);
    this.#table?.publish(key, entry);
    this.cuts?.note(key, entry);
  }

  /**
   * The denial that follows for the key from one kept for its name, or for a name above it.
   * @param apexOctets as {@link NxdomainCuts.find} has it
   */
  denialAbove(key: string, apexOctets: number, nowMs: number): CacheEntry | null {
    return this.cuts?.find(key, apexOctets, nowMs, (above) => this.peek(above, 'answer')) ?? null;
  }

  /** Gives fronts an answer that they asked for although it is kept here: it was crowded out there. */
  offer(key: string, entry: CacheEntry): void {
    this.#table?.ensure(key, entry);
  }

  /**
   * Counts as asked for what fronts served of late, a part of it each time.
   *
   * @param turns   calls until every answer was looked at
   * @param usedMax answers at most each time
   * @param onUsed  told of each, and how often: all calls together tell of each hit once
   */
  noteHits(turns: number, usedMax: number, onUsed: (key: string, hits: number) => void): void {
    const table = this.#table;
    table?.sweep(Math.ceil(table.slotCount / turns), usedMax, (key, hits) => {
      this.addHits(key, hits);
      onUsed(key, hits);
    });
  }

  /** How often the answer was asked for lately, 0 to 255: since it was stored, and half of what was before. */
  hits(key: string): number {
    return this.#answers.hits(key);
  }

  /** Others have answered from copies; whoever is popular there must not be forgotten here. */
  addHits(key: string, count: number): void {
    this.#answers.addHits(key, count);
  }

  /** @returns whether there was one */
  delete(key: string): boolean {
    const hadFailure = this.#failures.delete(key);
    this.#table?.remove(key);
    return this.#answers.delete(key) || hadFailure;
  }

  /** @param name as nameKey gives it. @returns entries removed */
  flushName(name: string): number {
    return this.flushWhere((key) => keyHasName(key, name));
  }

  /** Removes the name and all below it. @param suffix as nameKey gives it. @returns entries removed */
  flushSuffix(suffix: string): number {
    return this.flushWhere((key) => keyHasSuffix(key, suffix));
  }

  /** @returns entries removed */
  flushType(type: number): number {
    return this.flushWhere((key) => keyHasType(key, type));
  }

  /** Forgets what failed, as when its cause is over. @returns entries removed */
  flushFailures(): number {
    return this.#failures.clear();
  }

  /** @returns entries removed */
  flushAll(): number {
    this.#table?.clear();
    return this.#answers.clear() + this.#failures.clear();
  }

  /** At most `entriesMax` entries, most recently stored first, failures last; nothing counts as asked for. */
  *dump(entriesMax: number): Generator<readonly [key: string, entry: CacheEntry]> {
    let left = entriesMax;
    for (const shelf of [this.#answers, this.#failures]) {
      for (const pair of shelf.dump()) {
        if (left <= 0) return;
        left -= 1;
        yield pair;
      }
    }
  }

  /** Answers and denials in so many parts, each small enough to be walked at once. */
  get parts(): number {
    return this.#answers.segmentCount;
  }

  /** @param part 0 to parts - 1. Between two calls entries may move; who walks all parts may miss those */
  entriesOf(part: number): (readonly [key: string, entry: CacheEntry])[] {
    return this.#answers.entriesOf(part);
  }

  /** Octets in use, failures included. */
  get bytes(): number {
    return this.#answers.octets + this.#failures.octets;
  }

  get entries(): number {
    return this.#answers.entries + this.#failures.entries;
  }

  get failures(): number {
    return this.#failures.entries;
  }

  /** Entries given up for want of room, ever. */
  get evicted(): number {
    return this.#answers.evictedTotal + this.#failures.evictedTotal;
  }

  /** @returns entries removed. Looks at every key, 100 ns each */
  flushWhere(isDoomed: (key: string) => boolean): number {
    const removed = this.#answers.deleteWhere((key) => {
      if (!isDoomed(key)) return false;
      this.#table?.remove(key);
      return true;
    });
    return removed + this.#failures.deleteWhere(isDoomed);
  }
}
