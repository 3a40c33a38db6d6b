/**
 * Other programs as children: started, watched, and always stopped.
 *
 * Invariants
 * - Every child leads its own process group; stop() ends the whole group, by SIGKILL if need be.
 * - Should this process exit without stop(), it kills the groups on its way out.
 * - At most OUTPUT_CHARACTERS_MAX of a child's output are kept, the newest.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { delimiter } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const OUTPUT_CHARACTERS_MAX = 1_000_000;
const POLL_MS = 10;
const READY_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 5_000;
const RUN_TIMEOUT_MS = 30_000;
const LAST_OUTPUT_MS = 500;

export interface Exit {
  /** null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ProcessOptions {
  readonly cwd?: string;
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Uint8Array;
  readonly stopSignal?: NodeJS.Signals;
  /** How long after it stop() uses SIGKILL. */
  readonly stopTimeoutMs?: number;
}

export interface RunningProcess {
  readonly pid: number;
  readonly exited: Promise<Exit>;
  /** What it has written to stdout and stderr so far, interleaved as it arrived. */
  output(): string;
  /** @throws Error with the output, when the pattern is not met in time or the process ends first */
  waitForOutput(pattern: RegExp, timeoutMs?: number): Promise<RegExpExecArray>;
  /** To the process alone. */
  signal(name: NodeJS.Signals): void;
  /** SIGKILL to the whole group: nobody is told, nothing is flushed. */
  kill(): Promise<Exit>;
  /** To the whole group; idempotent, and bounded: after stopTimeoutMs by SIGKILL. */
  stop(): Promise<Exit>;
}

const groups = new Set<number>();
process.on('exit', () => {
  for (const group of groups) signalGroup(group, 'SIGKILL');
});

function signalGroup(group: number, name: NodeJS.Signals): void {
  try {
    process.kill(-group, name);
  } catch {
    // ESRCH: the last of the group has ended.
  }
}

function collectOutput(child: ChildProcess): () => string {
  let text = '';
  const take = (chunk: string): void => {
    text += chunk;
    if (text.length > OUTPUT_CHARACTERS_MAX) text = text.slice(-OUTPUT_CHARACTERS_MAX / 2);
  };
  child.stdout?.setEncoding('utf8').on('data', take);
  child.stderr?.setEncoding('utf8').on('data', take);
  return () => text;
}

/** Process ids of the children of `parent`. */
export const childrenOf = (parent: number): readonly number[] =>
  readFileSync(`/proc/${parent}/task/${parent}/children`, 'utf8')
    .trim()
    .split(' ')
    .filter((text) => text !== '')
    .map(Number);

/** Starts a program; it is up to the caller to wait until it is ready. */
export function startProcess(
  program: string,
  args: readonly string[],
  options: ProcessOptions = {},
): RunningProcess {
  const path = [process.env.PATH ?? '', '/usr/sbin', '/sbin'].join(delimiter);
  const child = spawn(program, args, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...process.env, PATH: path, ...options.env },
    detached: true,
    stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
  });
  child.stdin?.on('error', () => undefined); // EPIPE: it ended without reading; its exit says so.
  child.stdin?.end(options.input);
  const pid = child.pid;
  const output = collectOutput(child);
  let exit: Exit | null = null;
  const exited = new Promise<Exit>((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`${program}: ${error.message}`)));
    child.once('exit', (code, signal) => {
      const ended = { code, signal };
      exit = ended;
      // 'close' brings the last output, but never comes while a stray grandchild holds the pipe.
      child.once('close', () => resolve(ended));
      void sleep(LAST_OUTPUT_MS).then(() => resolve(ended));
    });
  });
  exited.catch(() => undefined);
  if (pid === undefined) {
    const gone = (): Promise<never> => exited as Promise<never>;
    return {
      pid: 0,
      exited,
      output,
      waitForOutput: gone,
      signal: () => undefined,
      kill: gone,
      stop: gone,
    };
  }
  groups.add(pid);

  return {
    pid,
    exited,
    output,
    async waitForOutput(pattern, timeoutMs = READY_TIMEOUT_MS) {
      let match: RegExpExecArray | null = null;
      await waitFor(
        () => {
          match = pattern.exec(output());
          if (match === null && exit !== null) throw new Error(`${program} ended:\n${output()}`);
          return match !== null;
        },
        () => `${pattern} from ${program}, which wrote:\n${output()}`,
        timeoutMs,
      );
      return match!;
    },
    signal: (name) => void child.kill(name),
    kill() {
      signalGroup(pid, 'SIGKILL');
      groups.delete(pid);
      return exited;
    },
    async stop() {
      signalGroup(pid, options.stopSignal ?? 'SIGTERM');
      const patience = new AbortController();
      const late = sleep(options.stopTimeoutMs ?? STOP_TIMEOUT_MS, null, {
        signal: patience.signal,
      }).catch(() => null);
      await Promise.race([exited, late]);
      patience.abort();
      // Whoever outlived the leader had its chance.
      signalGroup(pid, 'SIGKILL');
      groups.delete(pid);
      return exited;
    },
  };
}

/**
 * Runs a program to its end.
 * @throws Error when it does not end in time; an exit code other than 0 is an answer, not an error
 */
export async function runProcess(
  program: string,
  args: readonly string[],
  options: ProcessOptions & {
    readonly timeoutMs?: number;
    /** Interrupts it (SIGINT); it is still waited for. */
    readonly interrupt?: AbortSignal;
  } = {},
): Promise<Exit & { readonly output: string }> {
  const child = startProcess(program, args, options);
  options.interrupt?.addEventListener('abort', () => child.signal('SIGINT'));
  const timeoutMs = options.timeoutMs ?? RUN_TIMEOUT_MS;
  const giveUp = new AbortController();
  const late = sleep(timeoutMs, 'late' as const, { signal: giveUp.signal }).catch(() => 'early');
  const first = await Promise.race([child.exited, late]);
  giveUp.abort();
  const exit = await child.stop();
  if (first === 'late') {
    throw new Error(`${program} ran longer than ${timeoutMs} ms:\n${child.output()}`);
  }
  return { ...exit, output: child.output() };
}

/**
 * Waits until `condition` holds, asking now and then: for what other processes do, which sends us no event.
 * @throws Error naming `what` when it does not hold in time
 */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string),
  timeoutMs = READY_TIMEOUT_MS,
  everyMs = POLL_MS,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > deadline) {
      throw new Error(
        `waited ${timeoutMs} ms in vain for ${typeof what === 'string' ? what : what()}`,
      );
    }
    await sleep(everyMs);
  }
}

/** @returns whether something accepts TCP connections there */
export function accepts(port: number, address = '127.0.0.1'): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: address });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
