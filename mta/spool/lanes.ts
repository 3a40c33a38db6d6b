/**
 * The lanes of a domain's queue: one for each message class and tenant that has mail for it, so that a
 * campaign of a million recipients is one lane beside others, and nobody stands behind it.
 *
 * Invariants
 * - A lane is a small integer: tenant id × LANE_STEP + rank of the class. Lane 1 is normal mail of
 *   nobody in particular, which costs no octet in a row.
 * - What is remembered of a domain names every lane in which it has rows, and perhaps some in which it
 *   has none any more.
 */
import type Database from 'better-sqlite3';
import { PRIORITIES, type Priority } from '../envelope.ts';

export type Lane = number;

const LANE_STEP = 4;
/** Tenants that have lanes of their own, ever; later ones share that of nobody in particular. */
const TENANTS_MAX = 65_536;
/** Domains whose lanes are remembered. Forgetting costs a few seeks. */
const DOMAINS_MAX = 131_072;

export const rankOf = (lane: Lane): number => lane % LANE_STEP;
export const tenantIdOf = (lane: Lane): number => Math.floor(lane / LANE_STEP);

/** Ids of tenants, in the database: rolled back with the message that brought them. */
export class Tenants {
  readonly #find: Database.Statement<[string], number>;
  readonly #add: Database.Statement<[string], unknown>;
  readonly #last: Database.Statement<[], number | null>;

  constructor(db: Database.Database) {
    this.#find = db.prepare<[string], number>('SELECT id FROM tenants WHERE name = ?').pluck();
    this.#add = db.prepare('INSERT INTO tenants (name) VALUES (?)');
    this.#last = db.prepare<[], number | null>('SELECT max(id) FROM tenants').pluck();
  }

  /** @param name '' is nobody in particular. @returns its id, null when it never had mail here */
  find(name: string): number | null {
    return name === '' ? 0 : (this.#find.get(name) ?? null);
  }

  /** The lane of a message; the tenant's id is made when it has none. Inside a transaction. */
  laneFor(tenant: string, priority: Priority): Lane {
    return (this.find(tenant) ?? this.#create(tenant)) * LANE_STEP + PRIORITIES.indexOf(priority);
  }

  #create(name: string): number {
    if ((this.#last.get() ?? 0) >= TENANTS_MAX) return 0;
    return Number(this.#add.run(name).lastInsertRowid);
  }
}

export class Lanes {
  readonly #next: Database.Statement<[string, Lane], Lane>;
  readonly #ofDomain = new Map<string, Lane[]>();

  constructor(db: Database.Database) {
    this.#next = db
      .prepare<[string, Lane], Lane>(
        'SELECT lane FROM recipients WHERE domain = ? AND lane > ? ORDER BY lane LIMIT 1',
      )
      .pluck();
  }

  /** Lanes in which the domain may have rows. */
  of(domain: string): readonly Lane[] {
    const known = this.#ofDomain.get(domain);
    if (known !== undefined) return known;
    const lanes: Lane[] = [];
    let lane = this.#next.get(domain, -1);
    while (lane !== undefined) {
      lanes.push(lane);
      lane = this.#next.get(domain, lane);
    }
    if (lanes.length > 0) this.#remember(domain, lanes);
    return lanes;
  }

  /** A row is committed there. */
  appeared(domain: string, lane: Lane): void {
    const known = this.#ofDomain.get(domain);
    if (known !== undefined && !known.includes(lane)) known.push(lane);
  }

  /** A walk found no row there, leased or not. */
  emptied(domain: string, lane: Lane): void {
    const known = this.#ofDomain.get(domain);
    if (known === undefined) return;
    const left = known.filter((other) => other !== lane);
    if (left.length === 0) this.#ofDomain.delete(domain);
    else this.#ofDomain.set(domain, left);
  }

  #remember(domain: string, lanes: Lane[]): void {
    if (this.#ofDomain.size >= DOMAINS_MAX) this.#ofDomain.clear();
    this.#ofDomain.set(domain, lanes);
  }
}
