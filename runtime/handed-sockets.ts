/**
 * Sockets that somebody else has bound for us: systemd (socket activation), or our supervisor, so that
 * a process that replaces another reads on where that one stops. What arrives while nobody reads waits
 * in the kernel.
 *
 * Invariant: each is handed out once. Whoever else holds them goes on doing so: they are closed here,
 * never shut down.
 */
import { type Endpoint, formatEndpoint } from './settings.ts';

export interface HandedSocket {
  readonly protocol: 'udp' | 'tcp';
  readonly endpoint: Endpoint;
  /** Of this process; TCP ones listen. */
  readonly fd: number;
}

export class HandedSockets {
  readonly #left: HandedSocket[];

  constructor(sockets: readonly HandedSocket[]) {
    this.#left = [...sockets];
  }

  /** @returns a descriptor that the caller now owns, or null when none was handed for the address */
  take(protocol: 'udp' | 'tcp', endpoint: Endpoint): number | null {
    const wanted = formatEndpoint(endpoint);
    const index = this.#left.findIndex(
      (socket) => socket.protocol === protocol && formatEndpoint(socket.endpoint) === wanted,
    );
    return index < 0 ? null : this.#left.splice(index, 1)[0]!.fd;
  }

  /** Those that nothing in the configuration is for. */
  get left(): readonly HandedSocket[] {
    return this.#left;
  }
}
