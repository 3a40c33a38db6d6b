/**
 * Questions to one upstream over TCP: one connection, kept open while it is of use, questions
 * pipelined and answered in any order (RFC 7766 §6.2.1.1).
 *
 * Packets are estimated, as nobody tells us segments: connecting sends SYN and ACK, a question is
 * one segment and its response is acknowledged by one, closing sends FIN and ACK.
 *
 * Invariants: at most one connection takes questions; at most EXCHANGES_MAX are open on it; IDs of
 * open exchanges are distinct; a connection without open exchanges closes within IDLE_MS.
 */
import { connect, type Socket } from 'node:net';
import type { Random } from '../../runtime/random.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { FrameReader, frame } from '../wire/frame.ts';
import { idOf, repeatsQuestion, setId } from '../wire/message.ts';
import { isBareRejection, isResponse } from './match.ts';
import type { Upstream } from './upstream.ts';

const EXCHANGES_MAX = 1_024;
const IDLE_MS = 10_000;
const ID_SPAN = 65_536;
const SEGMENT_OCTETS = 1_448;
const CONNECT_PACKETS = 2;
const CLOSE_PACKETS = 2;
const EXCHANGE_PACKETS = 2;

export interface TcpOwner {
  /** A response that matches in full. It is the owner's to keep. */
  onTcpResponse(message: Uint8Array): void;
  /**
   * The exchange is over without response.
   * @param code   system error, or ECONNRESET when the peer closed
   * @param reused the connection had answered before, so that a new one may do better
   */
  onTcpError(code: string, reused: boolean): void;
}

/** One question under way. */
export class TcpExchange {
  readonly id: number;
  readonly query: Uint8Array;
  readonly questionEnd: number;
  readonly owner: TcpOwner;

  constructor(id: number, query: Uint8Array, questionEnd: number, owner: TcpOwner) {
    this.id = id;
    this.query = query;
    this.questionEnd = questionEnd;
    this.owner = owner;
  }
}

export class TcpChannel {
  readonly #upstream: Upstream;
  readonly #random: Random;
  readonly #wheel: TimerWheel;
  #connection: Connection | null = null;

  constructor(upstream: Upstream, random: Random, wheel: TimerWheel) {
    this.#upstream = upstream;
    this.#random = random;
    this.#wheel = wheel;
  }

  /** Packets that one more question would send, connecting and closing included. */
  get askPackets(): number {
    return this.#connection === null
      ? CONNECT_PACKETS + EXCHANGE_PACKETS + CLOSE_PACKETS
      : EXCHANGE_PACKETS;
  }

  /**
   * @param query message of which the ID is replaced; copied
   * @returns the exchange, or null when EXCHANGES_MAX are open
   */
  ask(query: Uint8Array, questionEnd: number, owner: TcpOwner): TcpExchange | null {
    this.#connection ??= new Connection(this.#upstream, this.#wheel, (gone) => {
      if (this.#connection === gone) this.#connection = null;
    });
    const connection = this.#connection;
    if (connection.exchanges.size >= EXCHANGES_MAX) return null;
    let id = this.#random.integer(ID_SPAN);
    while (connection.exchanges.has(id)) id = this.#random.integer(ID_SPAN);
    const exchange = new TcpExchange(id, query, questionEnd, owner);
    connection.ask(exchange);
    return exchange;
  }

  /** Forgets the exchange; its response will be dropped. */
  close(exchange: TcpExchange): void {
    this.#connection?.forget(exchange);
  }

  stop(): void {
    this.#connection?.destroy();
    this.#connection = null;
  }
}

class Connection implements AlarmOwner {
  readonly exchanges = new Map<number, TcpExchange>();
  readonly #upstream: Upstream;
  readonly #wheel: TimerWheel;
  readonly #idleAlarm = new Alarm(this, 0);
  readonly #onGone: (connection: Connection) => void;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  #answered = false;
  #gone = false;

  constructor(upstream: Upstream, wheel: TimerWheel, onGone: (connection: Connection) => void) {
    this.#upstream = upstream;
    this.#wheel = wheel;
    this.#onGone = onGone;
    upstream.packetsSent += CONNECT_PACKETS;
    this.#socket = connect({
      host: upstream.endpoint.address,
      port: upstream.endpoint.port,
      noDelay: true,
    });
    this.#socket.on('connect', () => {
      upstream.packetsReceived += 1;
    });
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.#fail(error.code ?? 'EIO'));
    this.#socket.on('end', () => this.#fail('ECONNRESET'));
  }

  ask(exchange: TcpExchange): void {
    this.exchanges.set(exchange.id, exchange);
    this.#wheel.disarm(this.#idleAlarm);
    this.#upstream.packetsSent += 1;
    const framed = frame(exchange.query);
    setId(framed.subarray(2), exchange.id);
    this.#socket.write(framed);
  }

  forget(exchange: TcpExchange): void {
    if (this.exchanges.get(exchange.id) !== exchange) return;
    this.exchanges.delete(exchange.id);
    if (this.exchanges.size === 0 && !this.#gone) this.#wheel.arm(this.#idleAlarm, IDLE_MS);
  }

  onAlarm(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#upstream.packetsSent += CLOSE_PACKETS;
    this.#wheel.disarm(this.#idleAlarm);
    this.#socket.destroy();
    this.#onGone(this);
  }

  #receive(chunk: Uint8Array): void {
    this.#upstream.packetsReceived += Math.ceil(chunk.length / SEGMENT_OCTETS);
    this.#reader.feed(chunk);
    for (let message = this.#reader.next(); message !== null; message = this.#reader.next()) {
      this.#take(message);
      if (this.#gone) return;
    }
  }

  #take(message: Uint8Array): void {
    this.#upstream.packetsSent += 1;
    const exchange = isResponse(message) ? this.exchanges.get(idOf(message)) : undefined;
    if (exchange === undefined) {
      this.#upstream.responsesLate += 1;
      return;
    }
    if (
      !repeatsQuestion(message, exchange.query, exchange.questionEnd, false) &&
      !isBareRejection(message)
    ) {
      this.#upstream.datagramsMismatched += 1;
      this.#fail('EBADMSG');
      return;
    }
    this.#answered = true;
    this.forget(exchange);
    // The chunk may be shared with neighbours; the owner keeps what is its own.
    exchange.owner.onTcpResponse(message.slice());
  }

  #fail(code: string): void {
    if (this.#gone) return;
    this.destroy();
    const orphans = [...this.exchanges.values()];
    this.exchanges.clear();
    for (const { owner } of orphans) owner.onTcpError(code, this.#answered);
  }
}
