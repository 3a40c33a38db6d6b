/**
 * DNS over HTTPS (RFC 8484): HTTP/2, GET and POST of /dns-query, through the same service as every
 * other transport.
 *
 * Invariants: at most `tcp_clients` sessions, `tcp_clients_each` of one address that is not this
 * machine's, STREAMS_MAX requests each; a body is at most a message; a session without a whole request
 * lasts IDLE_MS at most.
 */
import { once } from 'node:events';
import {
  createSecureServer,
  type Http2SecureServer,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Socket } from 'node:net';
import type { Endpoint } from '../../runtime/settings.ts';
import { Alarm, type AlarmOwner } from '../../runtime/timer-wheel.ts';
import { ANSWER_OCTETS_MAX, type Client, IDLE_MS } from '../replies.ts';
import { MISSED } from '../service.ts';
import { MESSAGE_OCTETS_MAX, RCODE, TYPE } from '../wire/constants.ts';
import { headerRcodeOf, RecordCursor } from '../wire/message.ts';
import { listenAt } from './stream-server.ts';
import { Crowd, type StreamOptions, type TlsIdentity } from './tcp.ts';

const PATH = '/dns-query';
const MEDIA_TYPE = 'application/dns-message';
const STREAMS_MAX = 128;
/** Of MESSAGE_OCTETS_MAX octets in base64url, with what stands before them. */
const TARGET_OCTETS_MAX = 90_000;
const HEADER_LIST_OCTETS_MAX = 131_072;

const STATUS = {
  ok: 200,
  badRequest: 400,
  notFound: 404,
  badMethod: 405,
  tooLarge: 413,
  targetTooLong: 414,
  badMediaType: 415,
} as const;
type Refusal = Exclude<keyof typeof STATUS, 'ok'>;

export type HttpsOptions = StreamOptions & { readonly tls: TlsIdentity };

export class HttpsListener {
  readonly endpoint: Endpoint;
  readonly options: HttpsOptions;
  readonly out = new Uint8Array(ANSWER_OCTETS_MAX);
  readonly #server: Http2SecureServer;
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Set<HttpsSession>();

  constructor(server: Http2SecureServer, endpoint: Endpoint, options: HttpsOptions) {
    this.#server = server;
    this.endpoint = endpoint;
    this.options = options;
    server.maxConnections = options.connectionsMax;
    const crowd = new Crowd(options.connectionsEachMax);
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      if (crowd.admit(socket)) return;
      options.counters.drops.clients += 1;
      socket.destroy();
    });
    server.on('drop', () => {
      options.counters.drops.clients += 1;
    });
    server.on('session', (session) => {
      const ours = new HttpsSession(this, session);
      this.#sessions.add(ours);
      session.on('close', () => this.#sessions.delete(ours));
    });
    server.on('tlsClientError', (_error: Error, socket: Socket) => socket.destroy());
    server.on('sessionError', () => undefined);
  }

  /** @throws ListenFailed */
  static async open(endpoint: Endpoint, options: HttpsOptions): Promise<HttpsListener> {
    const server = createSecureServer({
      ...options.tls,
      settings: {
        maxConcurrentStreams: STREAMS_MAX,
        maxHeaderListSize: HEADER_LIST_OCTETS_MAX,
        enablePush: false,
      },
    });
    return new HttpsListener(server, await listenAt(server, endpoint, options), options);
  }

  /** Takes no more connections, and ends sessions once their requests are answered. */
  drain(): void {
    this.#server.close();
    for (const session of this.#sessions) session.finish();
  }

  async close(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve();
    if (this.#server.listening) this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

class HttpsSession implements AlarmOwner {
  readonly address: string;
  readonly listener: HttpsListener;
  readonly #session: ServerHttp2Session;
  readonly #idle = new Alarm(this, 0);

  constructor(listener: HttpsListener, session: ServerHttp2Session) {
    this.listener = listener;
    this.#session = session;
    this.address = session.socket.remoteAddress ?? '';
    session.on('error', () => undefined);
    session.on('close', () => listener.options.wheel.disarm(this.#idle));
    session.on('stream', (stream, headers) => this.#serve(stream, headers));
    this.restartIdle();
  }

  onAlarm(): void {
    this.#session.destroy();
  }

  /** Takes no more requests (GOAWAY, RFC 9113 §6.8). */
  finish(): void {
    this.#session.close();
  }

  /** A whole request has come, or its answer has gone. */
  restartIdle(): void {
    if (!this.#session.destroyed) this.listener.options.wheel.arm(this.#idle, IDLE_MS);
  }

  #serve(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    stream.on('error', () => undefined);
    const target = headers[':path'] ?? '';
    const [path, search = ''] = target.split('?', 2);
    if (path !== PATH) refuse(stream, 'notFound');
    else if (headers[':method'] === 'POST') this.#servePost(stream, headers);
    else if (headers[':method'] !== 'GET') refuse(stream, 'badMethod');
    else if (target.length > TARGET_OCTETS_MAX) refuse(stream, 'targetTooLong');
    else this.#serveGet(stream, search);
  }

  #serveGet(stream: ServerHttp2Stream, search: string): void {
    const encoded = new URLSearchParams(search).get('dns');
    // The base64url of RFC 8484 has no padding and nothing else (§6).
    if (encoded === null || !/^[\w-]+$/.test(encoded)) refuse(stream, 'badRequest');
    else this.#answer(stream, Buffer.from(encoded, 'base64url'));
  }

  #servePost(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    if (headers['content-type'] !== MEDIA_TYPE) {
      refuse(stream, 'badMediaType');
      return;
    }
    const chunks: Buffer[] = [];
    let octets = 0;
    stream.on('data', (chunk: Buffer) => {
      octets += chunk.length;
      if (octets <= MESSAGE_OCTETS_MAX) chunks.push(chunk);
      else refuse(stream, 'tooLarge');
    });
    stream.on('end', () => {
      if (!stream.headersSent) this.#answer(stream, Buffer.concat(chunks));
    });
  }

  #answer(stream: ServerHttp2Stream, query: Buffer): void {
    const { out, options } = this.listener;
    const { service } = options;
    this.restartIdle();
    const octets = service.answer(query, 'https', this.address, out);
    if (octets > 0) respond(stream, out.subarray(0, octets));
    else if (octets === MISSED) service.resolve(query, new HttpsClient(this, stream));
    else refuse(stream, 'badRequest');
  }
}

/** Who waits for an answer to one request. */
class HttpsClient implements Client {
  readonly transport = 'https';
  readonly address: string;
  readonly #session: HttpsSession;
  readonly #stream: ServerHttp2Stream;

  constructor(session: HttpsSession, stream: ServerHttp2Stream) {
    this.#session = session;
    this.#stream = stream;
    this.address = session.address;
  }

  send(answer: Uint8Array): void {
    this.#session.restartIdle();
    respond(this.#stream, answer);
  }
}

function refuse(stream: ServerHttp2Stream, why: Refusal): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ':status': STATUS[why] }, { endStream: true });
  // What else the client has to say is not wanted.
  stream.resume();
}

/** @param answer borrowed */
function respond(stream: ServerHttp2Stream, answer: Uint8Array): void {
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({
    ':status': STATUS.ok,
    'content-type': MEDIA_TYPE,
    'content-length': answer.length,
    'cache-control': `max-age=${freshSeconds(answer)}`,
  });
  stream.end(Buffer.from(answer));
}

const cursor = new RecordCursor();

/** The shortest TTL of the answer section; without one, that of the SOA that says so (RFC 8484 §5.1). */
function freshSeconds(answer: Uint8Array): number {
  const rcode = headerRcodeOf(answer);
  if (rcode !== RCODE.NOERROR && rcode !== RCODE.NXDOMAIN) return 0;
  let seconds = Number.POSITIVE_INFINITY;
  for (let state = cursor.begin(answer); state > 0; state = cursor.next()) {
    const isDenial = cursor.section === 'authority' && cursor.type === TYPE.SOA;
    if (cursor.section === 'answer' || isDenial) seconds = Math.min(seconds, cursor.ttlSeconds);
  }
  return Number.isFinite(seconds) ? seconds : 0;
}
