/**
 * DNS over TCP (RFC 7766) and over TLS (RFC 7858): messages behind two octets of length, pipelined,
 * answered as they are ready. A client that has shut down its sending side still gets every answer.
 *
 * Invariants, each connection: at most PIPELINE_MAX queries unanswered and at most
 * WRITE_OCTETS_MAX octets of answers unread, beyond which we stop reading; open without a query
 * under way for at most IDLE_MS; with the same answer unread for at most 2 × SLOW_MS; a handshake takes
 * at most HANDSHAKE_MS. All: `tcp_clients` at once; of one address that is not this machine's, at most
 * `tcp_clients_each`.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { HandedSockets } from '../../runtime/handed-sockets.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { Counters } from '../counters.ts';
import { isLoopback } from '../rate-limit.ts';
import { ANSWER_OCTETS_MAX, type Client, IDLE_MS } from '../replies.ts';
import { MISSED, type Service } from '../service.ts';
import { FrameReader } from '../wire/frame.ts';
import { writeUint16 } from '../wire/message.ts';
import { listenAt } from './stream-server.ts';

const PIPELINE_MAX = 256;
const WRITE_OCTETS_MAX = 262_144;
const SLOW_MS = 10_000;
const HANDSHAKE_MS = 5_000;
const LENGTH_OCTETS = 2;

export interface StreamOptions {
  /** Sockets that are bound already. */
  readonly handed?: HandedSockets | null;
  readonly service: Service;
  readonly counters: Counters;
  readonly wheel: TimerWheel;
  readonly connectionsMax: number;
  readonly connectionsEachMax: number;
  readonly ipv6Only: boolean;
  /** null: no TLS. */
  readonly tls: TlsIdentity | null;
}

/** PEM. */
export interface TlsIdentity {
  readonly cert: Buffer;
  readonly key: Buffer;
}

export class StreamListener {
  readonly endpoint: Endpoint;
  readonly service: Service;
  readonly counters: Counters;
  readonly wheel: TimerWheel;
  /** One answer at a time is rendered, behind room for its length; every connection copies from it. */
  readonly framed = new Uint8Array(LENGTH_OCTETS + ANSWER_OCTETS_MAX);
  readonly out = this.framed.subarray(LENGTH_OCTETS);
  readonly connections = new Set<StreamConnection>();
  readonly transport: 'tcp' | 'tls';
  readonly #server: Server;
  /** Connections that are open, those in their handshake too. */
  readonly #sockets = new Set<Socket>();

  constructor(server: Server, endpoint: Endpoint, options: StreamOptions) {
    this.#server = server;
    this.endpoint = endpoint;
    this.service = options.service;
    this.counters = options.counters;
    this.wheel = options.wheel;
    this.transport = options.tls === null ? 'tcp' : 'tls';
    server.maxConnections = options.connectionsMax;
    const crowd = new Crowd(options.connectionsEachMax);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      if (crowd.admit(socket)) return;
      this.counters.drops.clients += 1;
      socket.destroy();
    });
    server.on(options.tls === null ? 'connection' : 'secureConnection', (socket: Socket) => {
      if (!socket.destroyed) this.connections.add(new StreamConnection(this, socket));
    });
    // A handshake that fails is the client's affair; its socket is closed.
    server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
    server.on('drop', () => {
      this.counters.drops.clients += 1;
    });
  }

  /** @throws ListenFailed */
  static async open(endpoint: Endpoint, options: StreamOptions): Promise<StreamListener> {
    const how = { allowHalfOpen: true, noDelay: true };
    const server =
      options.tls === null
        ? createServer(how)
        : createTlsServer({
            ...how,
            ...options.tls,
            ALPNProtocols: ['dot'],
            handshakeTimeout: HANDSHAKE_MS,
          });
    return new StreamListener(server, await listenAt(server, endpoint, options), options);
  }

  /** Takes no more connections, and of those there are no more than what was sent by now. */
  drain(): void {
    this.#server.close();
    for (const connection of this.connections) connection.finish();
  }

  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve();
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

const ALARM = { idle: 0, slow: 1 } as const;

class StreamConnection implements Client, AlarmOwner {
  readonly transport: 'tcp' | 'tls';
  readonly address: string;
  readonly #listener: StreamListener;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  /** Armed while no query is under way. Only whole queries and answers put it off, not single octets. */
  readonly #idle = new Alarm(this, ALARM.idle);
  readonly #slow = new Alarm(this, ALARM.slow);
  /** Octets that must have left us when `#slow` is due. */
  #owed = 0;
  /** Queries given to the service and not answered yet. */
  #unanswered = 0;
  /** Within {@link StreamConnection.#takeQueries}. */
  #taking = false;
  #paused = false;
  /** The client sends no more. */
  #ended = false;

  constructor(listener: StreamListener, socket: Socket) {
    this.#listener = listener;
    this.#socket = socket;
    this.transport = listener.transport;
    this.address = socket.remoteAddress ?? '';
    socket.on('data', (chunk) => {
      this.#reader.feed(chunk);
      this.#takeQueries();
    });
    socket.on('drain', () => this.#takeQueries());
    socket.on('end', () => {
      this.#ended = true;
      this.#settle();
    });
    // Whatever went wrong, 'close' follows.
    socket.on('error', () => undefined);
    socket.on('close', () => {
      listener.wheel.disarm(this.#idle);
      listener.wheel.disarm(this.#slow);
      listener.connections.delete(this);
    });
    listener.wheel.arm(this.#idle, IDLE_MS);
  }

  /** An answer that took time, or not even that. */
  send(answer: Uint8Array): void {
    this.#unanswered -= 1;
    if (this.#socket.destroyed) return;
    this.#listener.out.set(answer);
    this.#write(answer.length);
    if (!this.#taking) this.#takeQueries();
  }

  onAlarm(kind: number): void {
    if (kind === ALARM.slow) {
      const { bytesWritten, writableLength } = this.#socket;
      if (bytesWritten - writableLength >= this.#owed) {
        if (writableLength > 0) this.#expectDelivery();
        return;
      }
      this.#listener.counters.drops.slow += 1;
    }
    this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Hangs up once every query has its answer. */
  finish(): void {
    this.#ended = true;
    this.#settle();
  }

  /** Takes what was received as far as the bounds allow; the rest stays in the reader. */
  #takeQueries(): void {
    const { service, out } = this.#listener;
    this.#taking = true;
    // One system call for all answers of a chunk.
    this.#socket.cork();
    while (!this.#isFull()) {
      const query = this.#reader.next();
      if (query === null) break;
      const octets = service.answer(query, this.transport, this.address, out);
      if (octets > 0) {
        this.#write(octets);
      } else if (octets === MISSED) {
        this.#unanswered += 1;
        this.#listener.wheel.disarm(this.#idle);
        service.resolve(query, this);
      }
    }
    this.#socket.uncork();
    this.#taking = false;
    this.#settle();
  }

  #isFull(): boolean {
    return this.#unanswered >= PIPELINE_MAX || this.#socket.writableLength >= WRITE_OCTETS_MAX;
  }

  /** Read on or not; and hang up once a client that ended has everything. */
  #settle(): void {
    const socket = this.#socket;
    if (socket.destroyed) return;
    const full = this.#isFull();
    if (full !== this.#paused) {
      this.#paused = full;
      if (full) socket.pause();
      else socket.resume();
    }
    if (this.#ended && !full && this.#unanswered === 0) socket.end();
  }

  #write(octets: number): void {
    const { framed, wheel } = this.#listener;
    writeUint16(framed, 0, octets);
    this.#socket.write(framed.slice(0, LENGTH_OCTETS + octets));
    if (this.#unanswered === 0) wheel.arm(this.#idle, IDLE_MS);
    if (!this.#slow.armed) this.#expectDelivery();
  }

  /** What is written by now must have left us when the time is up. */
  #expectDelivery(): void {
    this.#owed = this.#socket.bytesWritten;
    this.#listener.wheel.arm(this.#slow, SLOW_MS);
  }
}

/** Counts connections by address, so that one client cannot take them all. */
export class Crowd {
  readonly #eachMax: number;
  /** Bounded by the listener's own bound on connections. */
  readonly #counts = new Map<string, number>();

  constructor(eachMax: number) {
    this.#eachMax = eachMax;
  }

  /** @returns false when its address has enough; this machine never has */
  admit(socket: Socket): boolean {
    const address = socket.remoteAddress;
    if (address === undefined) return false;
    if (isLoopback(address)) return true;
    const count = this.#counts.get(address) ?? 0;
    if (count >= this.#eachMax) return false;
    this.#counts.set(address, count + 1);
    socket.on('close', () => {
      const left = (this.#counts.get(address) ?? 1) - 1;
      if (left === 0) this.#counts.delete(address);
      else this.#counts.set(address, left);
    });
    return true;
  }
}
