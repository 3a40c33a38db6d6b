/** DNS over TLS and over HTTPS, answering as a {@link Behaviour} says, with a certificate of its own. */
import { once } from 'node:events';
import { createSecureServer, type Http2SecureServer } from 'node:http2';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { type Certificate, selfSigned } from '../../bench/load/certificate.ts';
import { FrameReader, frame } from '../../resolver/wire/frame.ts';
import { parseQuery, QueryView } from '../../resolver/wire/message.ts';
import type { Asked, Behaviour } from './fake-upstream.ts';

export const SERVER_NAME = 'dns.example.net';
const MEDIA_TYPE = 'application/dns-message';

export interface SecureUpstream {
  readonly port: number;
  readonly certificate: Certificate;
  readonly asked: Asked[];
  /** Connections accepted, and of these the ones that resumed a session. */
  connections: number;
  resumed: number;
  behaviour: Behaviour;
  /** Ends every connection; new ones are taken. */
  hangUp(): void;
  stop(): Promise<void>;
}

interface State {
  readonly asked: Asked[];
  connections: number;
  resumed: number;
  behaviour: Behaviour;
}

const parsed = (message: Uint8Array): QueryView => {
  const view = new QueryView();
  parseQuery(message, view);
  return view;
};

async function serve(
  server: Server | Http2SecureServer,
  certificate: Certificate,
  state: State,
): Promise<SecureUpstream> {
  const sockets = new Set<TLSSocket>();
  server.on('secureConnection', (socket: TLSSocket) => {
    state.connections += 1;
    if (socket.isSessionReused()) state.resumed += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const hangUp = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  return Object.assign(state, {
    port: (server.address() as { port: number }).port,
    certificate,
    hangUp,
    async stop() {
      const closed = once(server, 'close');
      server.close();
      hangUp();
      await closed;
    },
  });
}

const newState = (behaviour: Behaviour): State => ({
  asked: [],
  connections: 0,
  resumed: 0,
  behaviour,
});

export function startTlsUpstream(behaviour: Behaviour): Promise<SecureUpstream> {
  const certificate = selfSigned([SERVER_NAME]);
  const state = newState(behaviour);
  const server = createServer({ ...certificate, ALPNProtocols: ['dot'] }, (socket) => {
    const reader = new FrameReader();
    socket.on('data', (chunk) => {
      reader.feed(chunk);
      for (let message = reader.next(); message !== null; message = reader.next()) {
        const own = Uint8Array.from(message);
        const asked: Asked = {
          message: own,
          view: parsed(own),
          transport: 'tcp',
          port: socket.remotePort ?? 0,
          send: (answer) => void socket.write(frame(answer)),
          hangUp: () => void socket.destroy(),
        };
        state.asked.push(asked);
        state.behaviour(asked);
      }
    });
  });
  return serve(server, certificate, state);
}

/** @param status of every response */
export function startHttpsUpstream(behaviour: Behaviour, status = 200): Promise<SecureUpstream> {
  const certificate = selfSigned([SERVER_NAME]);
  const state = newState(behaviour);
  const server = createSecureServer(certificate, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const message = Uint8Array.from(Buffer.concat(chunks));
      const asked: Asked = {
        message,
        view: parsed(message),
        transport: 'tcp',
        port: request.socket.remotePort ?? 0,
        send(answer) {
          response.writeHead(status, { 'content-type': MEDIA_TYPE });
          response.end(answer);
        },
        hangUp: () => void request.socket.destroy(),
      };
      state.asked.push(asked);
      state.behaviour(asked);
    });
  });
  return serve(server, certificate, state);
}
