/**
 * Postfix's socketmap protocol (socketmap_table(5)): netstrings, one request "NAME KEY", one reply
 * "OK VALUE", "NOTFOUND ", "TEMP why" or "PERM why".
 *
 * Invariants
 * - At most CONNECTIONS_MAX connections; more are closed at once, and Postfix defers and asks again.
 * - One request of a connection is answered at a time, and nothing more is read meanwhile.
 * - A client outside `allow`, one that speaks something else, and one that is silent for IDLE_MS is
 *   hung up on.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock, Timer } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Endpoint, Network } from '../../runtime/settings.ts';
import { NetstringReader, netstring } from './netstring.ts';

export interface SocketmapParts {
  /** By name; each yields the value, or null when it has none. */
  readonly maps: Readonly<Record<string, (key: string) => Promise<string | null>>>;
  readonly allow: readonly Network[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Postfix has a connection for each of its processes that look up, by default at most 100 of a kind. */
const CONNECTIONS_MAX = 1_000;
/** A map name, and an address of RFC 5321 §4.5.3.1 with room to spare. */
const REQUEST_OCTETS_MAX = 1_024;
/** Postfix itself closes a connection after 10 s without a request. */
const IDLE_MS = 60_000;

export class SocketmapDoor {
  readonly #parts: SocketmapParts;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;

  constructor(parts: SocketmapParts) {
    this.#parts = parts;
  }

  /**
   * @param fd of a socket that is bound there already, or null
   * @returns the address bound; port 0 has become the system's choice
   * @throws the system's error when it cannot be bound
   */
  listen({ address, port }: Endpoint, fd: number | null = null): Promise<Endpoint> {
    const server = createServer({ noDelay: true }, (socket) => this.#admit(socket));
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(fd === null ? { host: address, port } : { fd }, () => {
        server.off('error', reject);
        server.on('error', (error) => this.#parts.log.error({ error }, 'socketmap failed'));
        this.#server = server;
        const bound = server.address();
        resolve({
          address,
          port: typeof bound === 'object' && bound !== null ? bound.port : port,
        });
      });
    });
  }

  /** Idempotent. */
  stop(): void {
    this.#server?.close();
    this.#server = null;
    for (const socket of this.#sockets) socket.destroy();
  }

  #admit(socket: Socket): void {
    const address = socket.remoteAddress ?? '';
    const isAllowed = this.#parts.allow.some((network) => network.contains(address));
    if (!isAllowed || this.#sockets.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    this.#sockets.add(socket);
    const reader = new NetstringReader(REQUEST_OCTETS_MAX);
    let idle = this.#hangUpLater(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      idle.cancel();
      this.#sockets.delete(socket);
    });
    socket.on('data', (chunk) => {
      idle.cancel();
      const requests = reader.push(chunk);
      if (requests === null) {
        socket.destroy();
        return;
      }
      socket.pause();
      void this.#answerAll(socket, requests).then(() => {
        if (socket.destroyed) return;
        idle = this.#hangUpLater(socket);
        socket.resume();
      });
    });
  }

  #hangUpLater(socket: Socket): Timer {
    return this.#parts.clock.after(IDLE_MS, () => socket.destroy());
  }

  async #answerAll(socket: Socket, requests: readonly Buffer[]): Promise<void> {
    for (const request of requests) {
      const reply = await this.#answer(request.toString('utf8'));
      if (socket.destroyed) return;
      socket.write(netstring(reply));
    }
  }

  async #answer(request: string): Promise<string> {
    const space = request.indexOf(' ');
    const name = space === -1 ? request : request.slice(0, space);
    const { maps } = this.#parts;
    const lookUp = Object.hasOwn(maps, name) ? maps[name] : undefined;
    if (space === -1 || lookUp === undefined) return 'PERM no such map here; there is "route"';
    const value = await lookUp(request.slice(space + 1));
    return value === null ? 'NOTFOUND ' : `OK ${value}`;
  }
}
