/**
 * Sockets of systemd's socket activation (sd_listen_fds(3)): LISTEN_FDS of them from descriptor 3 on,
 * meant for the process LISTEN_PID. What each is bound to is read from /proc, Linux only.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import type { Endpoint } from './settings.ts';

const FIRST_FD = 3;
const SOCKETS_MAX = 256;
const TCP_LISTEN = '0A';

export interface ActivatedSocket {
  readonly fd: number;
  readonly protocol: 'udp' | 'tcp';
  readonly endpoint: Endpoint;
}

/** @returns none when this process was not activated; what is no UDP or listening TCP socket is left out */
export function activatedSockets(
  environment: NodeJS.ProcessEnv = process.env,
  pid: number = process.pid,
): readonly ActivatedSocket[] {
  if (environment.LISTEN_PID !== String(pid)) return [];
  const count = Math.min(Number(environment.LISTEN_FDS ?? 0) || 0, SOCKETS_MAX);
  return Array.from({ length: count }, (_, index) => FIRST_FD + index).flatMap((fd) => {
    const bound = describeSocket(fd);
    return bound === null ? [] : [{ fd, ...bound }];
  });
}

/** @returns what the descriptor is bound to, or null when that cannot be told */
export function describeSocket(fd: number): Omit<ActivatedSocket, 'fd'> | null {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
    if (inode === undefined) return null;
    for (const protocol of ['udp', 'tcp'] as const) {
      for (const table of [`/proc/net/${protocol}`, `/proc/net/${protocol}6`]) {
        const endpoint = endpointOf(table, inode, protocol);
        if (endpoint !== null) return { protocol, endpoint };
      }
    }
  } catch {
    // No /proc, or no such descriptor.
  }
  return null;
}

/** Columns: sl, local address:port in hex, remote, state, queues, timer, retransmits, uid, timeout, inode. */
function endpointOf(table: string, inode: string, protocol: 'udp' | 'tcp'): Endpoint | null {
  const lines = readFileSync(table, 'latin1').split('\n').slice(1);
  for (const line of lines) {
    const columns = line.trim().split(/\s+/);
    if (columns[9] !== inode || (protocol === 'tcp' && columns[3] !== TCP_LISTEN)) continue;
    const [address = '', port = ''] = columns[1]!.split(':');
    return { address: addressOf(address), port: Number.parseInt(port, 16) };
  }
  return null;
}

/** Each group of eight digits is one word in the order of this machine: little-endian. */
function addressOf(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const octets = words.flatMap((word) =>
    (word.match(/../g) ?? []).map((digits) => Number.parseInt(digits, 16)).toReversed(),
  );
  if (octets.length === 4) return octets.join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((octets[2 * index]! << 8) | octets[2 * index + 1]!).toString(16),
  );
  // A URL writes the address as RFC 5952 has it.
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
