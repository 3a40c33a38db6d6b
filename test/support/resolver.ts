/** A whole resolver on a clock that the test owns, and clients that ask it. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { DecodedPacket } from 'dns-packet';
import { resolverSchema } from '../../resolver/config.ts';
import { startResolver } from '../../resolver/main.ts';
import type { RunningResolver } from '../../resolver/running.ts';
import { FrameReader } from '../../resolver/wire/frame.ts';
import { type QueryToWrite, writeQuery } from '../../resolver/wire/write.ts';
import { silentLog } from '../../runtime/log.ts';
import { cryptoRandom } from '../../runtime/random.ts';
import { type Endpoint, formatEndpoint } from '../../runtime/settings.ts';
import { ManualClock } from './clock.ts';
import { oracle } from './oracle.ts';
import { wireName } from './wire.ts';

export interface TestResolver extends RunningResolver {
  readonly clock: ManualClock;
  readonly endpoint: Endpoint;
}

/** What tests leave out; a file that runs the same tests another way changes it first. */
export const testDefaults = { fronts: 0 };

/** @param settings of [resolver], as in the file; the listener is on a free port of 127.0.0.1 */
export async function startTestResolver(
  upstreams: readonly Endpoint[],
  settings: object = {},
): Promise<TestResolver> {
  const clock = new ManualClock();
  const config = resolverSchema.parse({
    listen: ['127.0.0.1:0'],
    upstreams: upstreams.map(formatEndpoint),
    ...testDefaults,
    ...settings,
  });
  const running = await startResolver(config, { clock, random: cryptoRandom(), log: silentLog });
  return Object.assign(running, { clock, endpoint: running.endpoints[0]! });
}

/** A question with the ID 0x1234; class IN, RD and EDNS unless said otherwise. */
export const question = (name: string, type: number, more: Partial<QueryToWrite> = {}) =>
  writeQuery({ id: 0x1234, name: wireName(name), type, ...more });

/** One UDP socket that asks and collects. */
export class UdpClient {
  readonly received: Buffer[] = [];
  readonly #socket: Socket;
  readonly #server: Endpoint;
  #watchers: (() => void)[] = [];

  constructor(server: Endpoint) {
    this.#server = server;
    this.#socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4');
    this.#socket.on('message', (message) => {
      this.received.push(message);
      const watchers = this.#watchers;
      this.#watchers = [];
      for (const wake of watchers) wake();
    });
  }

  send(query: Uint8Array): void {
    this.#socket.send(query, this.#server.port, this.#server.address);
  }

  /** @returns the answer number `count`, from 1, once it has come */
  async answer(count: number): Promise<Buffer> {
    while (this.received.length < count) {
      await new Promise<void>((resolve) => this.#watchers.push(resolve));
    }
    return this.received[count - 1]!;
  }

  close(): void {
    this.#socket.close();
  }
}

/** Asks once over UDP. @returns the answer's octets */
export async function askOctets(server: Endpoint, query: Uint8Array): Promise<Buffer> {
  const client = new UdpClient(server);
  client.send(query);
  const answer = await client.answer(1);
  client.close();
  return answer;
}

/** Asks once over UDP. @returns the answer as dns-packet reads it */
export const askUdp = async (server: Endpoint, query: Uint8Array): Promise<DecodedPacket> =>
  oracle(await askOctets(server, query));

/** Writes `octets` over TCP, shuts down the sending side, and reads until the server is done. */
export async function exchangeTcp(server: Endpoint, octets: Uint8Array): Promise<Uint8Array[]> {
  const socket = connect({ host: server.address, port: server.port });
  const reader = new FrameReader();
  const messages: Uint8Array[] = [];
  socket.on('data', (chunk) => {
    reader.feed(chunk);
    for (let message = reader.next(); message !== null; message = reader.next()) {
      messages.push(message.slice());
    }
  });
  socket.end(octets);
  await once(socket, 'close');
  return messages;
}

/** "RCODE", and the last octet of each A record. */
export const brief = (packet: DecodedPacket): string =>
  [packet.rcode, ...packet.answers.map(({ data }) => String(data).split('.').at(-1))].join(' ');

/** Extended errors of a response: INFO-CODE and EXTRA-TEXT. */
export function extendedErrors(packet: DecodedPacket): { code: number; text: string }[] {
  return packet.additionals
    .flatMap(({ options }) => options ?? [])
    .filter(({ code }) => code === 15)
    .map(({ data }) => ({ code: data!.readUInt16BE(0), text: data!.toString('utf8', 2) }));
}

/** The value of one series in the exposition, or 0. */
export async function metric(resolver: RunningResolver, series: string): Promise<number> {
  const text = await resolver.metrics.metrics();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? 0 : Number(line.slice(series.length + 1));
}
