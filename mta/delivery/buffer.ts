/** Leased mail of one site that waits for a connection: the urgent first, else in order. */
import { type MessageId, PRIORITIES } from '../envelope.ts';
import type { Consignment } from './consignment.ts';

/** Consignments of one class looked at for one that may go; those behind wait their turn. */
const LOOK_MAX = 256;

export class Buffer {
  /** By rank of the class. */
  readonly #classes: Consignment[][] = PRIORITIES.map(() => []);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(consignment: Consignment): void {
    this.#of(consignment).push(consignment);
    this.#length += 1;
  }

  /** To the front of their class, in order. */
  putBack(consignments: readonly Consignment[]): void {
    for (const consignment of consignments.toReversed()) this.#of(consignment).unshift(consignment);
    this.#length += consignments.length;
  }

  /** @returns the first that `may` go, or null */
  take(may: (consignment: Consignment) => boolean): Consignment | null {
    for (const line of this.#classes) {
      const end = Math.min(line.length, LOOK_MAX);
      for (let at = 0; at < end; at += 1) {
        const consignment = line[at]!;
        if (!may(consignment)) continue;
        if (at === 0) line.shift();
        else line.splice(at, 1);
        this.#length -= 1;
        return consignment;
      }
    }
    return null;
  }

  /** Looks at each: for whoever asks why, not for the way of mail. */
  has(message: MessageId): boolean {
    return this.#classes.some((line) => line.some(({ leased }) => leased.message === message));
  }

  /** Whose mail waits: at most `limit` domains. Looks at each message, for reports. */
  domains(limit: number): Set<string> {
    const found = new Set<string>();
    for (const line of this.#classes) {
      for (const { leased } of line) {
        for (const { domain } of leased.recipients) {
          if (found.size === limit) return found;
          found.add(domain);
        }
      }
    }
    return found;
  }

  /** Takes all. */
  empty(): Consignment[] {
    const all = this.#classes.flat();
    for (const line of this.#classes) line.length = 0;
    this.#length = 0;
    return all;
  }

  #of({ leased }: Consignment): Consignment[] {
    return this.#classes[PRIORITIES.indexOf(leased.priority)]!;
  }
}
