/**
 * CPU time and memory of a program and all it started, read from /proc: Linux only.
 *
 * Invariant: a process counts with its threads and with every descendant, those included that have
 * ended and been waited for (cutime, cstime): what a short-lived child spent is not lost.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ is 100 on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;
/** Fields of /proc/PID/stat (proc(5)), counted from the one after the name. */
const PPID = 1;
const UTIME = 11;
const CSTIME = 14;

interface Sample {
  readonly pid: number;
  readonly parent: number;
  readonly ticks: number;
}

/** @returns null when the process has ended meanwhile */
function sample(pid: number): Sample | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name may hold anything, brackets too.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    let ticks = 0;
    for (let field = UTIME; field <= CSTIME; field += 1) ticks += Number(fields[field]);
    return { pid, parent: Number(fields[PPID]), ticks };
  } catch {
    return null;
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

/** @returns seconds spent so far by the processes and all below them, user and system, to 10 ms each */
export const cpuSeconds = (roots: readonly number[]): number =>
  treeOf(roots).reduce((sum, { ticks }) => sum + ticks, 0) / TICKS_PER_SECOND;

/** @returns octets resident; pages that several of them share count once */
export function residentOctets(roots: readonly number[]): number {
  let kibibytes = 0;
  for (const { pid } of treeOf(roots)) {
    try {
      const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
      kibibytes += Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
    } catch {
      // It has ended.
    }
  }
  return kibibytes * 1024;
}
