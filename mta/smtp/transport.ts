/**
 * The socket of one connection: TCP, then TLS in its place. Gathers what is to be written, hands it
 * to the socket in few system calls, and no faster than the peer takes it.
 *
 * Invariants
 * - Octets leave in the order they were given.
 * - At most SLICE_OCTETS_MAX octets of content beyond the socket's own high-water mark are copied
 *   into the socket's queue at a time; the rest stays a view of the caller's buffer.
 * - onClosed is the last event, and comes once; none follows destroy().
 */
import { X509Certificate } from 'node:crypto';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import {
  type ConnectionOptions,
  checkServerIdentity,
  connect as connectTls,
  type SecureContext,
  type TLSSocket,
} from 'node:tls';
import type { Tlsa } from '../tlsa.ts';
import { SLICE_OCTETS_MAX, stuffedSlice, terminatorFor } from './content.ts';
import { CHAIN_MAX, daneFault } from './dane.ts';
import type { TicketCache, TlsVerdict } from './tickets.ts';

/** A socket that holds as much has to drain first: a window of usual messages leaves in one write. */
const SOCKET_OCTETS_MAX = 131_072;

export interface TransportEvents {
  onConnected(): void;
  /** `chunk` may be kept. */
  onData(chunk: Buffer): void;
  /** The socket took what it had been given. */
  onDrain(): void;
  onSecured(verdict: TlsVerdict): void;
  /** @param code errno or TLS error code; null when the peer closed in good order */
  onClosed(code: string | null, detail: string): void;
}

export interface Securing {
  readonly context: SecureContext;
  readonly tickets: TicketCache;
  /** Names host and policy. */
  readonly ticketKey: string;
  /** MX host name: SNI, and the name that the certificate must carry. */
  readonly host: string;
  /** A session whose certificate does not hold is not kept for resumption. */
  readonly mustVerify: boolean;
  /** These judge the certificate, in place of authorities and name; null when they do not. */
  readonly dane: { readonly records: readonly Tlsa[]; readonly nowMs: number } | null;
}

/** Content on its way: handed to the socket slice by slice. */
interface Content {
  readonly octets: Buffer;
  readonly stuffed: boolean;
  at: number;
}

export class Transport {
  readonly #events: TransportEvents;
  #socket: Socket;
  /** Commands and content not yet handed to the socket. */
  #queue: (string | Content)[] = [];
  #contents = 0;
  /** The socket asked us to wait for its drain. */
  #blocked = false;
  #destroyed = false;
  #fault: Error | null = null;
  /** Our end, numeric; '' before the host has taken the call. */
  localAddress = '';

  constructor(address: string, port: number, events: TransportEvents) {
    this.#events = events;
    // Without TCP_NODELAY lockstep BDAT ran at 22 messages a second.
    this.#socket = connectTcp({ host: address, port, noDelay: true });
    this.#socket.once('connect', () => {
      this.localAddress = this.#socket.localAddress ?? '';
      if (!this.#destroyed) events.onConnected();
    });
    this.#listen(this.#socket);
  }

  /** Contents whose end was not handed to the socket yet. */
  get contentsUnsent(): number {
    return this.#contents;
  }

  /** The peer does not take octets as fast as they come. */
  get backlogged(): boolean {
    return this.#blocked;
  }

  /** Gathers; flush() sends. */
  command(text: string): void {
    this.#queue.push(text);
  }

  /** @param octets borrowed until it is no longer among contentsUnsent */
  content(octets: Uint8Array, stuffed: boolean): void {
    const view = Buffer.from(octets.buffer, octets.byteOffset, octets.length);
    this.#queue.push({ octets: view, stuffed, at: 0 });
    this.#contents += 1;
  }

  flush(): void {
    if (this.#queue.length === 0 || this.#blocked || this.#destroyed) return;
    const socket = this.#socket;
    socket.cork();
    let taken = 0;
    for (const item of this.#queue) {
      const done = typeof item === 'string' ? this.#writeText(item) : this.#writeContent(item);
      if (done) taken += 1;
      if (this.#blocked) break;
    }
    socket.uncork();
    if (taken === this.#queue.length) this.#queue.length = 0;
    else this.#queue.splice(0, taken);
  }

  #writeText(text: string): true {
    this.#blocked = !this.#socket.write(text, 'utf8');
    return true;
  }

  /** @returns whether all of it was handed over */
  #writeContent(content: Content): boolean {
    const { octets, stuffed } = content;
    while (content.at < octets.length && !this.#blocked) {
      const end = Math.min(content.at + SLICE_OCTETS_MAX, octets.length);
      const slice = stuffed ? stuffedSlice(octets, content.at) : sliceOf(octets, content.at, end);
      content.at = end;
      this.#blocked = !this.#socket.write(slice);
    }
    if (content.at < octets.length) return false;
    if (stuffed) this.#writeText(terminatorFor(octets));
    this.#contents -= 1;
    return true;
  }

  /** Starts the handshake in place of the plain socket; onSecured or onClosed follows. */
  secure(securing: Securing): void {
    const { context, tickets, ticketKey, host, mustVerify, dane } = securing;
    const plain = this.#socket;
    plain.removeAllListeners('data');
    plain.removeAllListeners('end');
    plain.removeAllListeners('close');
    plain.removeAllListeners('drain');
    const ticket = tickets.get(ticketKey);
    // @types/node knows it of sockets, not of this call, whose documentation names it.
    const options: ConnectionOptions & { readonly highWaterMark: number } = {
      socket: plain,
      secureContext: context,
      highWaterMark: SOCKET_OCTETS_MAX,
      // Judged below: a certificate nobody can vouch for is still better than none.
      rejectUnauthorized: false,
      checkServerIdentity: (_, certificate) => checkServerIdentity(host, certificate),
      ...(isIP(host) === 0 ? { servername: host } : {}),
      ...(ticket === undefined ? {} : { session: ticket.session }),
    };
    const socket = connectTls(options);
    this.#socket = socket;
    this.#listen(socket);
    let verdict: TlsVerdict | null = null;
    let session: Buffer | null = null;
    const keep = (): void => {
      if (verdict === null || session === null || (mustVerify && !verdict.verified)) return;
      tickets.set(ticketKey, { session, verdict });
    };
    socket.once('secureConnect', () => {
      verdict = verdictOf(socket, ticket?.verdict ?? null);
      if (dane !== null && !verdict.resumed) {
        const fault = daneFault(dane.records, chainOf(socket), host, dane.nowMs);
        verdict = { ...verdict, verified: fault === null, fault };
      }
      keep();
      if (!this.#destroyed) this.#events.onSecured(verdict);
    });
    // TLS 1.2 gives the ticket within the handshake, TLS 1.3 after it, and more than one.
    socket.on('session', (latest: Buffer) => {
      session = latest;
      keep();
    });
    socket.once('error', () => {
      if (verdict === null) tickets.delete(ticketKey);
    });
  }

  /** Sends what was gathered, then closes. */
  end(): void {
    if (this.#destroyed) return;
    this.flush();
    this.#destroyed = true;
    this.#socket.destroySoon();
  }

  destroy(): void {
    this.#destroyed = true;
    this.#socket.destroy();
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => {
      if (!this.#destroyed) this.#events.onData(chunk);
    });
    socket.on('drain', () => {
      this.#blocked = false;
      this.flush();
      if (!this.#destroyed) this.#events.onDrain();
    });
    socket.on('error', (error) => {
      this.#fault ??= error;
    });
    // Half-closed is closed: what we still had to say would find nobody.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => {
      if (this.#destroyed) return;
      this.#destroyed = true;
      const fault = this.#fault;
      this.#events.onClosed(fault === null ? null : codeOf(fault), fault?.message ?? '');
    });
  }
}

/** A usual message is one slice, and needs no other view. */
const sliceOf = (octets: Buffer, start: number, end: number): Buffer =>
  start === 0 && end === octets.length ? octets : octets.subarray(start, end);

const codeOf = (error: Error): string =>
  'code' in error && typeof error.code === 'string' ? error.code : error.name;

/** As the host sent it, its own certificate first. */
function chainOf(socket: TLSSocket): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let certificate = socket.getPeerCertificate(true);
  // The last one is its own issuer, or has none.
  while (certificate?.raw !== undefined && chain.length < CHAIN_MAX) {
    chain.push(new X509Certificate(certificate.raw));
    if (certificate.issuerCertificate === certificate) break;
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** @param inherited of the full handshake that the ticket came from, if one was offered */
function verdictOf(socket: TLSSocket, inherited: TlsVerdict | null): TlsVerdict {
  const resumed = socket.isSessionReused();
  const connection = {
    protocol: socket.getProtocol() ?? 'unknown',
    cipher: socket.getCipher().name,
    resumed,
  };
  if (resumed && inherited !== null) return { ...inherited, ...connection };
  const { authorized, authorizationError } = socket;
  const fault = authorized ? null : String(authorizationError ?? 'unverified');
  return { ...connection, verified: authorized, fault };
}
