/**
 * Questions that no client waits for: they go upstream in the lowest lane, a few at a time, so that
 * what is nice to have never stands before what somebody needs.
 *
 * Invariants: at most UNDER_WAY_MAX are under way; at most URGENT_MAX + PATIENT_MAX wait, each key
 * once; while any waits, UNDER_WAY_MAX are under way.
 */

import { parseKey } from './cache/key.ts';
import { LANE } from './upstream/budget.ts';
import { Question } from './upstream/question.ts';
import { HEADER_OCTETS, QUESTION_FIXED_OCTETS } from './wire/constants.ts';
import { keyToName } from './wire/names.ts';
import { writeQuery } from './wire/write.ts';

const UNDER_WAY_MAX = 64;
/** What is of use within seconds: some hundred bundles. */
const URGENT_MAX = 4_096;
/** A list of domains to warm the cache with. */
const PATIENT_MAX = 200_000;

/** warm waits behind all others. */
export type Purpose = 'bundle' | 'watch' | 'prefetch' | 'warm';

export interface RefreshOwner {
  /** @returns the question now under way, or null when there is no need, or no room, for it */
  refresh(key: string): Question | null;
  onRefreshStarted(key: string, purpose: Purpose): void;
  onRefreshEnded(key: string, purpose: Purpose, packetsSent: number): void;
}

export class RefreshQueue {
  readonly #owner: RefreshOwner;
  readonly #urgent = new Map<string, Purpose>();
  readonly #patient = new Map<string, Purpose>();
  readonly #underWay = new Map<
    string,
    { readonly purpose: Purpose; readonly question: Question }
  >();
  /** No room in the queue. */
  refused = 0;

  constructor(owner: RefreshOwner) {
    this.#owner = owner;
  }

  get waiting(): number {
    return this.#urgent.size + this.#patient.size;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  /** @returns false when there is no room */
  add(key: string, purpose: Purpose): boolean {
    const isPatient = purpose === 'warm';
    const queue = isPatient ? this.#patient : this.#urgent;
    if (queue.size >= (isPatient ? PATIENT_MAX : URGENT_MAX)) {
      this.refused += 1;
      return false;
    }
    queue.set(key, purpose);
    this.#pump();
    return true;
  }

  /** A flight of this key has ended, whoever started it. */
  onEnded(key: string): void {
    const ended = this.#underWay.get(key);
    if (ended === undefined) return;
    this.#underWay.delete(key);
    this.#owner.onRefreshEnded(key, ended.purpose, ended.question.packetsSent);
    this.#pump();
  }

  #pump(): void {
    while (this.#underWay.size < UNDER_WAY_MAX) {
      const queue = this.#urgent.size > 0 ? this.#urgent : this.#patient;
      const [first] = queue;
      if (first === undefined) return;
      const [key, purpose] = first;
      queue.delete(key);
      const question = this.#owner.refresh(key);
      if (question === null) continue;
      this.#underWay.set(key, { purpose, question });
      this.#owner.onRefreshStarted(key, purpose);
    }
  }
}

/** The question that a key stands for, as one of our own. */
export function refreshQuestion(key: string): Question {
  const { name, type, class: klass, dnssecOk, cd } = parseKey(key);
  const query = writeQuery({
    id: 0,
    name: keyToName(name),
    type,
    class: klass,
    ad: true,
    cd,
    dnssecOk,
  });
  return new Question(query, HEADER_OCTETS + name.length + QUESTION_FIXED_OCTETS, LANE.refresh);
}
