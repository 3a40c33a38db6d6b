/**
 * A cheap STARTTLS sink: the remote MX hosts of demos, tests and benches. Many addresses in one
 * process; counts what it takes, keeps nothing.
 *
 *     node bench/load/sink.ts --listen 127.0.1.1:2525 --listen 127.0.1.2:2525 [--no-chunking]
 *         [--no-pipelining] [--no-starttls] [--starttls-share N] [--delay-ms N] [--header NAME]
 *
 * As a program it prints one JSON line with the addresses when it listens, and one with its counts for
 * every line on its input, and at its end (SIGTERM, SIGINT, end of input). With --header each message
 * makes a line too.
 */
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { parseArgs } from 'node:util';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../../runtime/settings.ts';
import { type Certificate, selfSigned } from './certificate.ts';
import { isOfShare } from './mail-workload.ts';
import {
  newSinkCounts,
  type SinkCounts,
  type SinkOffer,
  type SinkPolicy,
  SinkSession,
} from './sink-session.ts';

export type { SinkCounts, SinkEnvelope, SinkMessage, SinkPolicy } from './sink-session.ts';

export interface SinkOptions extends SinkPolicy {
  /** Default: a free port of 127.0.0.1. */
  readonly listen?: readonly Endpoint[];
  /** All default to true. */
  readonly startTls?: boolean;
  /** Of the connections, which are offered STARTTLS; default 1. */
  readonly startTlsShare?: number;
  readonly chunking?: boolean;
  readonly pipelining?: boolean;
  /** Default false. */
  readonly requireTls?: boolean;
  /** Octets (RFC 1870); default 50 MiB. */
  readonly sizeMax?: number;
  /** Default: self-signed for "sink.example", made anew. */
  readonly certificate?: Certificate;
  /** Wait before each batch of replies; default 0. */
  readonly delayMs?: number;
}

export interface Sink {
  /** As bound, in the order of `listen`. */
  readonly endpoints: readonly Endpoint[];
  /** Live. */
  readonly counts: SinkCounts;
  readonly certificate: Certificate;
  /** Connections open now. */
  connections(): number;
  /** Drops connections and stops listening. */
  close(): Promise<void>;
}

const SIZE_MAX = 50 * 1024 * 1024;

export async function startSink(options: SinkOptions = {}): Promise<Sink> {
  const certificate = options.certificate ?? selfSigned(['sink.example']);
  const context = createSecureContext({ ...certificate, minVersion: 'TLSv1.2' });
  const counts = newSinkCounts();
  const sockets = new Set<Socket>();
  const listen = options.listen ?? [{ address: '127.0.0.1', port: 0 }];
  const servers = await Promise.all(
    listen.map((endpoint) =>
      listenOn(endpoint, (socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket));
        counts.connections += 1;
        serve(socket, endpoint.address, options, context, counts);
      }),
    ),
  );
  return {
    endpoints: servers.map(({ endpoint }) => endpoint),
    counts,
    certificate,
    connections: () => sockets.size,
    async close() {
      for (const socket of sockets) socket.destroy();
      await Promise.all(
        servers.map(({ server }) => new Promise<void>((done) => server.close(() => done()))),
      );
    },
  };
}

function listenOn(
  { address, port }: Endpoint,
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; endpoint: Endpoint }> {
  return new Promise((resolve, reject) => {
    const server = createServer({ noDelay: true }, onConnection);
    server.once('error', reject);
    server.listen({ host: address, port, backlog: 4096 }, () => {
      const bound = server.address();
      if (bound === null || typeof bound === 'string') reject(new Error('no address'));
      else resolve({ server, endpoint: { address, port: bound.port } });
    });
  });
}

function serve(
  socket: Socket,
  address: string,
  options: SinkOptions,
  context: SecureContext,
  counts: SinkCounts,
): void {
  const offer: SinkOffer = {
    pipelining: options.pipelining ?? true,
    chunking: options.chunking ?? true,
    startTls:
      (options.startTls ?? true) && isOfShare(counts.connections, options.startTlsShare ?? 1),
    requireTls: options.requireTls ?? false,
    sizeMax: options.sizeMax ?? SIZE_MAX,
  };
  const plain = new SinkSession(options, counts, offer, address, false);
  socket.on('error', () => undefined);
  socket.write(plain.greeting());
  converse(socket, plain, options.delayMs ?? 0, () => {
    const secured = new TLSSocket(socket, { isServer: true, secureContext: context });
    secured.once('secure', () => {
      if (secured.isSessionReused()) counts.handshakesResumed += 1;
      else counts.handshakesFull += 1;
    });
    secured.on('error', () => {
      if (secured.getProtocol() === null) counts.handshakesFailed += 1;
      secured.destroy();
    });
    const session = new SinkSession(options, counts, offer, address, true);
    converse(secured, session, options.delayMs ?? 0, () => undefined);
  });
}

function converse(
  socket: Socket,
  session: SinkSession,
  delayMs: number,
  onSecure: () => void,
): void {
  const say = (replies: string): void => {
    if (socket.destroyed) return;
    if (replies !== '') socket.write(replies, 'latin1');
    if (session.next === 'close') socket.end();
    else if (session.next === 'secure') {
      socket.removeAllListeners('data');
      onSecure();
    }
  };
  socket.on('data', (chunk: Buffer) => {
    const replies = session.take(chunk);
    if (delayMs === 0) say(replies);
    else setTimeout(say, delayMs, replies);
  });
}

/**
 * Refuses a recipient for the time being until `delayMs` after its first attempt, as greylisting does:
 * by reverse-path and forward-path.
 */
export function greylist(delayMs: number): NonNullable<SinkPolicy['onRecipient']> {
  const firstSeenMs = new Map<string, number>();
  return (recipient, { reversePath }) => {
    const tuple = `${reversePath} ${recipient}`;
    const seenMs = firstSeenMs.get(tuple);
    if (seenMs === undefined) firstSeenMs.set(tuple, Date.now());
    return seenMs !== undefined && Date.now() >= seenMs + delayMs
      ? null
      : '450 4.7.1 greylisted, try again later';
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      listen: { type: 'string', multiple: true, default: ['127.0.0.1:0'] },
      'no-starttls': { type: 'boolean', default: false },
      'starttls-share': { type: 'string', default: '1' },
      'no-chunking': { type: 'boolean', default: false },
      'no-pipelining': { type: 'boolean', default: false },
      'delay-ms': { type: 'string', default: '0' },
      header: { type: 'string' },
    },
  });
  const print = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
  const listen = values.listen.map((text) => {
    const endpoint = parseEndpoint(text, 0);
    if (endpoint === null) throw new Error(`"${text}" is not ADDRESS:PORT`);
    return endpoint;
  });
  const { header } = values;
  const sink = await startSink({
    listen,
    startTls: !values['no-starttls'],
    startTlsShare: Number(values['starttls-share']),
    chunking: !values['no-chunking'],
    pipelining: !values['no-pipelining'],
    delayMs: Number(values['delay-ms']),
    ...(header === undefined
      ? {}
      : {
          header: header.toLowerCase(),
          onMessage: (message) => {
            print({ message: { ...message, head: undefined } });
            return null;
          },
        }),
  });
  print({ listening: sink.endpoints.map(formatEndpoint) });
  const finish = (): void => {
    print({ counts: sink.counts });
    process.exit(0);
  };
  process.once('SIGTERM', finish);
  process.once('SIGINT', finish);
  const input = createInterface({ input: process.stdin });
  input.on('line', () => print({ counts: sink.counts }));
  input.on('close', finish);
}

if (import.meta.main) await main();
