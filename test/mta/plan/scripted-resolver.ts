/** A resolver that says what a test tells it to, over UDP and TCP on one loopback port. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import packet from 'dns-packet';
import type { Endpoint } from '../../../runtime/settings.ts';

const ATTEMPTS_MAX = 10;

export interface Asked {
  readonly id: number;
  readonly name: string;
  readonly type: string;
  readonly flags: number;
  readonly transport: 'udp' | 'tcp';
  /** Of the client. */
  readonly port: number;
  /** From 1, per name and type and transport. */
  readonly times: number;
  /** The query, octet for octet. */
  readonly wire: Uint8Array;
}

/** Octets to send back, several datagrams if need be; none is silence. */
export type Script = (asked: Asked) => readonly Uint8Array[];

export class ScriptedResolver {
  readonly asked: Asked[] = [];
  readonly #udp: Socket = createSocket('udp4');
  readonly #tcp: Server;
  readonly #times = new Map<string, number>();
  readonly #arrivals = new EventTarget();
  script: Script = () => [];

  constructor() {
    this.#udp.on('message', (wire, from) => this.#onDatagram(wire, from));
    this.#tcp = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', (framed) => {
        const responses = this.script(this.#note(framed.subarray(2), 'tcp', socket.remotePort!));
        for (const wire of responses) {
          const length = Buffer.alloc(2);
          length.writeUInt16BE(wire.length);
          // In two pieces, as a stream may deliver it.
          socket.write(length.subarray(0, 1));
          socket.write(Buffer.concat([length.subarray(1), wire]));
        }
        if (responses.length === 0) socket.end();
      });
    });
  }

  /** One port for both; the system chooses it for TCP, and somebody may have it for UDP already. */
  async listen(): Promise<Endpoint> {
    for (let attempt = 1; ; attempt += 1) {
      this.#tcp.listen(0, '127.0.0.1');
      await once(this.#tcp, 'listening');
      const { port } = this.#tcp.address() as { port: number };
      try {
        this.#udp.bind(port, '127.0.0.1');
        await once(this.#udp, 'listening');
        return { address: '127.0.0.1', port };
      } catch (error) {
        if (attempt === ATTEMPTS_MAX) throw error;
        this.#tcp.close();
        await once(this.#tcp, 'close');
      }
    }
  }

  close(): void {
    this.#udp.close();
    this.#tcp.close();
  }

  /** Resolves when so many questions in all have come. */
  async arrived(count: number): Promise<void> {
    while (this.asked.length < count) {
      await new Promise((resolve) =>
        this.#arrivals.addEventListener('asked', resolve, { once: true }),
      );
    }
  }

  #onDatagram(wire: Uint8Array, from: RemoteInfo): void {
    for (const response of this.script(this.#note(wire, 'udp', from.port))) {
      this.#udp.send(response, from.port, from.address);
    }
  }

  #note(wire: Uint8Array, transport: 'udp' | 'tcp', port: number): Asked {
    const query = packet.decode(Buffer.from(wire));
    const { name, type } = query.questions![0]!;
    const key = `${transport} ${type} ${name}`;
    const times = (this.#times.get(key) ?? 0) + 1;
    this.#times.set(key, times);
    const asked = {
      id: query.id!,
      name,
      type,
      flags: query.flags!,
      transport,
      port,
      times,
      wire: Buffer.from(wire),
    };
    this.asked.push(asked);
    this.#arrivals.dispatchEvent(new Event('asked'));
    return asked;
  }
}

export interface Reply {
  readonly answers?: readonly packet.Answer[];
  readonly authorities?: readonly packet.Answer[];
  readonly rcode?: number;
  /** Besides RD and RA. */
  readonly flags?: number;
  readonly id?: number;
  readonly question?: { readonly name: string; readonly type: string };
  readonly extendedError?: { readonly code: number; readonly text: string };
}

/** The flags word, RFC 1035 §4.1.1. */
const RD_RA = 0x0180;
export const AD = 0x0020;
export const TC = 0x0200;

/** Writes a response with dns-packet, so that our own codec does not vouch for itself. */
export function reply(asked: Asked, { rcode = 0, flags = 0, ...more }: Reply): Uint8Array {
  const additionals: packet.Answer[] = [];
  if (more.extendedError !== undefined) {
    const code = Buffer.alloc(2);
    code.writeUInt16BE(more.extendedError.code);
    const data = Buffer.concat([code, Buffer.from(more.extendedError.text)]);
    additionals.push({
      type: 'OPT',
      name: '.',
      udpPayloadSize: 1232,
      flags: 0,
      options: [{ code: 15, data }],
    } as unknown as packet.Answer);
  }
  return packet.encode({
    type: 'response',
    id: more.id ?? asked.id,
    flags: RD_RA | flags | rcode,
    questions: [(more.question ?? { name: asked.name, type: asked.type }) as packet.Question],
    answers: [...(more.answers ?? [])],
    authorities: [...(more.authorities ?? [])],
    additionals,
  });
}

export const a = (name: string, data: string, ttl = 300): packet.Answer => ({
  type: 'A',
  name,
  ttl,
  data,
});
export const cname = (name: string, data: string, ttl = 300): packet.Answer => ({
  type: 'CNAME',
  name,
  ttl,
  data,
});
export const mx = (
  name: string,
  preference: number,
  exchange: string,
  ttl = 300,
): packet.Answer => ({ type: 'MX', name, ttl, data: { preference, exchange } });
export const soa = (name: string, ttl: number, minimum: number): packet.Answer => ({
  type: 'SOA',
  name,
  ttl,
  data: {
    mname: `ns.${name}`,
    rname: `hostmaster.${name}`,
    serial: 1,
    refresh: 1,
    retry: 1,
    expire: 1,
    minimum,
  },
});
