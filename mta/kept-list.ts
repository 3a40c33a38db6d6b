/**
 * What operators have decided, as a list by key in a JSON file of its own.
 *
 * Invariant: what find() yields is on disk already, so that a decision that was confirmed stays.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';

/** At once; each is looked up by key, so that more would cost memory alone. */
export const KEPT_MAX = 10_000;

export class KeptList<Item> {
  readonly #path: string | null;
  readonly #keyOf: (item: Item) => string;
  #known: ReadonlyMap<string, Item>;

  /** @param path null keeps them in memory. @throws the system's error, or SyntaxError for a damaged file */
  constructor(path: string | null, keyOf: (item: Item) => string) {
    this.#path = path;
    this.#keyOf = keyOf;
    this.#known = new Map(read<Item>(path).map((item) => [keyOf(item), item]));
  }

  get size(): number {
    return this.#known.size;
  }

  find(key: string): Item | null {
    return this.#known.get(key) ?? null;
  }

  list(): readonly Item[] {
    return [...this.#known.values()];
  }

  /** Replaces the item of the same key. @throws RangeError beyond KEPT_MAX, or the system's error; then nothing changed */
  put(item: Item): void {
    const key = this.#keyOf(item);
    if (!this.#known.has(key) && this.#known.size >= KEPT_MAX) {
      throw new RangeError(`more than ${KEPT_MAX}`);
    }
    this.#replace(new Map(this.#known).set(key, item));
  }

  /** Idempotent. @throws the system's error; then nothing changed */
  remove(key: string): void {
    if (!this.#known.has(key)) return;
    const left = new Map(this.#known);
    left.delete(key);
    this.#replace(left);
  }

  #replace(known: ReadonlyMap<string, Item>): void {
    if (this.#path !== null) write(this.#path, JSON.stringify([...known.values()], null, 2));
    this.#known = known;
  }
}

function read<Item>(path: string | null): readonly Item[] {
  if (path === null) return [];
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as readonly Item[];
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return [];
    throw error;
  }
}

/** The old file or the new one, whenever the power fails. */
function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.new`;
  writeFileSync(fresh, `${text}\n`, { mode: 0o640, flush: true });
  renameSync(fresh, path);
  const folder = openSync(dirname(path), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
