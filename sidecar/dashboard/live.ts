/**
 * The page's live data as server-sent events (WHATWG HTML §9.2): "tick" each second, "state", the tables,
 * every few.
 *
 * Invariants: at most CLIENTS_MAX at once; one who does not read is hung up on before UNREAD_OCTETS_MAX
 * wait for it; each event is written once, whoever many read it; with nobody there, nothing is made.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Clock, Timer } from '../../runtime/clock.ts';
import { AdminError, endWithServer } from '../admin/server.ts';
import { FRAME_MS, type Frame, type Hub } from './hub.ts';

export const CLIENTS_MAX = 32;
/** A few states of a busy sidecar. */
const UNREAD_OCTETS_MAX = 1_048_576;
/** Every so many ticks. */
const STATE_EVERY = 3;

/** What we need of a client's response. */
export interface Client {
  write(text: string): unknown;
  /** Octets that wait for it. */
  readonly writableLength: number;
  destroy(): unknown;
}

export class Live {
  readonly #hub: Hub;
  readonly #clock: Clock;
  readonly #clients = new Set<Client>();
  #timer: Timer | null = null;
  #ticks = 0;

  constructor(hub: Hub, clock: Clock) {
    this.#hub = hub;
    this.#clock = clock;
  }

  get clients(): number {
    return this.#clients.size;
  }

  /** @returns how to leave, or null when too many are there */
  join(client: Client): (() => void) | null {
    if (this.#clients.size >= CLIENTS_MAX) return null;
    this.#clients.add(client);
    void this.#hub
      .frame()
      .then((frame) => this.#write(client, stateEvent(frame) + tickEvent(frame)));
    this.#arm();
    return () => {
      this.#clients.delete(client);
    };
  }

  /** Hangs up on everyone. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    for (const client of this.#clients) client.destroy();
    this.#clients.clear();
  }

  #arm(): void {
    this.#timer ??= this.#clock.after(FRAME_MS, () => {
      this.#timer = null;
      if (this.#clients.size === 0) return;
      this.#arm();
      void this.#hub.frame().then((frame) => this.#tell(frame));
    });
  }

  #tell(frame: Frame): void {
    this.#ticks += 1;
    const isStateDue = this.#ticks % STATE_EVERY === 0;
    const text = (isStateDue ? stateEvent(frame) : '') + tickEvent(frame);
    for (const client of this.#clients) this.#write(client, text);
  }

  #write(client: Client, text: string): void {
    if (!this.#clients.has(client)) return;
    client.write(text);
    if (client.writableLength <= UNREAD_OCTETS_MAX) return;
    this.#clients.delete(client);
    client.destroy();
  }
}

const stateEvent = ({ state }: Frame): string => `event: state\ndata: ${JSON.stringify(state)}\n\n`;
const tickEvent = ({ tick }: Frame): string => `event: tick\ndata: ${JSON.stringify(tick)}\n\n`;

/** @throws AdminError 503 when too many watch */
export function streamLive(live: Live, request: FastifyRequest, reply: FastifyReply): void {
  const { raw } = reply;
  const leave = live.join(raw);
  if (leave === null) throw new AdminError(503, 'ADMIN_WATCHERS', 'too many watch; close a page');
  reply.hijack();
  const headers = reply.getHeaders() as Record<string, string>;
  endWithServer(request, raw);
  raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
  raw.write('retry: 2000\n\n');
  request.raw.socket.once('close', leave);
}
