/**
 * One process of a program: forked, told what to do, and ended.
 *
 * Invariant: whoever waits for a report gets it, or StartFailed once the process says that it failed or
 * has ended.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { HandedSocket } from '../runtime/handed-sockets.ts';
import { MAIL_HEAP } from '../runtime/heap.ts';
import { KEEP_WRAPPERS } from '../runtime/thread.ts';
import type { LoadRequest } from './config/load.ts';
import type { RawConfig } from './config/schema.ts';
import { type Order, type ProgramName, type Report, reportSchema, type Start } from './protocol.ts';

/** Descriptors of a child: standard input, output, error and the channel come first. */
const FIRST_HANDED_FD = 4;

/** A process could not do what it was started for; the message is its own, for people. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed';
  readonly code = 'SIDECAR_START_FAILED';
}

export interface Launch {
  readonly name: ProgramName | 'plan';
  /** Module to fork; gets the name as its argument and a {@link Start} message. */
  readonly module: string;
  /** The Node to run it; default: the one that runs us. */
  readonly execPath?: string;
  readonly raw: RawConfig;
  /** How it reads the configuration again. */
  readonly request?: LoadRequest;
  /** Ours; the process inherits them. */
  readonly sockets?: readonly HandedSocket[];
  readonly successor?: boolean;
}

interface Waiter {
  readonly kind: Report['kind'];
  resolve(report: Report): void;
  reject(error: Error): void;
}

export class Process {
  readonly name: Launch['name'];
  /** Resolves when it is gone; never rejects. */
  readonly exited: Promise<void>;
  /** Called for each report that somebody wants an upgrade. */
  onUpgrade: () => void = () => undefined;
  readonly #child: ChildProcess;
  #waiters: Waiter[] = [];
  /** Why nothing more is to be waited for. */
  #ended: StartFailed | null = null;
  #failure: string | null = null;

  constructor(launch: Launch) {
    const { name, module, execPath, sockets = [], raw, request, successor } = launch;
    this.name = name;
    this.#child = fork(module, [name], {
      ...(execPath !== undefined && { execPath }),
      execArgv: [...process.execArgv, KEEP_WRAPPERS, ...(name === 'mta' ? [MAIL_HEAP] : [])],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...sockets.map(({ fd }) => fd)],
    });
    const child = this.#child;
    this.exited = new Promise((resolve) => {
      child.once('exit', () => resolve());
      // A process that could not even be made has no exit.
      child.once('error', (error) => {
        this.#end(error.message);
        if (child.pid === undefined) resolve();
      });
    });
    child.on('message', (message) => this.#hear(message));
    // 'close' comes after every message has been read, 'exit' may not.
    child.once('close', (code, signal) => {
      this.#end(this.#failure ?? `ended with ${signal ?? `exit code ${code}`} before it was ready`);
    });
    const handed = sockets.map((socket, index) => ({ ...socket, fd: FIRST_HANDED_FD + index }));
    const start: Start = {
      kind: 'start',
      raw,
      ...(request && { request }),
      ...(handed.length > 0 && { sockets: handed }),
      ...(successor !== undefined && { successor }),
    };
    this.tell(start);
  }

  get running(): boolean {
    const { pid, exitCode, signalCode } = this.#child;
    return pid !== undefined && exitCode === null && signalCode === null;
  }

  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  get signal(): NodeJS.Signals | null {
    return this.#child.signalCode;
  }

  /** To one that is gone it says nothing. */
  tell(order: Order): void {
    // A child that dies at once breaks the channel; its exit tells more than the write error.
    if (this.#child.connected) this.#child.send(order, () => undefined);
  }

  /**
   * @returns its next report of that kind
   * @throws StartFailed with the child's own message, or how it ended
   */
  report<Kind extends Report['kind']>(kind: Kind): Promise<Extract<Report, { kind: Kind }>> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    const report = new Promise<Report>((resolve, reject) => {
      this.#waiters.push({ kind, resolve, reject });
    });
    return report as Promise<Extract<Report, { kind: Kind }>>;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  #hear(message: unknown): void {
    const { data: report } = reportSchema.safeParse(message);
    // Of a version that says more than we understand.
    if (report === undefined) return;
    if (report.kind === 'failed') this.#failure = report.message;
    else if (report.kind === 'upgrade') this.onUpgrade();
    const heard = this.#waiters.filter(({ kind }) => kind === report.kind);
    this.#waiters = this.#waiters.filter(({ kind }) => kind !== report.kind);
    for (const { resolve } of heard) resolve(report);
  }

  #end(message: string): void {
    if (this.#ended !== null) return;
    const who = this.name === 'plan' ? 'the new version' : this.name;
    this.#ended = new StartFailed(`${who}: ${message}`);
    for (const { reject } of this.#waiters.splice(0)) reject(this.#ended);
  }
}
