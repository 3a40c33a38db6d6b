/**
 * One connected UDP socket to the resolver, and the questions that await a datagram on it.
 *
 * Invariants
 * - outstanding holds at most one question per ID, and every ID in it is random (RFC 5452 §9.2). The
 *   port is the system's choice, random too.
 * - A question stays outstanding until end(), whatever the socket does meanwhile. A socket that breaks
 *   is replaced at the next send.
 */
import { createSocket, type Socket } from 'node:dgram';
import { HEADER_OCTETS } from '../../resolver/wire/constants.ts';
import { idOf, repeatsQuestion, setId } from '../../resolver/wire/message.ts';
import type { Random } from '../../runtime/random.ts';
import type { Endpoint } from '../../runtime/settings.ts';

export interface Question {
  /** The query; begin() writes its ID. */
  readonly wire: Uint8Array;
  /** Octet offset past its question. */
  readonly questionEnd: number;
  /** A datagram that repeats ID and question; owned by the receiver. */
  onResponse(response: Uint8Array): void;
  /** The system says that nobody listens there, or that there is no way to there. */
  onUnreachable(): void;
  /** The path is closed; no response will come. */
  onClosed(): void;
}

const ID_SPAN = 0x1_0000;

export class UdpPath {
  readonly #server: Endpoint;
  readonly #onStray: () => void;
  readonly #outstanding = new Map<number, Question>();
  #socket: Socket | null = null;
  #connected = false;
  #closed = false;

  constructor(server: Endpoint, onStray: () => void) {
    this.#server = server;
    this.#onStray = onStray;
  }

  /** Takes the question in, under an ID that is free. The caller bounds how many there are, far below 2^16. */
  begin(question: Question, random: Random): void {
    if (this.#closed) {
      question.onClosed();
      return;
    }
    let id = random.integer(ID_SPAN);
    while (this.#outstanding.has(id)) id = (id + 1) % ID_SPAN;
    setId(question.wire, id);
    this.#outstanding.set(id, question);
    this.send(question);
  }

  /** Sends, or sends again. */
  send(question: Question): void {
    if (this.#socket === null) this.#open();
    else if (this.#connected) this.#transmit(this.#socket, question);
  }

  end(question: Question): void {
    const id = idOf(question.wire);
    if (this.#outstanding.get(id) === question) this.#outstanding.delete(id);
  }

  close(): void {
    this.#closed = true;
    this.#drop();
    for (const question of this.#outstanding.values()) question.onClosed();
  }

  #open(): void {
    const { address, port } = this.#server;
    const family = address.includes(':') ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      // The address is numeric; the system's resolver has no part in this.
      lookup: (_hostname, _options, callback) => callback(null, address, family),
    });
    this.#socket = socket;
    socket.on('error', () => this.#onError(socket));
    socket.on('message', (datagram) => this.#onDatagram(datagram));
    socket.on('connect', () => {
      this.#connected = true;
      for (const question of this.#outstanding.values()) this.#transmit(socket, question);
    });
    socket.connect(port, address);
  }

  #transmit(socket: Socket, question: Question): void {
    socket.send(question.wire, (error) => {
      if (error !== null) this.#onError(socket);
    });
  }

  #onDatagram(datagram: Uint8Array): void {
    const question =
      datagram.length >= HEADER_OCTETS ? this.#outstanding.get(idOf(datagram)) : undefined;
    if (
      question === undefined ||
      !repeatsQuestion(datagram, question.wire, question.questionEnd, false)
    ) {
      this.#onStray();
      return;
    }
    question.onResponse(datagram);
  }

  #onError(socket: Socket): void {
    if (socket !== this.#socket) return;
    // Whatever it was, a fresh socket is the surest way on.
    this.#drop();
    for (const question of this.#outstanding.values()) question.onUnreachable();
  }

  #drop(): void {
    this.#socket?.close();
    this.#socket = null;
    this.#connected = false;
  }
}
