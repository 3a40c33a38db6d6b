/** Names the process that holds a port, where the system lets us see (Linux, /proc; our own user's, or root). */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

const TCP_LISTEN = '0A';
/** Processes looked at; beyond that the answer is not worth the wait. */
const PROCESSES_MAX = 50_000;

/**
 * @param protocol of the socket that could not be bound
 * @param port     local port, any address
 * @returns "unbound (process 123)", or null when it cannot be found out; never throws
 */
export function findPortHolder(protocol: 'udp' | 'tcp', port: number): string | null {
  const inodes = new Set(
    [`/proc/net/${protocol}`, `/proc/net/${protocol}6`].flatMap((file) =>
      inodesOf(file, protocol, port),
    ),
  );
  if (inodes.size === 0) return null;
  for (const pid of list('/proc').filter(isPid).slice(0, PROCESSES_MAX)) {
    if (!holdsOneOf(pid, inodes)) continue;
    return `${read(`/proc/${pid}/comm`).trim() || 'a process'} (process ${pid})`;
  }
  return null;
}

const isPid = (name: string): boolean => /^\d+$/.test(name);

/** Columns: sl, local address:port in hex, remote, state, queues, timer, retransmits, uid, timeout, inode. */
function inodesOf(file: string, protocol: 'udp' | 'tcp', port: number): string[] {
  const hexPort = port.toString(16).toUpperCase().padStart(4, '0');
  return read(file)
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(
      ([, local, , state]) =>
        local?.endsWith(`:${hexPort}`) === true && (protocol === 'udp' || state === TCP_LISTEN),
    )
    .map((columns) => columns[9] ?? '');
}

const holdsOneOf = (pid: string, inodes: ReadonlySet<string>): boolean =>
  list(`/proc/${pid}/fd`).some((fd) => {
    const inode = /^socket:\[(\d+)\]$/.exec(readLink(`/proc/${pid}/fd/${fd}`))?.[1];
    return inode !== undefined && inodes.has(inode);
  });

// Processes come and go while we look, and most belong to others: what cannot be read is not there.
const quietly = <Value>(look: () => Value, otherwise: Value): Value => {
  try {
    return look();
  } catch {
    return otherwise;
  }
};
const read = (file: string): string => quietly(() => readFileSync(file, 'latin1'), '');
const list = (folder: string): string[] => quietly(() => readdirSync(folder), []);
const readLink = (file: string): string => quietly(() => readlinkSync(file), '');
