/**
 * What operators hold back: domains, sites, tenants, campaigns; each until it is resumed, also across
 * a restart.
 *
 * Invariant: what find() yields is on disk already, so that a suspension that was confirmed stays.
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
import type { Site } from '../plan/site.ts';
import type { Suspension, SuspensionScope } from '../running.ts';

/** At once; each is looked up by name, so that more would cost memory alone. */
export const SUSPENSIONS_MAX = 10_000;

const keyOf = ({ scope, name }: Pick<Suspension, 'scope' | 'name'>): string => `${scope} ${name}`;

export class Suspensions {
  readonly #path: string | null;
  #known: ReadonlyMap<string, Suspension>;

  /** @param path null keeps them in memory. @throws the system's error, or SyntaxError for a damaged file */
  constructor(path: string | null) {
    this.#path = path;
    this.#known = new Map(read(path).map((one) => [keyOf(one), one]));
  }

  find(scope: SuspensionScope, name: string): Suspension | null {
    if (this.#known.size === 0) return null;
    return this.#known.get(keyOf({ scope, name })) ?? null;
  }

  list(): readonly Suspension[] {
    return [...this.#known.values()];
  }

  names(scope: SuspensionScope): string[] {
    return this.list()
      .filter((one) => one.scope === scope)
      .map(({ name }) => name);
  }

  /** Idempotent. @throws RangeError beyond SUSPENSIONS_MAX, or the system's error; then nothing changed */
  add(suspension: Suspension): void {
    if (this.find(suspension.scope, suspension.name) !== null) return;
    if (this.#known.size >= SUSPENSIONS_MAX) throw new RangeError('too many suspensions');
    this.#replace(new Map(this.#known).set(keyOf(suspension), suspension));
  }

  /** Idempotent. @throws the system's error; then nothing changed */
  remove(scope: SuspensionScope, name: string): void {
    if (this.find(scope, name) === null) return;
    const left = new Map(this.#known);
    left.delete(keyOf({ scope, name }));
    this.#replace(left);
  }

  #replace(known: ReadonlyMap<string, Suspension>): void {
    if (this.#path !== null) write(this.#path, JSON.stringify([...known.values()], null, 2));
    this.#known = known;
  }
}

/** A site is named by its alias or its id. */
export const siteSuspension = (
  suspensions: Suspensions,
  { alias, id }: Pick<Site, 'alias' | 'id'>,
): Suspension | null => suspensions.find('site', alias) ?? suspensions.find('site', id);

function read(path: string | null): readonly Suspension[] {
  if (path === null) return [];
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as readonly Suspension[];
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
