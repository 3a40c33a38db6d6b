/**
 * An upstream that misbehaves to order: one UDP socket and one TCP server on the same port, every
 * query handed to the test, which answers it or not, rightly or wrongly, now or later.
 */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket as Stream } from 'node:net';
import { FLAG, HEADER_OCTETS, TYPE } from '../../resolver/wire/constants.ts';
import { FrameReader, frame } from '../../resolver/wire/frame.ts';
import { parseQuery, QueryView } from '../../resolver/wire/message.ts';
import {
  type RecordToWrite,
  type ResponseToWrite,
  writeResponse,
} from '../../resolver/wire/write.ts';
import type { Endpoint } from '../../runtime/settings.ts';

/** One query as it arrived, and the way back. */
export interface Asked {
  readonly message: Uint8Array;
  readonly view: QueryView;
  readonly transport: 'udp' | 'tcp';
  /** The port it came from. */
  readonly port: number;
  send(message: Uint8Array): void;
  /** Ends the connection it came over. */
  hangUp(): void;
}

export type Behaviour = (asked: Asked) => void;

export class FakeUpstream {
  readonly endpoint: Endpoint;
  readonly asked: Asked[] = [];
  behaviour: Behaviour;
  readonly #udp: Socket;
  readonly #tcp: Server;
  readonly #streams = new Set<Stream>();
  #watchers: (() => void)[] = [];

  constructor(udp: Socket, tcp: Server, endpoint: Endpoint, behaviour: Behaviour) {
    this.endpoint = endpoint;
    this.behaviour = behaviour;
    this.#udp = udp;
    this.#tcp = tcp;
    udp.on('message', (message, peer) => this.#take(message, 'udp', peer));
    tcp.on('connection', (stream) => this.#serve(stream));
  }

  static async start(behaviour: Behaviour, at: Endpoint = LOOPBACK): Promise<FakeUpstream> {
    for (;;) {
      const tcp = createServer({ noDelay: true }).listen(at.port, at.address);
      await once(tcp, 'listening');
      const { port } = tcp.address() as { port: number };
      const udp = createSocket(at.address.includes(':') ? 'udp6' : 'udp4');
      udp.bind(port, at.address);
      try {
        await once(udp, 'listening');
        // On a manual clock nothing is sent again, so nothing may be lost.
        udp.setRecvBufferSize(RECEIVE_BUFFER_OCTETS);
        return new FakeUpstream(udp, tcp, { address: at.address, port }, behaviour);
      } catch (error) {
        udp.close();
        tcp.close();
        if (at.port !== 0) throw error;
      }
    }
  }

  /** @returns the query number `count`, from 1, once it has arrived */
  async arrival(count: number): Promise<Asked> {
    while (this.asked.length < count) {
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
    return this.asked[count - 1]!;
  }

  get udpQueries(): number {
    return this.asked.filter(({ transport }) => transport === 'udp').length;
  }

  get tcpQueries(): number {
    return this.asked.filter(({ transport }) => transport === 'tcp').length;
  }

  async stop(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    const closed = [once(this.#udp, 'close'), once(this.#tcp, 'close')];
    this.#udp.close();
    this.#tcp.close();
    await Promise.all(closed);
  }

  #serve(stream: Stream): void {
    const reader = new FrameReader();
    this.#streams.add(stream);
    stream.on('error', () => undefined);
    stream.on('close', () => this.#streams.delete(stream));
    stream.on('data', (chunk) => {
      reader.feed(chunk);
      for (let message = reader.next(); message !== null; message = reader.next()) {
        this.#take(message.slice(), 'tcp', stream);
      }
    });
  }

  #take(message: Uint8Array, transport: 'udp' | 'tcp', peer: RemoteInfo | Stream): void {
    const view = new QueryView();
    parseQuery(message, view);
    const port = 'remotePort' in peer ? (peer.remotePort ?? 0) : (peer as RemoteInfo).port;
    const send = (answer: Uint8Array): void => {
      if (transport === 'tcp') (peer as Stream).write(frame(answer));
      else this.#udp.send(answer, port, (peer as RemoteInfo).address);
    };
    const hangUp = (): void => {
      if (transport === 'tcp') (peer as Stream).destroy();
    };
    const asked: Asked = { message, view, transport, port, send, hangUp };
    this.asked.push(asked);
    this.behaviour(asked);
    const watchers = this.#watchers;
    this.#watchers = [];
    for (const wake of watchers) wake();
  }
}

const RECEIVE_BUFFER_OCTETS = 4_194_304;

const LOOPBACK: Endpoint = { address: '127.0.0.1', port: 0 };

/** A right answer, of which a test may change what it wants wrong. */
export function response(asked: Asked, more: Partial<ResponseToWrite> = {}): Uint8Array {
  const { message, view } = asked;
  const name = message.subarray(HEADER_OCTETS, view.nameEnd);
  return writeResponse({
    id: view.id,
    flags: FLAG.RA | FLAG.RD,
    question: { name, type: view.qtype },
    edns: view.hasEdns,
    dnssecOk: view.dnssecOk,
    ...more,
  });
}

/** An A record of the name asked, or any other type with the same four octets. */
export function record(asked: Asked, ttlSeconds = 300, lastOctet = 1): RecordToWrite {
  const { message, view } = asked;
  const name = message.subarray(HEADER_OCTETS, view.nameEnd);
  return { name, type: view.qtype, ttlSeconds, rdata: Uint8Array.of(192, 0, 2, lastOctet) };
}

/** Answers with one record. */
export const answers =
  (ttlSeconds = 300, lastOctet = 1): Behaviour =>
  (asked) =>
    asked.send(response(asked, { answers: [record(asked, ttlSeconds, lastOctet)] }));

export const refuses =
  (rcode: number): Behaviour =>
  (asked) =>
    asked.send(response(asked, { rcode }));

export const silent: Behaviour = () => undefined;

export const A = TYPE.A;
