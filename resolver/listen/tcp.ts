/**
 * DNS over TCP (RFC 7766): messages behind two octets of length, pipelined, answered as they are
 * ready. A client that has shut down its sending side still gets every answer.
 *
 * Invariants, each connection: at most PIPELINE_MAX queries unanswered and at most
 * WRITE_OCTETS_MAX octets of answers unread, beyond which we stop reading; open without a query
 * under way for at most IDLE_MS; with the same answer unread for at most 2 × SLOW_MS. All: `tcp_clients` at once.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { findPortHolder } from '../../runtime/port-holder.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import type { Counters } from '../counters.ts';
import { ListenFailed } from '../errors.ts';
import { ANSWER_OCTETS_MAX, type Client, MISSED, type Service } from '../service.ts';
import { FrameReader } from '../wire/frame.ts';
import { writeUint16 } from '../wire/message.ts';

const PIPELINE_MAX = 256;
const WRITE_OCTETS_MAX = 262_144;
/** RFC 7766 §6.2.3 suggests seconds. */
const IDLE_MS = 20_000;
const SLOW_MS = 10_000;
const LENGTH_OCTETS = 2;
const BACKLOG_CONNECTIONS = 1_024;

export interface StreamOptions {
  readonly service: Service;
  readonly counters: Counters;
  readonly wheel: TimerWheel;
  readonly connectionsMax: number;
  readonly ipv6Only: boolean;
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
  readonly #server: Server;

  constructor(server: Server, endpoint: Endpoint, options: StreamOptions) {
    this.#server = server;
    this.endpoint = endpoint;
    this.service = options.service;
    this.counters = options.counters;
    this.wheel = options.wheel;
    server.maxConnections = options.connectionsMax;
    server.on('connection', (socket) => {
      this.connections.add(new StreamConnection(this, socket));
    });
    server.on('drop', () => {
      this.counters.drops.clients += 1;
    });
  }

  /** @throws ListenFailed */
  static async open(endpoint: Endpoint, options: StreamOptions): Promise<StreamListener> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const { address: host, port } = endpoint;
    server.listen({ host, port, ipv6Only: options.ipv6Only, backlog: BACKLOG_CONNECTIONS });
    try {
      await once(server, 'listening');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN';
      throw new ListenFailed(endpoint, 'tcp', code, findPortHolder('tcp', port));
    }
    const bound = server.address();
    const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
    return new StreamListener(server, { address: host, port: boundPort }, options);
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const connection of this.connections) connection.destroy();
    await closed;
  }
}

const ALARM = { idle: 0, slow: 1 } as const;

class StreamConnection implements Client, AlarmOwner {
  readonly transport = 'tcp';
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

  /** Takes what was received as far as the bounds allow; the rest stays in the reader. */
  #takeQueries(): void {
    const { service, out } = this.#listener;
    this.#taking = true;
    // One system call for all answers of a chunk.
    this.#socket.cork();
    while (!this.#isFull()) {
      const query = this.#reader.next();
      if (query === null) break;
      const octets = service.answer(query, 'tcp', this.address, out);
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
