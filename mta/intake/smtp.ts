/**
 * Owns the SMTP door: listeners, the sessions behind them, their number and their time-outs.
 *
 * smtp-server is not used: it waits 100 ms before each greeting, cannot take quoted local parts, rewrites
 * domains, merges recipients that differ in case, takes bare LF for the end of a command, and fixes one
 * enhanced status code per reply code.
 */
import { createServer, type Server, type Socket } from 'node:net';
import type { SecureContext } from 'node:tls';
import type { Timer } from '../../runtime/clock.ts';
import type { HandedSockets } from '../../runtime/handed-sockets.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { ClientCount, clientOf } from './client-count.ts';
import type { Intake } from './intake.ts';
import { Session, type SessionHost } from './session.ts';

/** How late a time-out may be noticed. */
export const SWEEP_MS = 5_000;
/** Connections the kernel holds for us; Linux cuts it to net.core.somaxconn. */
const BACKLOG = 4096;

export class SmtpDoor implements SessionHost {
  readonly intake: Intake;
  /** May be replaced: who comes from then on gets the new one. */
  secureContext: SecureContext | null;
  /** Each with the client that it counts for, or null. */
  readonly #sessions = new Map<Session, string | null>();
  readonly #strangers = new ClientCount();
  readonly #servers: Server[] = [];
  #sweep: Timer | null = null;
  /** Called when the last session has ended, once we are stopping. */
  #onEmpty: (() => void) | null = null;

  /** @param secureContext offers STARTTLS; null does not */
  constructor(intake: Intake, secureContext: SecureContext | null) {
    this.intake = intake;
    this.secureContext = secureContext;
  }

  /**
   * @param handed sockets that are bound already
   * @returns the addresses bound, in order; port 0 has become the system's choice
   * @throws the system's error (EADDRINUSE, EACCES, …); then nothing stays bound
   */
  async listen(endpoints: readonly Endpoint[], handed?: HandedSockets): Promise<Endpoint[]> {
    const bound: Endpoint[] = [];
    try {
      for (const endpoint of endpoints) {
        bound.push(await this.#bind(endpoint, handed?.take('tcp', endpoint) ?? null));
      }
    } catch (error) {
      for (const server of this.#servers.splice(0)) server.close();
      throw error;
    }
    if (this.#sweep === null) this.#scheduleSweep();
    return bound;
  }

  /**
   * Takes no new connection, sends idle clients away with 421, and gives transactions under way so long
   * to finish; then cuts what is left. Resolves when every connection is gone; idempotent.
   *
   * @param lastOrdersMs so long a client that has sent nothing yet may begin its first message
   */
  async stop(withinMs: number, lastOrdersMs = 0): Promise<void> {
    this.intake.draining = true;
    this.intake.lastOrders = lastOrdersMs > 0;
    for (const server of this.#servers.splice(0)) server.close();
    for (const session of this.#sessions.keys()) session.drain();
    if (this.#sessions.size > 0) {
      const lastOrders = this.intake.clock.after(lastOrdersMs, () => {
        this.intake.lastOrders = false;
        for (const session of this.#sessions.keys()) session.drain();
      });
      const cut = this.intake.clock.after(withinMs, () => {
        for (const session of this.#sessions.keys()) session.destroy();
      });
      await new Promise<void>((resolve) => {
        const previous = this.#onEmpty;
        this.#onEmpty = () => {
          previous?.();
          resolve();
        };
      });
      lastOrders.cancel();
      cut.cancel();
    }
    this.#sweep?.cancel();
    this.#sweep = null;
  }

  onSessionEnd(session: Session): void {
    const client = this.#sessions.get(session) ?? null;
    if (client !== null) this.#strangers.leave(client);
    this.#sessions.delete(session);
    this.intake.counters.clients = this.#sessions.size;
    if (this.#sessions.size === 0) this.#onEmpty?.();
  }

  /** @param fd of a socket that is bound there already, or null */
  #bind(endpoint: Endpoint, fd: number | null): Promise<Endpoint> {
    // allowHalfOpen: a client may close its side behind its last command and still wants the reply.
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
      this.#admit(socket),
    );
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.once('listening', () => {
        server.off('error', reject);
        server.on('error', (error) => this.intake.log.error({ error }, 'smtp listener failed'));
        this.#servers.push(server);
        const address = server.address();
        const port = typeof address === 'object' && address !== null ? address.port : endpoint.port;
        resolve({ address: endpoint.address, port });
      });
      const { address: host, port } = endpoint;
      if (fd === null) server.listen({ host, port, backlog: BACKLOG });
      // Of a descriptor Node takes no `backlog` among the options.
      else server.listen({ fd }, BACKLOG);
    });
  }

  #admit(socket: Socket): void {
    const { counters, settings } = this.intake;
    if (this.#sessions.size >= settings.smtp_clients) {
      this.#turnAway(socket, 'smtp_clients');
      return;
    }
    const address = socket.remoteAddress ?? '';
    // Our own clients share the whole; of strangers each has a part.
    const client = this.intake.allows(address) ? null : clientOf(address);
    if (client !== null && !this.#strangers.enter(client, settings.smtp_clients_per_address)) {
      this.#turnAway(socket, 'smtp_clients_per_address');
      return;
    }
    counters.connections += 1;
    this.#sessions.set(new Session(this, socket), client);
    counters.clients = this.#sessions.size;
  }

  #turnAway(socket: Socket, bound: string): void {
    this.intake.refuse('clients');
    socket.on('error', () => undefined);
    socket.end(`421 4.3.2 too many connections (bound ${bound})\r\n`, () => socket.destroy());
  }

  #scheduleSweep(): void {
    this.#sweep = this.intake.clock.after(SWEEP_MS, () => {
      const nowMs = this.intake.clock.monotonicMs();
      for (const session of this.#sessions.keys()) session.checkTimeouts(nowMs);
      this.#scheduleSweep();
    });
  }
}
