/**
 * The few calls of the C library that Node has no words for, Linux only: sockets that several threads
 * use, and datagrams in batches. Structures are laid out by us (datagram-batch.ts), as all 64-bit
 * little-endian Linux machines have them.
 *
 * Only synchronous calls, made in the thread that wants them. Failing calls return -1 and set errno.
 */
import { endianness } from 'node:os';
import { FrontsUnavailable } from '../errors.ts';

export interface Libc {
  /** @param headers address of an array of mmsghdr. @returns datagrams received, or -1 */
  recvmmsg(fd: number, headers: bigint, count: number, flags: number, timeout: null): number;
  /** @returns datagrams sent, or -1 when the first cannot be */
  sendmmsg(fd: number, headers: bigint, count: number, flags: number): number;
  socket(domain: number, type: number, protocol: number): number;
  setsockopt(
    fd: number,
    level: number,
    name: number,
    value: Uint8Array | Int32Array,
    octets: number,
  ): number;
  bind(fd: number, address: Uint8Array, octets: number): number;
  listen(fd: number, backlog: number): number;
  getsockname(fd: number, address: Uint8Array, octets: Int32Array): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  /** @param flags of F_SETFL */
  setStatusFlags(fd: number, flags: number): number;
  madvise(address: bigint, octets: bigint, advice: number): number;
  errno(): number;
  addressOf(memory: ArrayBufferLike): bigint;
}

export const ERRNO = {
  EINTR: 4,
  EAGAIN: 11,
  EACCES: 13,
  EADDRINUSE: 98,
  EADDRNOTAVAIL: 99,
} as const;

export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_CLOEXEC = 0o2000000;
/** Status flags of a socket that blocks. */
export const O_RDWR = 2;
export const MSG_DONTWAIT = 0x40;
/** Block for the first datagram, then take what is there. */
export const MSG_WAITFORONE = 0x10000;
export const MSG_TRUNC = 0x20;
export const SHUT_RD = 0;
const F_SETFL = 4;
const MADV_HUGEPAGE = 14;
const PAGE_OCTETS = 4_096n;

/** @throws FrontsUnavailable where the calls are not to be had */
export async function loadLibc(): Promise<Libc> {
  if (process.platform !== 'linux' || endianness() !== 'LE') {
    throw new FrontsUnavailable(`batched calls need little-endian Linux, not ${process.platform}`);
  }
  try {
    const { default: koffi } = await import('koffi');
    const c = koffi.load(null);
    const fcntl = c.func('int fcntl(int, int, ...)');
    return {
      recvmmsg: c.func('int recvmmsg(int, void *, uint32_t, int, void *)'),
      sendmmsg: c.func('int sendmmsg(int, void *, uint32_t, int)'),
      socket: c.func('int socket(int, int, int)'),
      setsockopt: c.func('int setsockopt(int, int, int, const void *, uint32_t)'),
      bind: c.func('int bind(int, const void *, uint32_t)'),
      listen: c.func('int listen(int, int)'),
      getsockname: c.func('int getsockname(int, void *, void *)'),
      shutdown: c.func('int shutdown(int, int)'),
      close: c.func('int close(int)'),
      dup: c.func('int dup(int)'),
      setStatusFlags: (fd, flags) => fcntl(fd, F_SETFL, 'int', flags),
      madvise: c.func('int madvise(void *, size_t, int)'),
      errno: () => koffi.errno(),
      addressOf: (memory) => koffi.address(new Uint8Array(memory)),
    };
  } catch (error) {
    throw new FrontsUnavailable((error as Error).message);
  }
}

/**
 * Asks for large pages, where the system grants them: memory that is read all over costs a walk through
 * page tables per read otherwise. Whether it was heard matters to speed alone.
 */
export function adviseLargePages(libc: Libc, memory: ArrayBufferLike): void {
  const start = libc.addressOf(memory);
  const first = (start + PAGE_OCTETS - 1n) & ~(PAGE_OCTETS - 1n);
  const end = start + BigInt(memory.byteLength);
  if (end > first) libc.madvise(first, end - first, MADV_HUGEPAGE);
}
