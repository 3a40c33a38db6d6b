/** Who may ask. Remembers its verdicts, because matching parses the address anew each time (2 µs). */
import type { Network } from '../runtime/settings.ts';

/** Addresses remembered; a mail host has a handful of clients. */
const VERDICTS_MAX = 4_096;

export class Acl {
  readonly #networks: readonly Network[];
  readonly #verdicts = new Map<string, boolean>();

  constructor(networks: readonly Network[]) {
    this.#networks = networks;
  }

  allows(address: string): boolean {
    return this.#verdicts.get(address) ?? this.#judge(address);
  }

  #judge(address: string): boolean {
    const verdict = this.#networks.some((network) => network.contains(address));
    if (this.#verdicts.size >= VERDICTS_MAX) this.#verdicts.clear();
    this.#verdicts.set(address, verdict);
    return verdict;
  }
}
