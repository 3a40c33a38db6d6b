/**
 * Questions to one upstream over TCP or TLS: one connection, kept open while it is of use, questions
 * pipelined and answered in any order (RFC 7766 §6.2.1.1, RFC 7858 §3.3).
 *
 * Packets are estimated, as nobody tells us segments; the {@link Dialer} says what connecting and
 * closing cost. A question is one segment and its response is acknowledged by one.
 *
 * Invariants: at most one connection takes questions; at most EXCHANGES_MAX are open on it; IDs of
 * open exchanges are distinct; a connection without open exchanges closes within IDLE_MS; nothing is
 * sent before the connection is ready, which for TLS means: verified.
 */
import { connect, type Socket } from 'node:net';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { FrameReader, frame } from '../wire/frame.ts';
import { copyOctets, idOf, repeatsQuestion, setId } from '../wire/message.ts';
import { isBareRejection, isResponse } from './match.ts';
import { mixCase } from './mixed-case.ts';
import type { StreamChannel, StreamExchange, StreamOwner } from './stream.ts';
import type { Upstream } from './upstream.ts';

const EXCHANGES_MAX = 1_024;
const IDLE_MS = 10_000;
const ID_SPAN = 65_536;
const SEGMENT_OCTETS = 1_448;
const LENGTH_OCTETS = 2;
const EXCHANGE_PACKETS = 2;

/** How a connection comes about, and what that costs in packets sent. */
export interface Dialer {
  readonly connectPackets: number;
  readonly closePackets: number;
  /** Of the socket, when it may be written to. */
  readonly readyEvent: 'connect' | 'secureConnect';
  dial(): Socket;
}

/** SYN and ACK; FIN and ACK. */
export const tcpDialer = ({ address: host, port }: Endpoint): Dialer => ({
  connectPackets: 2,
  closePackets: 2,
  readyEvent: 'connect',
  dial: () => connect({ host, port, noDelay: true }),
});

/** One question under way. */
class TcpExchange implements StreamExchange {
  readonly id: number;
  readonly query: Uint8Array;
  readonly questionEnd: number;
  readonly owner: StreamOwner;

  constructor(id: number, query: Uint8Array, questionEnd: number, owner: StreamOwner) {
    this.id = id;
    this.query = query;
    this.questionEnd = questionEnd;
    this.owner = owner;
  }
}

export interface TcpParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly wheel: TimerWheel;
}

export class TcpChannel implements StreamChannel {
  readonly #upstream: Upstream;
  readonly #dialer: Dialer;
  readonly #parts: TcpParts;
  #connection: Connection | null = null;

  constructor(upstream: Upstream, dialer: Dialer, parts: TcpParts) {
    this.#upstream = upstream;
    this.#dialer = dialer;
    this.#parts = parts;
  }

  get askPackets(): number {
    const { connectPackets, closePackets } = this.#dialer;
    return this.#connection === null
      ? connectPackets + EXCHANGE_PACKETS + closePackets
      : EXCHANGE_PACKETS;
  }

  /** @returns the exchange, or null when EXCHANGES_MAX are open */
  ask(query: Uint8Array, questionEnd: number, owner: StreamOwner): TcpExchange | null {
    const { random, clock } = this.#parts;
    this.#connection ??= new Connection(this.#upstream, this.#dialer, this.#parts.wheel, (gone) => {
      if (this.#connection === gone) this.#connection = null;
    });
    const connection = this.#connection;
    if (connection.exchanges.size >= EXCHANGES_MAX) return null;
    let id = random.integer(ID_SPAN);
    while (connection.exchanges.has(id)) id = random.integer(ID_SPAN);
    const framed = frame(query);
    const own = framed.subarray(LENGTH_OCTETS);
    setId(own, id);
    // So that it can be told whether the server keeps the case; TCP needs no such defence itself.
    if (this.#upstream.mixesCase(clock.monotonicMs())) mixCase(own, questionEnd, random);
    const exchange = new TcpExchange(id, own, questionEnd, owner);
    connection.ask(exchange, framed);
    return exchange;
  }

  close(exchange: StreamExchange): void {
    this.#connection?.forget(exchange as TcpExchange);
  }

  reset(): void {
    this.#connection?.fail('ETIMEDOUT');
  }

  stop(): void {
    this.#connection?.destroy();
    this.#connection = null;
  }
}

class Connection implements AlarmOwner {
  readonly exchanges = new Map<number, TcpExchange>();
  readonly #upstream: Upstream;
  readonly #dialer: Dialer;
  readonly #wheel: TimerWheel;
  readonly #idleAlarm = new Alarm(this, 0);
  readonly #onGone: (connection: Connection) => void;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  /** Exchanges whose questions wait for the connection; null once it is ready. */
  #held: { readonly exchange: TcpExchange; readonly framed: Uint8Array }[] | null = [];
  #answered = false;
  #gone = false;

  constructor(
    upstream: Upstream,
    dialer: Dialer,
    wheel: TimerWheel,
    onGone: (connection: Connection) => void,
  ) {
    this.#upstream = upstream;
    this.#dialer = dialer;
    this.#wheel = wheel;
    this.#onGone = onGone;
    upstream.packetsSent += dialer.connectPackets;
    this.#socket = dialer.dial();
    this.#socket.on(dialer.readyEvent, () => this.#begin());
    this.#socket.on('data', (chunk) => this.#receive(chunk));
    this.#socket.on('error', (error: NodeJS.ErrnoException) => this.fail(error.code ?? 'EIO'));
    this.#socket.on('end', () => this.fail('ECONNRESET'));
    this.#socket.on('close', () => this.fail('ECONNRESET'));
  }

  ask(exchange: TcpExchange, framed: Uint8Array): void {
    this.exchanges.set(exchange.id, exchange);
    this.#wheel.disarm(this.#idleAlarm);
    if (this.#held === null) this.#write(framed);
    else this.#held.push({ exchange, framed });
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
    this.#held = null;
    this.#upstream.packetsSent += this.#dialer.closePackets;
    this.#wheel.disarm(this.#idleAlarm);
    this.#socket.destroy();
    this.#onGone(this);
  }

  /** Every owner is told, once. */
  fail(code: string): void {
    if (this.#gone) return;
    this.destroy();
    const orphans = [...this.exchanges.values()];
    this.exchanges.clear();
    for (const { owner } of orphans) owner.onStreamError(code, this.#answered);
  }

  #begin(): void {
    this.#upstream.packetsReceived += 1;
    const held = this.#held ?? [];
    this.#held = null;
    for (const { exchange, framed } of held) {
      if (this.exchanges.get(exchange.id) === exchange) this.#write(framed);
    }
  }

  #write(framed: Uint8Array): void {
    this.#upstream.packetsSent += 1;
    this.#socket.write(framed);
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
    const { query, questionEnd, owner } = exchange;
    const sameCase = repeatsQuestion(message, query, questionEnd, true);
    const repeats = sameCase || repeatsQuestion(message, query, questionEnd, false);
    if (!repeats && !isBareRejection(message)) {
      this.#upstream.datagramsMismatched += 1;
      this.fail('EBADMSG');
      return;
    }
    this.#answered = true;
    this.forget(exchange);
    // The chunk may be shared with neighbours; the owner keeps what is its own.
    owner.onStreamResponse(copyOctets(message, 0, message.length), sameCase);
  }
}
