/**
 * DNS over HTTPS (RFC 8484): questions as POST, many at once over one HTTP/2 connection. Retries are
 * the forwarder's; undici makes none of its own for POST.
 *
 * Packets are estimated as for TLS; a question costs its HEADERS and DATA in up to two segments, and
 * the acknowledgement of the response.
 *
 * Invariants: at most EXCHANGES_MAX are open; a response body of more than a DNS message is given up.
 */
import { isIP } from 'node:net';
import { Client, type Dispatcher } from 'undici';
import { MESSAGE_OCTETS_MAX } from '../wire/constants.ts';
import { copyOctets, repeatsQuestion, setId } from '../wire/message.ts';
import type { UpstreamAddress } from './address.ts';
import { isResponse } from './match.ts';
import type { StreamChannel, StreamExchange, StreamOwner } from './stream.ts';
import type { Upstream } from './upstream.ts';

const EXCHANGES_MAX = 1_024;
const STREAMS_MAX = 100;
const CONNECT_TIMEOUT_MS = 4_000;
const IDLE_MS = 10_000;
const MEDIA_TYPE = 'application/dns-message';
const CONNECT_PACKETS = 7;
const CLOSE_PACKETS = 2;
const EXCHANGE_PACKETS = 3;
const SEGMENT_OCTETS = 1_448;
const HTTP_OK = 200;

class HttpsExchange implements StreamExchange {
  readonly owner: StreamOwner;
  readonly abort = new AbortController();

  constructor(owner: StreamOwner) {
    this.owner = owner;
  }
}

export class HttpsChannel implements StreamChannel {
  readonly #upstream: Upstream;
  readonly #authorities: string | undefined;
  readonly #path: string;
  #client: Client;
  readonly #open = new Set<HttpsExchange>();
  #connected = false;
  #answered = false;

  /** @param authorities PEM, in place of those that come with Node; undefined for those */
  constructor(upstream: Upstream, authorities: string | undefined) {
    this.#upstream = upstream;
    this.#authorities = authorities;
    this.#path = upstream.endpoint.path ?? '/dns-query';
    this.#client = this.#createClient();
  }

  get askPackets(): number {
    return this.#connected ? EXCHANGE_PACKETS : CONNECT_PACKETS + EXCHANGE_PACKETS + CLOSE_PACKETS;
  }

  ask(query: Uint8Array, questionEnd: number, owner: StreamOwner): HttpsExchange | null {
    if (this.#open.size >= EXCHANGES_MAX) return null;
    const exchange = new HttpsExchange(owner);
    this.#open.add(exchange);
    const body = copyOctets(query, 0, query.length);
    // RFC 8484 §4.1: ID 0, so that HTTP caches see equal questions as equal.
    setId(body, 0);
    this.#upstream.packetsSent += EXCHANGE_PACKETS;
    const reused = this.#answered;
    this.#request(body, exchange).then(
      (message) => this.#settle(exchange, body, questionEnd, message),
      (error: NodeJS.ErrnoException) => this.#fail(exchange, error.code ?? 'EIO', reused),
    );
    return exchange;
  }

  close(exchange: StreamExchange): void {
    const own = exchange as HttpsExchange;
    if (this.#open.delete(own)) own.abort.abort();
  }

  reset(): void {
    const orphans = [...this.#open];
    const reused = this.#answered;
    void this.#client.destroy();
    this.#client = this.#createClient();
    for (const exchange of orphans) this.#fail(exchange, 'ETIMEDOUT', reused);
  }

  stop(): void {
    this.#open.clear();
    void this.#client.destroy();
  }

  #createClient(): Client {
    const upstream = this.#upstream;
    const client = createClient(upstream.endpoint, this.#authorities);
    this.#connected = false;
    this.#answered = false;
    client.on('connect', () => {
      upstream.packetsSent += CONNECT_PACKETS;
      if (this.#client === client) this.#connected = true;
    });
    client.on('disconnect', () => {
      upstream.packetsSent += CLOSE_PACKETS;
      if (this.#client !== client) return;
      this.#connected = false;
      this.#answered = false;
    });
    return client;
  }

  /** @throws what undici throws, or {@link HttpsRefusal} */
  async #request(body: Uint8Array, { abort }: HttpsExchange): Promise<Uint8Array> {
    const response = await this.#client.request({
      method: 'POST',
      path: this.#path,
      headers: { accept: MEDIA_TYPE, 'content-type': MEDIA_TYPE },
      body,
      signal: abort.signal,
    });
    const message = await readBody(response);
    if (response.statusCode !== HTTP_OK) throw new HttpsRefusal(`HTTP ${response.statusCode}`);
    if (response.headers['content-type'] !== MEDIA_TYPE) throw new HttpsRefusal('EBADMSG');
    return message;
  }

  #settle(
    exchange: HttpsExchange,
    query: Uint8Array,
    questionEnd: number,
    message: Uint8Array,
  ): void {
    this.#upstream.packetsReceived += 1 + Math.ceil(message.length / SEGMENT_OCTETS);
    if (!isResponse(message) || !repeatsQuestion(message, query, questionEnd, false)) {
      this.#upstream.datagramsMismatched += 1;
      this.#fail(exchange, 'EBADMSG', false);
      return;
    }
    this.#answered = true;
    if (this.#open.delete(exchange)) exchange.owner.onStreamResponse(message, true);
    else this.#upstream.responsesLate += 1;
  }

  #fail(exchange: HttpsExchange, code: string, reused: boolean): void {
    if (this.#open.delete(exchange)) exchange.owner.onStreamError(code, reused);
  }
}

/** The server answered, but not with a DNS message. */
class HttpsRefusal extends Error {
  override readonly name = 'HttpsRefusal';
  readonly code: string;
  constructor(code: string) {
    super(`refused: ${code}`);
    this.code = code;
  }
}

function createClient(endpoint: UpstreamAddress, authorities: string | undefined): Client {
  const url = new URL(endpoint.text.split('#')[0]!);
  const { address } = endpoint;
  return new Client(url.origin, {
    allowH2: true,
    maxConcurrentStreams: STREAMS_MAX,
    pipelining: STREAMS_MAX,
    keepAliveTimeout: IDLE_MS,
    // The deadline of the question aborts it; timers of undici's would only cost.
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      lookup: (_host, _options, found) => found(null, [{ address, family: isIP(address) }]),
      ...(authorities === undefined ? {} : { ca: authorities }),
    },
  });
}

/** @throws HttpsRefusal when it is longer than a DNS message may be */
async function readBody({ body }: Dispatcher.ResponseData): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let octets = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    octets += chunk.length;
    if (octets > MESSAGE_OCTETS_MAX) throw new HttpsRefusal('EMSGSIZE');
    chunks.push(chunk);
  }
  const message = new Uint8Array(octets);
  let at = 0;
  for (const chunk of chunks) {
    message.set(chunk, at);
    at += chunk.length;
  }
  return message;
}
