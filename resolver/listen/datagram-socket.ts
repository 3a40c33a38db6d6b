/**
 * UDP sockets that belong to no event loop: opened in the core, received from by a front, sent on by
 * both. They block, with a time-out, so that a front can stop.
 */
import { findPortHolder } from '../../runtime/port-holder.ts';
import type { Endpoint } from '../../runtime/settings.ts';
import { ListenFailed } from '../errors.ts';
import type { Family } from './datagram-batch.ts';
import {
  AF_INET,
  AF_INET6,
  ERRNO,
  type Libc,
  O_RDWR,
  SHUT_RD,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_STREAM,
} from './libc.ts';

/** A front looks for orders at least this often; idle, that is all it does. */
export const RECEIVE_TIMEOUT_MS = 250;
/** Some 10,000 queries, where we may; else what net.core.rmem_max allows. */
const RECEIVE_BUFFER_OCTETS = 8_388_608;
const SEND_BUFFER_OCTETS = 4_194_304;

const SOL_SOCKET = 1;
const SO = {
  REUSEADDR: 2,
  SNDBUF: 7,
  RCVBUF: 8,
  REUSEPORT: 15,
  RCVTIMEO: 20,
  SNDBUFFORCE: 32,
  RCVBUFFORCE: 33,
} as const;
const IPPROTO_IP = 0;
const IP_PKTINFO = 8;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const IPV6_RECVPKTINFO = 49;
const SOCKADDR_OCTETS = { 4: 16, 6: 28 } as const;
const WILDCARDS: readonly string[] = ['0.0.0.0', '::'];

export interface SocketOptions {
  readonly libc: Libc;
  /** An IPv6 wildcard leaves IPv4 to a listener of its own. */
  readonly ipv6Only: boolean;
  /** Several sockets share the address, and the kernel deals datagrams out by peer. */
  readonly reusePort: boolean;
}

export interface DatagramSocket {
  readonly fd: number;
  readonly family: Family;
  /** Bound; the port is the one the system chose when 0 was asked. */
  readonly endpoint: Endpoint;
  /** Bound to every address, so that each answer must be told where it comes from. */
  readonly wildcard: boolean;
  /** Another process holds it too, so it must not be shut down. */
  readonly shared: boolean;
}

/** A socket that is bound already. */
export function adoptDatagramSocket(
  fd: number,
  endpoint: Endpoint,
  options: Omit<SocketOptions, 'reusePort'>,
): DatagramSocket {
  const family = endpoint.address.includes(':') ? 6 : 4;
  const wildcard = WILDCARDS.includes(endpoint.address);
  setReceiveOptions(fd, family, wildcard, options.libc);
  // The portable listener of an earlier process would have it otherwise.
  options.libc.setStatusFlags(fd, O_RDWR);
  return { fd, family, endpoint, wildcard, shared: true };
}

/** Connections that wait while one process takes over from another; Linux cuts it to net.core.somaxconn. */
const STREAM_BACKLOG = 4_096;

/** @returns a TCP socket that listens. @throws ListenFailed */
export function openStreamSocket(endpoint: Endpoint, options: SocketOptions): number {
  const { libc, ipv6Only } = options;
  const family = endpoint.address.includes(':') ? 6 : 4;
  const fd = libc.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed(endpoint, libc.errno(), 'tcp');
  const on = Int32Array.of(1);
  libc.setsockopt(fd, SOL_SOCKET, SO.REUSEADDR, on, 4);
  if (family === 6) {
    libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, Int32Array.of(ipv6Only ? 1 : 0), 4);
  }
  const address = sockaddrOf(endpoint, family);
  if (libc.bind(fd, address, address.length) < 0 || libc.listen(fd, STREAM_BACKLOG) < 0) {
    const errno = libc.errno();
    libc.close(fd);
    throw failed(endpoint, errno, 'tcp');
  }
  return fd;
}

/** @throws ListenFailed */
export function openDatagramSocket(endpoint: Endpoint, options: SocketOptions): DatagramSocket {
  const { libc } = options;
  const family = endpoint.address.includes(':') ? 6 : 4;
  const fd = libc.socket(family === 6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw failed(endpoint, libc.errno());
  const wildcard = WILDCARDS.includes(endpoint.address);
  setOptions(fd, family, wildcard, options);
  const address = sockaddrOf(endpoint, family);
  if (libc.bind(fd, address, address.length) < 0) {
    const errno = libc.errno();
    libc.close(fd);
    throw failed(endpoint, errno);
  }
  libc.getsockname(fd, address, Int32Array.of(address.length));
  const port = (address[2]! << 8) | address[3]!;
  return { fd, family, endpoint: { address: endpoint.address, port }, wildcard, shared: false };
}

/** Wakes who waits for datagrams, for good. */
export function shutDatagramSocket(libc: Libc, fd: number): void {
  libc.shutdown(fd, SHUT_RD);
}

function setOptions(fd: number, family: Family, wildcard: boolean, options: SocketOptions): void {
  const { libc, ipv6Only, reusePort } = options;
  if (reusePort) libc.setsockopt(fd, SOL_SOCKET, SO.REUSEPORT, Int32Array.of(1), 4);
  if (family === 6) {
    libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, Int32Array.of(ipv6Only ? 1 : 0), 4);
  }
  setReceiveOptions(fd, family, wildcard, libc);
}

/** What may be set on a socket that is bound. */
function setReceiveOptions(fd: number, family: Family, wildcard: boolean, libc: Libc): void {
  const set = (level: number, name: number, ...value: number[]): boolean =>
    libc.setsockopt(fd, level, name, Int32Array.from(value), 4 * value.length) === 0;
  // struct timeval of two 64-bit numbers.
  set(SOL_SOCKET, SO.RCVTIMEO, 0, 0, RECEIVE_TIMEOUT_MS * 1000, 0);
  // The first needs CAP_NET_ADMIN, the second is cut to net.core.rmem_max.
  if (!set(SOL_SOCKET, SO.RCVBUFFORCE, RECEIVE_BUFFER_OCTETS)) {
    set(SOL_SOCKET, SO.RCVBUF, RECEIVE_BUFFER_OCTETS);
  }
  if (!set(SOL_SOCKET, SO.SNDBUFFORCE, SEND_BUFFER_OCTETS)) {
    set(SOL_SOCKET, SO.SNDBUF, SEND_BUFFER_OCTETS);
  }
  if (!wildcard) return;
  if (family === 6) set(IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
  else set(IPPROTO_IP, IP_PKTINFO, 1);
}

/** struct sockaddr_in or sockaddr_in6. */
function sockaddrOf({ address, port }: Endpoint, family: Family): Uint8Array {
  const octets = new Uint8Array(SOCKADDR_OCTETS[family]);
  octets[0] = family === 6 ? AF_INET6 : AF_INET;
  octets[2] = port >>> 8;
  octets[3] = port;
  if (family === 6) octets.set(ipv6Octets(address), 8);
  else octets.set(address.split('.').map(Number), 4);
  return octets;
}

/** @param address valid; an IPv4 tail and "::" may occur, a zone may not */
function ipv6Octets(address: string): Uint8Array {
  // A URL writes the address in groups of hexadecimal digits only.
  const [head = '', tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split('::');
  const groups = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const first = groups(head);
  const last = groups(tail ?? '');
  const octets = new Uint8Array(16);
  const put = (values: readonly number[], from: number): void => {
    for (const [index, value] of values.entries()) {
      octets[2 * (from + index)] = value >>> 8;
      octets[2 * (from + index) + 1] = value;
    }
  };
  put(first, 0);
  put(last, 8 - last.length);
  return octets;
}

function failed(endpoint: Endpoint, errno: number, protocol: 'udp' | 'tcp' = 'udp'): ListenFailed {
  const code =
    Object.entries(ERRNO).find(([, number]) => number === errno)?.[0] ?? `errno ${errno}`;
  return new ListenFailed(endpoint, protocol, code, findPortHolder(protocol, endpoint.port));
}
