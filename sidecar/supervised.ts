/**
 * One child process kept alive.
 *
 * Invariants
 * - At most one process at a time; after stop() resolves there is none, and none is started again.
 * - A child that fails before it was ever ready is not restarted: its configuration or machine is
 *   at fault, and a loop would hide it. Once it has been ready, it is restarted for ever, ever more
 *   slowly up to RESTART_MS_MAX.
 */
import { type ChildProcess, fork } from 'node:child_process';
import type { HandedSocket } from '../resolver/sockets.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { LoadRequest } from './config/load.ts';
import type { RawConfig } from './config/schema.ts';
import {
  type Addresses,
  type ProgramName,
  type Report,
  reportSchema,
  type Start,
} from './protocol.ts';

const RESTART_MS_MIN = 250;
const RESTART_MS_MAX = 30_000;
/** A child that ran so long has recovered: the next crash starts from the shortest wait. */
const STEADY_MS = 60_000;

export interface ChildSpec {
  readonly name: ProgramName;
  /** Module to fork; gets the name as its argument and a {@link Start} message. */
  readonly module: string;
  /** After SIGTERM it gets so long before SIGKILL. */
  readonly stopTimeoutMs: number;
  /** How it reads the configuration again. */
  readonly request?: LoadRequest;
  /** Ours; each process of the child inherits them, so one can take over from another. */
  readonly sockets?: readonly HandedSocket[];
}

/** Descriptors of a child: standard input, output, error and the channel come first. */
const FIRST_HANDED_FD = 4;

/** A child could not start; the message is its own, for people. */
export class StartFailed extends Error {
  override readonly name = 'StartFailed';
  readonly code = 'SIDECAR_START_FAILED';
}

export class Supervised {
  readonly name: ProgramName;
  readonly #spec: ChildSpec;
  #raw: RawConfig;
  readonly #clock: Clock;
  readonly #log: Log;
  #process: ChildProcess | null = null;
  /** Being stopped, since another has taken over. */
  readonly #retired = new Set<ChildProcess>();
  #restart: Timer | null = null;
  #crashes = 0;
  #stopping = false;

  constructor(spec: ChildSpec, raw: RawConfig, clock: Clock, log: Log) {
    this.name = spec.name;
    this.#spec = spec;
    this.#raw = raw;
    this.#clock = clock;
    this.#log = log;
  }

  /** @throws StartFailed when it ends before it is ready */
  async start(): Promise<Addresses> {
    const child = this.#fork();
    const addresses = await firstReport(child, this.name);
    this.#keepAlive(child, this.#clock.monotonicMs());
    return addresses;
  }

  /** Has it read the configuration again; one that is down will when it starts. */
  reload(): void {
    this.#process?.kill('SIGHUP');
  }

  /**
   * Starts another process of the child on the same sockets, and stops the old one once the new one is
   * ready, which then has what the old one did not take.
   *
   * @param raw the configuration of the new one
   * @throws StartFailed when the new one does not come up; then the old one goes on
   */
  async replace(raw: RawConfig): Promise<void> {
    const old = this.#process;
    if (old === null || this.#stopping) throw new StartFailed(`${this.name}: it is not running`);
    const oldRaw = this.#raw;
    this.#raw = raw;
    const child = this.#fork();
    try {
      await firstReport(child, this.name);
    } catch (error) {
      this.#raw = oldRaw;
      this.#process = old.exitCode === null && old.signalCode === null ? old : null;
      throw error;
    }
    this.#retired.add(old);
    this.#keepAlive(child, this.#clock.monotonicMs());
    await this.#end(old);
    this.#retired.delete(old);
  }

  /** SIGTERM, then SIGKILL after the spec's bound. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#restart?.cancel();
    const children = [...this.#retired, ...(this.#process === null ? [] : [this.#process])];
    await Promise.all(children.map((child) => this.#end(child)));
  }

  async #end(child: ChildProcess): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const deadline = this.#clock.after(this.#spec.stopTimeoutMs, () => {
      this.#log.error(
        { child: this.name, waitedMs: this.#spec.stopTimeoutMs },
        'did not stop in time; killed',
      );
      child.kill('SIGKILL');
    });
    await exited;
    deadline.cancel();
  }

  /** Ends the process at once; what it had not made durable is lost. */
  kill(): void {
    this.#stopping = true;
    this.#restart?.cancel();
    this.#process?.kill('SIGKILL');
  }

  #fork(): ChildProcess {
    const { request, sockets = [] } = this.#spec;
    const child = fork(this.#spec.module, [this.name], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...sockets.map(({ fd }) => fd)],
    });
    this.#process = child;
    const forget = () => {
      if (this.#process === child) this.#process = null;
    };
    child.once('exit', forget);
    // A process that could not even be made has no exit.
    child.once('error', () => {
      if (child.pid === undefined) forget();
    });
    // A child that dies at once breaks the channel; its exit tells more than the write error.
    const handed = sockets.map((socket, index) => ({ ...socket, fd: FIRST_HANDED_FD + index }));
    const start: Start = {
      kind: 'start',
      raw: this.#raw,
      ...(request && { request }),
      ...(handed.length > 0 && { sockets: handed }),
    };
    child.send(start, () => undefined);
    return child;
  }

  #keepAlive(child: ChildProcess, readyAtMs: number): void {
    const revive = () => {
      if (!this.#retired.has(child)) this.#revive(readyAtMs, child);
    };
    if (child.exitCode === null && child.signalCode === null) child.once('exit', revive);
    else revive();
  }

  /** @param readyAtMs when the crashed child became ready, monotonic; null when it never did */
  #revive(readyAtMs: number | null, { exitCode, signalCode }: ChildProcess): void {
    if (this.#stopping) return;
    const upMs = readyAtMs === null ? 0 : this.#clock.monotonicMs() - readyAtMs;
    this.#crashes = upMs >= STEADY_MS ? 1 : this.#crashes + 1;
    const waitMs = restartDelayMs(this.#crashes);
    this.#log.error(
      {
        child: this.name,
        exitCode,
        signal: signalCode,
        upMs: Math.round(upMs),
        restartInMs: waitMs,
      },
      'child ended unexpectedly; it is restarted',
    );
    this.#restart = this.#clock.after(waitMs, () => void this.#startAgain());
  }

  async #startAgain(): Promise<void> {
    const child = this.#fork();
    try {
      await firstReport(child, this.name);
    } catch (error) {
      if (!(error instanceof StartFailed)) throw error;
      if (!this.#stopping) this.#log.error({ child: this.name }, error.message);
      this.#revive(null, child);
      return;
    }
    this.#log.info({ child: this.name, restarts: this.#crashes }, 'child is up again');
    this.#keepAlive(child, this.#clock.monotonicMs());
  }
}

/** @param crashes in succession, from 1. @returns 250, 500, 1000, … 30000 */
export const restartDelayMs = (crashes: number): number =>
  Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** (crashes - 1));

/** @throws StartFailed with the child's own message, or how it ended */
function firstReport(child: ChildProcess, name: ProgramName): Promise<Addresses> {
  return new Promise((resolve, reject) => {
    let failure: string | null = null;
    child.on('message', (message) => {
      const report: Report = reportSchema.parse(message);
      if (report.kind === 'ready') resolve(report.addresses);
      else failure = report.message;
    });
    child.once('error', (error) => reject(new StartFailed(`${name}: ${error.message}`)));
    // 'close' comes after every message has been read, 'exit' may not.
    child.once('close', (code, signal) => {
      reject(
        new StartFailed(
          `${name}: ${failure ?? `ended with ${signal ?? `exit code ${code}`} before it was ready`}`,
        ),
      );
    });
  });
}
