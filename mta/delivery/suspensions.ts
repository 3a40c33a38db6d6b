/** What operators hold back: domains, sites, tenants, campaigns; each until it is resumed, also across a restart. */
import { KeptList } from '../kept-list.ts';
import type { Site } from '../plan/site.ts';
import type { Suspension, SuspensionScope } from '../running.ts';

const keyOf = ({ scope, name }: Pick<Suspension, 'scope' | 'name'>): string => `${scope} ${name}`;

export class Suspensions {
  readonly #kept: KeptList<Suspension>;

  /** @param path null keeps them in memory. @throws the system's error, or SyntaxError for a damaged file */
  constructor(path: string | null) {
    this.#kept = new KeptList<Suspension>(path, keyOf);
  }

  find(scope: SuspensionScope, name: string): Suspension | null {
    // Asked for every domain and message, and nearly always in vain.
    return this.#kept.size === 0 ? null : this.#kept.find(keyOf({ scope, name }));
  }

  list(): readonly Suspension[] {
    return this.#kept.list();
  }

  names(scope: SuspensionScope): string[] {
    return this.list()
      .filter((one) => one.scope === scope)
      .map(({ name }) => name);
  }

  /** Idempotent: the first one stands. @throws as KeptList.put() */
  add(suspension: Suspension): void {
    if (this.find(suspension.scope, suspension.name) === null) this.#kept.put(suspension);
  }

  /** Idempotent. @throws the system's error; then nothing changed */
  remove(scope: SuspensionScope, name: string): void {
    this.#kept.remove(keyOf({ scope, name }));
  }
}

/** A site is named by its alias or its id. */
export const siteSuspension = (
  suspensions: Suspensions,
  { alias, id }: Pick<Site, 'alias' | 'id'>,
): Suspension | null => suspensions.find('site', alias) ?? suspensions.find('site', id);
