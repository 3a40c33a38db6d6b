/**
 * Questions to one upstream over UDP, hard to forge (RFC 5452 §9.2): every exchange draws a slot of
 * the pool at random and a 16-bit ID at random. A slot holds a socket on a port that we drew from all
 * unprivileged ones, connected, so that the kernel drops what comes from elsewhere and reports ports
 * that are closed. An idle slot has no socket: the exchange opens one, so that under light load every
 * exchange has a port of its own. Opening costs 49 µs here, which sharing under load brings to 1.
 *
 * Owners may be told of errors and near misses of an exchange that they closed in the same breath.
 *
 * Invariants: sockets <= SOCKETS_MAX; a socket carries at most EXCHANGES_PER_SOCKET exchanges, takes
 * none after SOCKET_AGE_MS or once a forger knocked on it, and is closed soon after its last one ends;
 * an ID is never used twice on one socket.
 */
import { createSocket, type Socket } from 'node:dgram';
import type { Clock } from '../../runtime/clock.ts';
import type { Random } from '../../runtime/random.ts';
import { Alarm, type AlarmOwner, type TimerWheel } from '../../runtime/timer-wheel.ts';
import { idOf, repeatsQuestion, setId } from '../wire/message.ts';
import { isBareRejection, isResponse } from './match.ts';
import { mixCase } from './mixed-case.ts';
import type { Upstream } from './upstream.ts';

const SLOTS = 32;
const EXCHANGES_PER_SOCKET = 64;
const SOCKET_AGE_MS = 2_000;
/** Slow exchanges hold worn sockets open, in the worst case one each. */
const SOCKETS_MAX = 1_024;
const PORT_MIN = 1_024;
const PORT_SPAN = 65_536 - PORT_MIN;
/** Drawn ports that are taken; then the system may choose, which is random too (RFC 6056). */
const BIND_ATTEMPTS_MAX = 8;
const ID_SPAN = 65_536;
/** Bursts of answers wait here while the core works; the default of 208 KiB loses some. */
const RECEIVE_BUFFER_OCTETS = 1_048_576;

export interface UdpOwner {
  /** A response that matches in full. It is the owner's to keep. */
  onDatagram(message: Uint8Array): void;
  /**
   * Right address and port, but not both ID and question: someone guesses, or the server errs.
   * @param caseOnly all is right but the case of the letters
   */
  onNearMiss(caseOnly: boolean): void;
  /** The exchange cannot succeed now, as with ECONNREFUSED. It stays open until closed. */
  onUdpError(code: string): void;
}

/** One question under way on one socket. */
export class UdpExchange {
  readonly id: number;
  /** Query with its ID in place. */
  readonly query: Uint8Array;
  readonly questionEnd: number;
  /** The answer must repeat the case of the question. */
  readonly caseMatters: boolean;
  readonly owner: UdpOwner;
  readonly socket: PortSocket;

  constructor(
    socket: PortSocket,
    id: number,
    query: Uint8Array,
    questionEnd: number,
    caseMatters: boolean,
    owner: UdpOwner,
  ) {
    this.socket = socket;
    this.caseMatters = caseMatters;
    this.id = id;
    this.query = query;
    this.questionEnd = questionEnd;
    this.owner = owner;
  }
}

export class UdpPool implements AlarmOwner {
  readonly #upstream: Upstream;
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #wheel: TimerWheel;
  readonly #sweepAlarm = new Alarm(this, 0);
  readonly #slots: (PortSocket | null)[] = Array.from({ length: SLOTS }, () => null);
  /** Retired ones too, until they are closed. */
  readonly #sockets = new Set<PortSocket>();

  constructor(upstream: Upstream, random: Random, clock: Clock, wheel: TimerWheel) {
    this.#upstream = upstream;
    this.#random = random;
    this.#clock = clock;
    this.#wheel = wheel;
  }

  /** Sockets open now. */
  get size(): number {
    return this.#sockets.size;
  }

  /**
   * @param query       message of which the ID is replaced; copied
   * @param questionEnd octet past QCLASS
   * @returns an exchange to {@link send} and {@link close}, or null when the system has no socket for us
   */
  open(query: Uint8Array, questionEnd: number, owner: UdpOwner): UdpExchange | null {
    const socket = this.#drawSocket();
    if (socket === null) return null;
    const datagram = query.slice();
    const id = socket.drawId(this.#random);
    setId(datagram, id);
    const nowMs = this.#clock.monotonicMs();
    if (this.#upstream.mixesCase(nowMs)) mixCase(datagram, questionEnd, this.#random);
    const caseMatters = !this.#upstream.casing.mangles(nowMs);
    const exchange = new UdpExchange(socket, id, datagram, questionEnd, caseMatters, owner);
    socket.exchanges.set(id, exchange);
    socket.open += 1;
    return exchange;
  }

  /** Sends the query, or sends it again. */
  send(exchange: UdpExchange): void {
    this.#upstream.packetsSent += 1;
    exchange.socket.send(exchange.query);
  }

  /** Its late responses are counted as such and dropped. */
  close(exchange: UdpExchange): void {
    const { socket } = exchange;
    if (socket.exchanges.get(exchange.id) !== exchange) return;
    socket.exchanges.set(exchange.id, null);
    socket.open -= 1;
    if (socket.open === 0 && socket.retired) this.#closeSocket(socket);
  }

  stop(): void {
    this.#wheel.disarm(this.#sweepAlarm);
    for (const socket of this.#sockets) this.#closeSocket(socket);
  }

  /** Retires what is old though nobody drew it, so that an idle resolver holds no port open. */
  onAlarm(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const socket of this.#sockets) if (socket.worn(nowMs)) this.#retire(socket);
    if (this.#sockets.size > 0) this.#wheel.arm(this.#sweepAlarm, SOCKET_AGE_MS);
  }

  #drawSocket(): PortSocket | null {
    const slot = this.#random.integer(SLOTS);
    const present = this.#slots[slot]!;
    if (present !== null) {
      if (!present.retired && !present.worn(this.#clock.monotonicMs())) return present;
      this.#retire(present);
    }
    if (this.#sockets.size >= SOCKETS_MAX) return null;
    const fresh = this.#openSocket(slot);
    this.#slots[slot] = fresh;
    return fresh;
  }

  #openSocket(slot: number): PortSocket | null {
    const { address } = this.#upstream.endpoint;
    const family = address.includes(':') ? 6 : 4;
    for (let attempt = 1; attempt <= BIND_ATTEMPTS_MAX; attempt += 1) {
      const handle = createSocket({
        type: family === 6 ? 'udp6' : 'udp4',
        // Addresses are numeric. Answering at once makes bind and connect take effect at once, too.
        lookup: (host, _options, found) => found(null, host, family),
      });
      let bound = true;
      handle.once('error', () => {
        bound = false;
      });
      const port = attempt < BIND_ATTEMPTS_MAX ? PORT_MIN + this.#random.integer(PORT_SPAN) : 0;
      handle.bind({ port, exclusive: true });
      if (bound) handle.connect(this.#upstream.endpoint.port, address);
      if (bound) return this.#adopt(handle, slot);
      handle.close();
    }
    return null;
  }

  #adopt(handle: Socket, slot: number): PortSocket {
    const socket = new PortSocket(handle, slot, this.#clock.monotonicMs());
    this.#sockets.add(socket);
    if (!this.#sweepAlarm.armed) this.#wheel.arm(this.#sweepAlarm, SOCKET_AGE_MS);
    handle.removeAllListeners('error');
    handle.on('message', (message) => this.#receive(socket, message));
    handle.on('error', (error: NodeJS.ErrnoException) => socket.fail(error));
    try {
      handle.setRecvBufferSize(RECEIVE_BUFFER_OCTETS);
    } catch {
      // A system that refuses leaves us its default, which serves.
    }
    return socket;
  }

  #receive(socket: PortSocket, message: Uint8Array): void {
    this.#upstream.packetsReceived += 1;
    const exchange = isResponse(message) ? socket.exchanges.get(idOf(message)) : undefined;
    if (exchange === null) {
      this.#upstream.responsesLate += 1;
      return;
    }
    if (
      exchange !== undefined &&
      (repeatsQuestion(message, exchange.query, exchange.questionEnd, exchange.caseMatters) ||
        isBareRejection(message))
    ) {
      exchange.owner.onDatagram(message);
      return;
    }
    this.#upstream.datagramsMismatched += 1;
    this.#nearMiss(socket, message, exchange);
  }

  /** Whoever knows this port shall not get a second guess at questions to come. */
  #nearMiss(socket: PortSocket, message: Uint8Array, sameId: UdpExchange | undefined): void {
    this.#retire(socket);
    for (const exchange of socket.openExchanges()) {
      const { query, questionEnd, owner } = exchange;
      if (exchange === sameId)
        owner.onNearMiss(repeatsQuestion(message, query, questionEnd, false));
      else if (repeatsQuestion(message, query, questionEnd, true)) owner.onNearMiss(false);
    }
  }

  #retire(socket: PortSocket): void {
    socket.retired = true;
    if (this.#slots[socket.slot] === socket) this.#slots[socket.slot] = null;
    if (socket.open === 0) this.#closeSocket(socket);
  }

  #closeSocket(socket: PortSocket): void {
    if (!this.#sockets.delete(socket)) return;
    if (this.#slots[socket.slot] === socket) this.#slots[socket.slot] = null;
    socket.handle.removeAllListeners();
    // A last asynchronous error has nobody left to tell.
    socket.handle.on('error', () => undefined);
    socket.handle.close();
  }
}

/** A socket on a port of its own. */
class PortSocket {
  readonly handle: Socket;
  readonly slot: number;
  readonly openedAtMs: number;
  /** By ID, every exchange there ever was on this socket; null once it is closed. */
  readonly exchanges = new Map<number, UdpExchange | null>();
  /** Exchanges not closed yet. */
  open = 0;
  /** Takes no further exchange. */
  retired = false;
  /** One for all sends, as each would be a closure. */
  readonly #onSent = (error: NodeJS.ErrnoException | null): void => {
    if (error !== null) this.fail(error);
  };

  constructor(handle: Socket, slot: number, openedAtMs: number) {
    this.handle = handle;
    this.slot = slot;
    this.openedAtMs = openedAtMs;
  }

  worn(nowMs: number): boolean {
    return this.exchanges.size >= EXCHANGES_PER_SOCKET || nowMs - this.openedAtMs >= SOCKET_AGE_MS;
  }

  send(query: Uint8Array): void {
    this.handle.send(query, this.#onSent);
  }

  fail(error: NodeJS.ErrnoException): void {
    for (const exchange of this.openExchanges()) {
      exchange.owner.onUdpError(error.code ?? 'EUNKNOWN');
    }
  }

  drawId(random: Random): number {
    let id = random.integer(ID_SPAN);
    while (this.exchanges.has(id)) id = random.integer(ID_SPAN);
    return id;
  }

  /** A copy, as owners close exchanges while they are told. */
  openExchanges(): UdpExchange[] {
    return [...this.exchanges.values()].filter((exchange) => exchange !== null);
  }
}
