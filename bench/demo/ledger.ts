/**
 * What became of each message of the run, by the envelopes alone: a letter's number is in its
 * recipient's local part and in its reverse-path, so a bounce names the letter it is about.
 *
 * Invariant: a letter is accounted for when a sink accepted it exactly once and no bounce came, or no
 * sink accepted it and exactly one bounce came.
 */

/** What the recipient's local part asks of the sink that gets it. */
export type Fate = 'm' | 'gone' | 'refused';

export interface Balance {
  readonly delivered: number;
  readonly bounced: number;
  readonly outstanding: number;
  /** Accepted more than once, or both accepted and bounced, or bounced twice. */
  readonly contradictory: number;
}

const FATES: readonly string[] = ['m', 'gone', 'refused'] satisfies Fate[];
const COUNT_MAX = 255;

export class Ledger {
  readonly #senderDomain: string;
  readonly #letters: number;
  /** By letter number; saturates at COUNT_MAX. */
  readonly #accepted: Uint8Array;
  readonly #bounced: Uint8Array;
  /** Addresses that no letter of this run has. */
  readonly strangers: string[] = [];

  constructor(letters: number, senderDomain: string) {
    this.#letters = letters;
    this.#senderDomain = senderDomain;
    this.#accepted = new Uint8Array(letters);
    this.#bounced = new Uint8Array(letters);
  }

  recipient(letter: number, fate: Fate, domain: string): string {
    return `${fate}-${letter}@${domain}`;
  }

  reversePath(letter: number): string {
    return `bounces-${letter}@${this.#senderDomain}`;
  }

  /** A sink has acknowledged a message to this address. */
  accepted(address: string): void {
    const match = /^([a-z]+)-(\d+)@(.+)$/.exec(address.toLowerCase());
    const letter = Number(match?.[2] ?? Number.NaN);
    const isBounce = match?.[1] === 'bounces' && match[3] === this.#senderDomain;
    const counts = isBounce ? this.#bounced : this.#accepted;
    if (!(letter < this.#letters) || (!isBounce && !FATES.includes(match?.[1] ?? ''))) {
      this.strangers.push(address);
    } else if (counts[letter]! < COUNT_MAX) {
      counts[letter]! += 1;
    }
  }

  balance(): Balance {
    const balance = { delivered: 0, bounced: 0, outstanding: 0, contradictory: 0 };
    for (let letter = 0; letter < this.#letters; letter += 1) {
      const accepted = this.#accepted[letter]!;
      const bounced = this.#bounced[letter]!;
      if (accepted + bounced === 0) balance.outstanding += 1;
      else if (accepted + bounced > 1) balance.contradictory += 1;
      else if (accepted === 1) balance.delivered += 1;
      else balance.bounced += 1;
    }
    return balance;
  }

  /** @returns one line for each letter not accounted for, at most `limit` */
  problems(limit: number): string[] {
    const lines: string[] = [];
    for (let letter = 0; letter < this.#letters && lines.length < limit; letter += 1) {
      const accepted = this.#accepted[letter]!;
      const bounced = this.#bounced[letter]!;
      if (accepted + bounced === 1) continue;
      lines.push(`letter ${letter}: accepted ${accepted} times, bounced ${bounced} times`);
    }
    return lines;
  }
}
