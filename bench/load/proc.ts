/**
 * CPU time and memory of a program and all it started, and datagrams dropped, as the kernel counts them:
 * read from /proc, Linux only.
 *
 * Invariant: a process counts with its threads and with every descendant, those included that have
 * ended and been waited for (cutime, cstime): what a short-lived child spent is not lost.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat (proc(5)), counted from the one after the name. */
const [PPID, UTIME, STIME, CUTIME, CSTIME] = [1, 11, 12, 13, 14];

export interface CpuSeconds {
  readonly user: number;
  readonly system: number;
}

interface Sample {
  readonly pid: number;
  readonly parent: number;
  readonly userTicks: number;
  readonly systemTicks: number;
}

/** @returns null when the process or thread has ended meanwhile */
function statOf(file: string): string[] | null {
  const text = textOf(file);
  // The name may hold anything, brackets too.
  return text === '' ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

const ticksIn = (stat: readonly string[], ...fields: readonly number[]): number =>
  fields.reduce((ticks, field) => ticks + Number(stat[field]), 0);

function sample(pid: number): Sample | null {
  const stat = statOf(`/proc/${pid}/stat`);
  if (stat === null) return null;
  const userTicks = ticksIn(stat, UTIME, CUTIME);
  return { pid, parent: Number(stat[PPID]), userTicks, systemTicks: ticksIn(stat, STIME, CSTIME) };
}

/** @returns '' when the process has ended meanwhile */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function treeOf(roots: readonly number[]): Sample[] {
  const samples: Sample[] = [];
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const one = Number.isInteger(pid) ? sample(pid) : null;
    if (one !== null) samples.push(one);
  }
  const within = new Set(roots);
  // Process ids wrap around, so children do not always follow their parents.
  for (let size = 0; size !== within.size; ) {
    size = within.size;
    for (const { pid, parent } of samples) if (within.has(parent)) within.add(pid);
  }
  return samples.filter(({ pid }) => within.has(pid));
}

/** @returns what the processes and all below them have spent so far, to 10 ms each */
export function cpuSecondsOf(roots: readonly number[]): CpuSeconds {
  let [user, system] = [0, 0];
  for (const { userTicks, systemTicks } of treeOf(roots)) {
    user += userTicks;
    system += systemTicks;
  }
  return { user: user / TICKS_PER_SECOND, system: system / TICKS_PER_SECOND };
}

/** User and system together. */
export function cpuSeconds(roots: readonly number[]): number {
  const { user, system } = cpuSecondsOf(roots);
  return user + system;
}

/**
 * @param kind Pss: pages that several processes share count once among them; Rss: in each of them whole
 * @returns octets resident
 */
export function residentOctets(roots: readonly number[], kind: 'Pss' | 'Rss' = 'Pss'): number {
  const line = new RegExp(`^${kind}:\\s+(\\d+)`, 'm');
  let kibibytes = 0;
  for (const { pid } of treeOf(roots)) {
    kibibytes += Number(line.exec(textOf(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
  }
  return kibibytes * 1024;
}

/** Datagrams that the kernel dropped because a socket of the port was full. */
export function kernelDropsOf(port: number): number {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  let drops = 0;
  for (const line of readFileSync('/proc/net/udp', 'latin1').split('\n').slice(1)) {
    const columns = line.trim().split(/\s+/);
    if (columns[1]?.endsWith(suffix) === true) drops += Number(columns.at(-1));
  }
  return drops;
}

/** @returns CPU seconds of the thread, of all processes of the tree, that has spent most */
export function busiestThreadSeconds(roots: readonly number[]): number {
  let most = 0;
  for (const { pid } of treeOf(roots)) {
    for (const thread of namesIn(`/proc/${pid}/task`)) {
      const stat = statOf(`/proc/${pid}/task/${thread}/stat`) ?? [];
      most = Math.max(most, ticksIn(stat, UTIME, STIME) || 0);
    }
  }
  return most / TICKS_PER_SECOND;
}

/** @returns octets that the tree has caused to be written to disk */
export function writtenOctets(roots: readonly number[]): number {
  let octets = 0;
  for (const { pid } of treeOf(roots)) {
    octets += Number(/^write_bytes: (\d+)/m.exec(textOf(`/proc/${pid}/io`))?.[1] ?? 0);
  }
  return octets;
}
