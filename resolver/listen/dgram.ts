/**
 * DNS over UDP with one system call per datagram: the listener for every platform, and for
 * `fronts = 0`. A hit costs no object of ours: it is rendered into one buffer and sent from there.
 *
 * Invariants: what the kernel has not taken yet is at most BACKLOG_OCTETS_MAX octets, beyond which
 * answers are dropped, as the network would; the render buffer is never written while a send of it
 * is pending.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { HandedSockets } from '../../runtime/handed-sockets.ts';
import type { Log } from '../../runtime/log.ts';
import { findPortHolder } from '../../runtime/port-holder.ts';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import type { Counters } from '../counters.ts';
import { ListenFailed } from '../errors.ts';
import { ANSWER_OCTETS_MAX, type Client } from '../replies.ts';
import { MISSED, type Service } from '../service.ts';

/** Some 10,000 queries, where net.core.rmem_max allows; its 208 KiB hold 270. */
const RECEIVE_BUFFER_OCTETS = 8_388_608;
const SEND_BUFFER_OCTETS = 4_194_304;
const BACKLOG_OCTETS_MAX = 1_048_576;

export interface ListenOptions {
  readonly service: Service;
  readonly counters: Counters;
  readonly log: Log;
  /** Sockets that are bound already. */
  readonly handed?: HandedSockets | null;
  /** An IPv6 wildcard leaves IPv4 to a listener of its own. */
  readonly ipv6Only: boolean;
}

export class DatagramListener {
  /** Bound; the port is the one the system chose when 0 was asked. */
  readonly endpoint: Endpoint;
  readonly #socket: Socket;
  readonly #service: Service;
  readonly #counters: Counters;
  #out = new Uint8Array(ANSWER_OCTETS_MAX);

  constructor(socket: Socket, { service, counters, log }: ListenOptions) {
    const { address, port } = socket.address();
    this.endpoint = { address, port };
    this.#socket = socket;
    this.#service = service;
    this.#counters = counters;
    socket.on('message', (message, peer) => this.#receive(message, peer));
    socket.on('error', (error) => {
      log.warn({ listen: formatEndpoint(this.endpoint), error: error.message }, 'UDP socket error');
    });
  }

  /** @throws ListenFailed */
  static async open(endpoint: Endpoint, options: ListenOptions): Promise<DatagramListener> {
    const family = endpoint.address.includes(':') ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6 && options.ipv6Only,
      // Addresses are numeric; the default would look each one up, for every answer.
      lookup: (host, _options, found) => found(null, host, family),
    });
    // Both outcomes may come within bind(), so the ear comes first.
    const bound = once(socket, 'listening');
    const fd = options.handed?.take('udp', endpoint) ?? null;
    if (fd === null) {
      socket.bind({ address: endpoint.address, port: endpoint.port, exclusive: true });
    } else {
      socket.bind({ fd, exclusive: true });
    }
    try {
      await bound;
    } catch (error) {
      socket.close();
      const code = (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN';
      throw new ListenFailed(endpoint, 'udp', code, findPortHolder('udp', endpoint.port));
    }
    socket.setRecvBufferSize(RECEIVE_BUFFER_OCTETS);
    socket.setSendBufferSize(SEND_BUFFER_OCTETS);
    return new DatagramListener(socket, options);
  }

  async close(): Promise<void> {
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }

  #receive(message: Uint8Array, peer: RemoteInfo): void {
    const octets = this.#service.answer(message, 'udp', peer.address, this.#out);
    if (octets > 0) {
      this.send(this.#out.subarray(0, octets), peer);
      // The kernel was full, so the socket still borrows the buffer.
      if (this.#socket.getSendQueueSize() > 0) this.#out = new Uint8Array(ANSWER_OCTETS_MAX);
    } else if (octets === MISSED) {
      this.#service.resolve(message, new DatagramClient(this, peer));
    }
  }

  /** @param answer borrowed while the send queue is not empty */
  send(answer: Uint8Array, peer: RemoteInfo): void {
    if (this.#socket.getSendQueueSize() + answer.length > BACKLOG_OCTETS_MAX) {
      this.#counters.drops.backlog += 1;
      return;
    }
    // No callback: it would double the cost, and there is nobody to tell of an answer lost.
    this.#socket.send(answer, peer.port, peer.address);
  }
}

/** Who waits for an answer over UDP. */
class DatagramClient implements Client {
  readonly transport = 'udp';
  readonly #listener: DatagramListener;
  readonly #peer: RemoteInfo;

  constructor(listener: DatagramListener, peer: RemoteInfo) {
    this.#listener = listener;
    this.#peer = peer;
  }

  get address(): string {
    return this.#peer.address;
  }

  send(answer: Uint8Array): void {
    this.#listener.send(answer.slice(), this.#peer);
  }
}
