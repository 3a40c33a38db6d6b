/**
 * The resolver's events as server-sent events (WHATWG HTML §9.2).
 *
 * Invariants: a client that does not read is hung up on before UNREAD_OCTETS_MAX wait for it; a
 * comment every BEAT_MS shows that the stream lives, so that a proxy does not close it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { RunningResolver } from '../../resolver/running.ts';
import { AdminError, endWithServer } from './server.ts';

const UNREAD_OCTETS_MAX = 65_536;
const BEAT_MS = 15_000;

/** @throws AdminError 503 when too many listen */
export function streamEvents(
  resolver: RunningResolver,
  request: FastifyRequest,
  reply: FastifyReply,
): void {
  const { raw } = reply;
  const write = (text: string): void => {
    raw.write(text);
    if (raw.writableLength > UNREAD_OCTETS_MAX) raw.destroy();
  };
  const stop = resolver.subscribe((event) => {
    write(`event: ${event.event}\ndata: ${JSON.stringify(event)}\n\n`);
  });
  if (stop === null) throw new AdminError(503, 'ADMIN_LISTENERS', 'too many listen to events');
  reply.hijack();
  const headers = reply.getHeaders() as Record<string, string>;
  endWithServer(request, raw);
  raw.writeHead(200, { ...headers, 'content-type': 'text/event-stream' });
  write(': events of upstreams and names\n\n');
  const beat = setInterval(() => write(':\n\n'), BEAT_MS);
  request.raw.socket.once('close', () => {
    clearInterval(beat);
    stop();
  });
}
