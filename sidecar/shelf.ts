/**
 * The sockets that `up` holds for its programs, so that one process can take over from another and a
 * crash loses nothing that the kernel can keep. Those that systemd has bound come first.
 *
 * Invariant: what is bound here is bound once, and open until it is dropped or the shelf is closed.
 */
import type { SocketBinder } from '../resolver/sockets.ts';
import { activatedSockets } from '../runtime/activation.ts';
import type { HandedSocket } from '../runtime/handed-sockets.ts';
import type { Log } from '../runtime/log.ts';
import { formatEndpoint } from '../runtime/settings.ts';
import { type Plan, PROGRAMS, type ProgramName } from './protocol.ts';

export type Handed = Record<ProgramName, HandedSocket[]>;
type Wanted = Plan['programs'][ProgramName]['sockets'][number];

const isFor = (socket: HandedSocket, { protocol, endpoint }: Wanted): boolean =>
  socket.protocol === protocol && formatEndpoint(socket.endpoint) === formatEndpoint(endpoint);

export class SocketShelf {
  readonly #activated: readonly HandedSocket[];
  readonly #binder: SocketBinder | null;
  readonly #log: Log;
  #bound: HandedSocket[] = [];
  #inUse: Handed = { resolver: [], mta: [] };

  private constructor(binder: SocketBinder | null, activated: readonly HandedSocket[], log: Log) {
    this.#binder = binder;
    this.#activated = activated;
    this.#log = log;
  }

  static async open(log: Log): Promise<SocketShelf> {
    const { socketBinder } = await import('../resolver/sockets.ts');
    const binder = await socketBinder().catch((error: Error) => {
      log.debug({ reason: error.message }, 'sockets are left to the programs to bind');
      return null;
    });
    return new SocketShelf(binder, activatedSockets(), log);
  }

  /** Whether sockets can be held here at all; else no program can take over from another. */
  get works(): boolean {
    return this.#binder !== null;
  }

  /**
   * Binds what a plan needs and is not held yet.
   *
   * @returns what to hand to each program; without those that cannot be bound: the program tries it
   *   itself, and says why it cannot. What systemd has bound and nobody wants goes to the resolver, which
   *   says so.
   */
  provide(plan: Plan): Handed {
    const left = new Set([...this.#activated, ...this.#bound]);
    const handed: Handed = { resolver: [], mta: [] };
    for (const name of PROGRAMS) {
      const { sockets } = plan.programs[name];
      for (const wanted of sockets) {
        const held = [...left].find((socket) => isFor(socket, wanted));
        // Systemd has bound as many as there shall be.
        const isForeign = this.#activated.some((socket) => isFor(socket, wanted));
        const socket = held ?? (isForeign ? null : this.#bind(wanted));
        if (socket === null) continue;
        left.delete(socket);
        handed[name].push(socket);
      }
    }
    handed.resolver.push(...this.#activated.filter((socket) => left.has(socket)));
    return handed;
  }

  /**
   * Closes what is not in use.
   *
   * @param handed what is in use from now on; null: what was before
   */
  settle(handed: Handed | null): void {
    this.#inUse = handed ?? this.#inUse;
    const used = new Set(PROGRAMS.flatMap((name) => this.#inUse[name]));
    for (const socket of this.#bound) if (!used.has(socket)) this.#binder?.close(socket.fd);
    this.#bound = this.#bound.filter((socket) => used.has(socket));
  }

  close(): void {
    for (const { fd } of this.#bound.splice(0)) this.#binder?.close(fd);
  }

  #bind(wanted: Wanted): HandedSocket | null {
    const { protocol, endpoint } = wanted;
    if (this.#binder === null) return null;
    try {
      const socket = { protocol, endpoint, fd: this.#binder.bind(wanted) };
      this.#bound.push(socket);
      return socket;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.debug({ reason }, 'a socket is left to its program to bind');
      return null;
    }
  }
}
