/** A server of TCP connections, whatever they carry, brought to listen where the configuration says. */
import { once } from 'node:events';
import type { Server } from 'node:net';
import { findPortHolder } from '../../runtime/port-holder.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { ListenFailed } from '../errors.ts';
import type { StreamOptions } from './tcp.ts';

const BACKLOG_CONNECTIONS = 1_024;

/**
 * @returns where it listens: at the port that it got, where it asked for any
 * @throws ListenFailed
 */
export async function listenAt(
  server: Server,
  endpoint: Endpoint,
  { handed, ipv6Only }: StreamOptions,
): Promise<Endpoint> {
  const { address: host, port } = endpoint;
  const fd = handed?.take('tcp', endpoint) ?? null;
  if (fd === null) {
    server.listen({ host, port, ipv6Only, backlog: BACKLOG_CONNECTIONS });
  } else {
    // Of a descriptor Node takes no `backlog` among the options.
    server.listen({ fd }, BACKLOG_CONNECTIONS);
  }
  try {
    await once(server, 'listening');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'EUNKNOWN';
    throw new ListenFailed(endpoint, 'tcp', code, findPortHolder('tcp', port));
  }
  const bound = server.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  return { address: host, port: boundPort };
}
