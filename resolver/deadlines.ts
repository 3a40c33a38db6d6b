/** How long each client waits before it gives up: by its network, the first that contains it. */
import type { Network } from '../runtime/settings.ts';

export interface ClientProfile {
  readonly networks: readonly Network[];
  readonly deadline: number;
}

export class Deadlines {
  readonly #profiles: readonly ClientProfile[];
  readonly #defaultMs: number;
  /** Of all clients; how long an exchange may take, whoever began it. */
  readonly longestMs: number;

  constructor(profiles: readonly ClientProfile[], defaultMs: number) {
    this.#profiles = profiles;
    this.#defaultMs = defaultMs;
    this.longestMs = Math.max(defaultMs, ...profiles.map(({ deadline }) => deadline));
  }

  /** @param address numeric. @returns milliseconds from the arrival of a query to its answer */
  of(address: string): number {
    for (const { networks, deadline } of this.#profiles) {
      if (networks.some((network) => network.contains(address))) return deadline;
    }
    return this.#defaultMs;
  }
}
