/**
 * One program kept alive, and handed from one process to the next.
 *
 * Invariants
 * - At most one process does the program's work, save that one of a program that `overlaps` goes on until
 *   its successor works; after stop() resolves there is none, and none is started again.
 * - A process that fails before it was ever ready is not restarted: its configuration or machine is
 *   at fault, and a loop would hide it. Once it has been ready, it is restarted for ever, ever more
 *   slowly up to RESTART_MS_MAX.
 * - What stands down stays, idle, until its successor is adopted: it can be told to go on.
 */
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { type Launch, Process, StartFailed } from './process.ts';
import type { Addresses, Order, ProgramName } from './protocol.ts';

const RESTART_MS_MIN = 250;
const RESTART_MS_MAX = 30_000;
/** A child that ran so long has recovered: the next crash starts from the shortest wait. */
const STEADY_MS = 60_000;
/** What standing down may take beyond a stop: HTTP requests and SMTP transactions under way. */
const YIELD_MARGIN_MS = 15_000;
const SAVE_MS_MAX = 10_000;

export interface ChildSpec extends Omit<Launch, 'name' | 'successor'> {
  readonly name: ProgramName;
  /** After SIGTERM it gets so long before SIGKILL. */
  readonly stopTimeoutMs: number;
  /** Two processes may do its work for a moment. */
  readonly overlaps?: boolean;
}

export class Supervised {
  readonly name: ProgramName;
  /** Called when somebody asks the program for an upgrade. */
  onUpgrade: () => void = () => undefined;
  /** Called when one of its processes has begun to work. */
  onReady: () => void = () => undefined;
  #spec: ChildSpec;
  readonly #clock: Clock;
  readonly #log: Log;
  #process: Process | null = null;
  /** Candidates for the work, and those that have done with it. */
  readonly #others = new Set<Process>();
  #addresses: Addresses | null = null;
  #restart: Timer | null = null;
  #crashes = 0;
  /** Its work is a successor's for now. */
  #standsDown = false;
  #stopping = false;

  constructor(spec: ChildSpec, clock: Clock, log: Log) {
    this.name = spec.name;
    this.#spec = spec;
    this.#clock = clock;
    this.#log = log;
  }

  get spec(): ChildSpec {
    return this.#spec;
  }

  /** Where it was when it was last ready. */
  get addresses(): Addresses | null {
    return this.#addresses;
  }

  /** @throws StartFailed when it ends before it is ready */
  async start(): Promise<Addresses> {
    this.#process = this.#fork(this.#spec, false);
    await this.#watch(this.#process);
    return this.#addresses!;
  }

  /** Has it read the configuration again; one that is down will when it starts. */
  reload(): void {
    this.#process?.kill('SIGHUP');
  }

  tell(order: Order): void {
    for (const each of this.#all()) each.tell(order);
  }

  /** @returns a process that will wait for 'go'. @throws StartFailed when all is being stopped */
  candidate(spec: ChildSpec): Process {
    if (this.#stopping) throw new StartFailed(`${this.name}: it is being stopped`);
    const candidate = this.#fork(spec, true);
    this.#others.add(candidate);
    void candidate.exited.then(() => this.#others.delete(candidate));
    return candidate;
  }

  /** Has it leave on the disk what a successor can use; bounded, and never fails. */
  async save(): Promise<void> {
    const current = this.#process;
    if (current === null) return;
    const saved = current.report('saved').catch(() => undefined);
    current.tell({ kind: 'save' });
    await this.#within(SAVE_MS_MAX, saved);
  }

  /** Has it finish what is under way, let go of everything and wait. One that does not in time is killed. */
  async standDown(): Promise<void> {
    this.#standsDown = true;
    this.#restart?.cancel();
    if (this.#process !== null) await this.#yield(this.#process);
  }

  /** Has it do its work again, the one that stood down or, where that is gone, another of the same kind. */
  async standUp(): Promise<void> {
    if (!this.#standsDown || this.#stopping) return;
    this.#standsDown = false;
    const waiting = this.#process;
    if (waiting === null) {
      await this.#startAgain();
      return;
    }
    const ready = this.#watch(waiting);
    waiting.tell({ kind: 'go' });
    await ready.catch((error: unknown) => {
      if (!(error instanceof StartFailed)) throw error;
      this.#log.error({ child: this.name }, error.message);
      this.#revive(null, waiting);
    });
  }

  /** The candidate's is the work from now on; what stood down ends. */
  async adopt(candidate: Process, spec: ChildSpec, addresses: Addresses): Promise<void> {
    const old = this.#process;
    this.#spec = spec;
    this.#addresses = addresses;
    this.#others.delete(candidate);
    this.#process = candidate;
    this.#standsDown = false;
    this.#keepAlive(candidate, this.#clock.monotonicMs());
    if (old === null) return;
    this.#others.add(old);
    await this.#end(old);
    this.#others.delete(old);
  }

  /** Ends a candidate that is not wanted, what it has taken being finished first. */
  async discard(candidate: Process): Promise<void> {
    await this.#yield(candidate);
    await this.#end(candidate);
  }

  /** SIGTERM, then SIGKILL after the spec's bound. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#restart?.cancel();
    await Promise.all(this.#all().map((each) => this.#end(each)));
  }

  /** Ends the process at once; what it had not made durable is lost. */
  kill(): void {
    this.#stopping = true;
    this.#restart?.cancel();
    for (const each of this.#all()) each.kill('SIGKILL');
  }

  #all(): Process[] {
    return [...this.#others, ...(this.#process === null ? [] : [this.#process])];
  }

  #fork(spec: ChildSpec, successor: boolean): Process {
    const launched = new Process({ ...spec, successor });
    launched.onUpgrade = () => this.onUpgrade();
    return launched;
  }

  async #yield(process: Process): Promise<void> {
    const yielded = process.report('yielded').catch(() => undefined);
    process.tell({ kind: 'yield' });
    const waitMs = this.#spec.stopTimeoutMs + YIELD_MARGIN_MS;
    if (await this.#within(waitMs, yielded)) return;
    this.#log.error({ child: this.name, waitedMs: waitMs }, 'did not yield in time; killed');
    process.kill('SIGKILL');
    await process.exited;
  }

  async #end(process: Process): Promise<void> {
    if (!process.running) return;
    process.kill('SIGTERM');
    const { stopTimeoutMs } = this.#spec;
    if (await this.#within(stopTimeoutMs, process.exited)) return;
    this.#log.error({ child: this.name, waitedMs: stopTimeoutMs }, 'did not stop in time; killed');
    process.kill('SIGKILL');
    await process.exited;
  }

  /** @param event never rejects. @returns whether it came in time */
  async #within(waitMs: number, event: Promise<unknown>): Promise<boolean> {
    let timer: Timer | null = null;
    const late = new Promise<boolean>((resolve) => {
      timer = this.#clock.after(waitMs, () => resolve(false));
    });
    const inTime = await Promise.race([event.then(() => true), late]);
    (timer as Timer | null)?.cancel();
    return inTime;
  }

  /** @throws StartFailed */
  async #watch(process: Process): Promise<void> {
    try {
      this.#addresses = (await process.report('ready')).addresses;
    } catch (error) {
      if (this.#process === process) this.#process = null;
      throw error;
    }
    this.#keepAlive(process, this.#clock.monotonicMs());
    this.onReady();
  }

  #keepAlive(process: Process, readyAtMs: number): void {
    void process.exited.then(() => {
      // Another has its work, or an earlier watch of the same process has seen it.
      if (this.#process !== process) return;
      this.#process = null;
      if (!this.#standsDown) this.#revive(readyAtMs, process);
    });
  }

  /** @param readyAtMs when the crashed child became ready, monotonic; null when it never did */
  #revive(readyAtMs: number | null, { exitCode, signal }: Process): void {
    if (this.#stopping) return;
    const upMs = readyAtMs === null ? 0 : this.#clock.monotonicMs() - readyAtMs;
    this.#crashes = upMs >= STEADY_MS ? 1 : this.#crashes + 1;
    const waitMs = restartDelayMs(this.#crashes);
    this.#log.error(
      { child: this.name, exitCode, signal, upMs: Math.round(upMs), restartInMs: waitMs },
      'child ended unexpectedly; it is restarted',
    );
    this.#restart = this.#clock.after(waitMs, () => void this.#startAgain());
  }

  async #startAgain(): Promise<void> {
    const process = this.#fork(this.#spec, false);
    this.#process = process;
    try {
      await this.#watch(process);
    } catch (error) {
      if (!(error instanceof StartFailed)) throw error;
      if (this.#standsDown) return;
      if (!this.#stopping) this.#log.error({ child: this.name }, error.message);
      this.#revive(null, process);
      return;
    }
    this.#log.info({ child: this.name, restarts: this.#crashes }, 'child is up again');
  }
}

/** @param crashes in succession, from 1. @returns 250, 500, 1000, … 30000 */
export const restartDelayMs = (crashes: number): number =>
  Math.min(RESTART_MS_MAX, RESTART_MS_MIN * 2 ** (crashes - 1));
