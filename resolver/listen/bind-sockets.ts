/**
 * Binds sockets for other processes of ours, which inherit them: see runtime/handed-sockets.ts. Linux
 * only, since Node gives no descriptors of its own sockets away.
 */
import type { Endpoint } from '../../runtime/settings.ts';
import { openDatagramSocket, openStreamSocket } from './datagram-socket.ts';
import { loadLibc } from './libc.ts';

export interface WantedSocket {
  readonly protocol: 'udp' | 'tcp';
  /** The port is not 0. */
  readonly endpoint: Endpoint;
  /** An IPv6 wildcard leaves IPv4 to a socket of its own. */
  readonly ipv6Only: boolean;
  /** Several share the address, and the kernel deals datagrams out by peer. */
  readonly reusePort: boolean;
}

export interface SocketBinder {
  /**
   * @returns a descriptor that is closed at exec; a TCP socket listens
   * @throws ListenFailed
   */
  bind(wanted: WantedSocket): number;
  /** @returns another descriptor of the same socket */
  duplicate(fd: number): number;
  close(fd: number): void;
}

/** @throws FrontsUnavailable where the calls are not to be had */
export async function socketBinder(): Promise<SocketBinder> {
  const libc = await loadLibc();
  return {
    bind({ protocol, endpoint, ipv6Only, reusePort }) {
      const options = { libc, ipv6Only, reusePort };
      return protocol === 'udp'
        ? openDatagramSocket(endpoint, options).fd
        : openStreamSocket(endpoint, options);
    },
    duplicate: (fd) => libc.dup(fd),
    close: (fd) => void libc.close(fd),
  };
}
