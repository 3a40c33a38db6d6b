/** Binds sockets for other processes of ours, which inherit them: see handed-sockets.ts. */
import type { Endpoint } from '../../runtime/settings.ts';
import { openDatagramSocket, openStreamSocket } from './datagram-socket.ts';
import type { HandedSocket } from './handed-sockets.ts';
import { loadLibc } from './libc.ts';

export interface BoundSockets {
  readonly sockets: readonly HandedSocket[];
  close(): void;
}

/**
 * @param fronts UDP sockets for each address, at least one is bound
 * @throws ListenFailed; what was bound before is closed
 * @throws FrontsUnavailable where the calls are not to be had
 */
export async function bindSockets(
  endpoints: readonly Endpoint[],
  fronts: number,
): Promise<BoundSockets> {
  const libc = await loadLibc();
  const sockets: HandedSocket[] = [];
  const close = (): void => {
    for (const { fd } of sockets.splice(0)) libc.close(fd);
  };
  try {
    for (const endpoint of endpoints) {
      const ipv6Only = endpoint.address === '::' && endpoints.length > 1;
      const options = { libc, ipv6Only, reusePort: fronts > 1 };
      for (let front = 0; front < Math.max(fronts, 1); front += 1) {
        sockets.push({ protocol: 'udp', endpoint, fd: openDatagramSocket(endpoint, options).fd });
      }
      sockets.push({ protocol: 'tcp', endpoint, fd: openStreamSocket(endpoint, options) });
    }
  } catch (error) {
    close();
    throw error;
  }
  return { sockets, close };
}
