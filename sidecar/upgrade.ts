/**
 * One upgrade: other processes of the programs take over from those that run, or leave all as it was.
 *
 *   prepare ─► the resolver's successor works ─► the old one stands down
 *          └─► the old mta stands down ─► its successor works ─► health ─► probation ─► the old ones end
 *
 * Invariants
 * - Until every successor has loaded its code and configuration, and that of a program that may overlap
 *   works, nothing of what runs is touched.
 * - From then until the end of the probation the old processes wait, to go on where the new ones fail.
 * - Listening sockets are open throughout: what comes meanwhile waits in the kernel.
 */
import type { Clock, Timer } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import { Health } from './health.ts';
import { type Process, StartFailed } from './process.ts';
import type { Addresses, ProgramName, UpgradeStatus } from './protocol.ts';
import type { ChildSpec, Supervised } from './supervised.ts';

/** Looks at the health of a successor during its probation, at least. */
const LOOKS_MIN = 4;
const LOOK_MS_MAX = 1_000;
/** So often in succession it must have been unready to fail. */
const UNREADY_LOOKS_MAX = 3;

/** What is to take over. */
export interface Succession {
  readonly version: string;
  readonly specs: readonly ChildSpec[];
  readonly readyTimeoutMs: number;
  readonly probationMs: number;
  /** Called once, at the end. @param taken whether it has taken over */
  settle(taken: boolean): void;
}

export interface UpgradeParts {
  /** In the order of stopping. */
  readonly children: readonly Supervised[];
  readonly number: number;
  readonly from: string;
  /** @throws StartFailed */
  readonly succeed: () => Promise<Succession>;
  readonly clock: Clock;
  readonly log: Log;
  readonly onStatus: (status: UpgradeStatus) => void;
}

interface Successor {
  readonly child: Supervised;
  readonly spec: ChildSpec;
  readonly process: Process;
  readonly health: Health;
  addresses: Addresses | null;
}

export class Upgrade {
  readonly #parts: UpgradeParts;
  #status: UpgradeStatus;
  #abandoned = false;

  constructor(parts: UpgradeParts) {
    this.#parts = parts;
    this.#status = {
      number: parts.number,
      state: 'preparing',
      from: parts.from,
      to: null,
      reason: null,
      startedAtMs: parts.clock.wallMs(),
      endedAtMs: null,
      finishMs: null,
      openMs: null,
    };
  }

  /** Whoever runs us stops everything. */
  abandon(): void {
    this.#abandoned = true;
  }

  /** @returns the version that works now, or null when it is the old one; never rejects */
  async run(): Promise<string | null> {
    this.#enter({});
    let succession: Succession | null = null;
    let taken = false;
    try {
      succession = await this.#parts.succeed();
      this.#enter({ to: succession.version });
      taken = await this.#take(succession);
    } catch (error) {
      this.#refuse(error);
    }
    succession?.settle(taken);
    return taken ? succession!.version : null;
  }

  /** @throws StartFailed when nothing was touched */
  async #take(succession: Succession): Promise<boolean> {
    const { children } = this.#parts;
    await Promise.all(children.map((child) => child.save()));
    const successors: Successor[] = [];
    try {
      for (const child of children) {
        const spec = succession.specs.find(({ name }) => name === child.name)!;
        const health = await Health.of(child.addresses?.http ?? null);
        const process = child.candidate(spec);
        successors.push({ child, spec, process, health, addresses: null });
      }
      await this.#prepare(successors, succession.readyTimeoutMs);
    } catch (error) {
      await Promise.all(successors.map(({ child, process }) => child.discard(process)));
      throw error;
    }
    try {
      this.#enter({ state: 'handing-over' });
      await this.#handOver(successors, succession.readyTimeoutMs);
      this.#enter({ state: 'probation' });
      await this.#probe(successors, succession.probationMs);
    } catch (error) {
      await this.#rollBack(successors, error);
      return false;
    }
    await Promise.all(
      successors.map(({ child, process, spec, addresses }) =>
        child.adopt(process, spec, addresses!),
      ),
    );
    this.#end({ state: 'done' });
    return true;
  }

  async #prepare(successors: readonly Successor[], timeoutMs: number): Promise<void> {
    const prepared = successors.map(({ process }) => process.report('prepared'));
    await this.#within(timeoutMs, 'was not loaded', Promise.all(prepared));
    for (const successor of successors) {
      if (successor.spec.overlaps === true) await this.#start(successor, timeoutMs);
    }
  }

  async #handOver(successors: readonly Successor[], timeoutMs: number): Promise<void> {
    const { clock } = this.#parts;
    for (const { child, spec } of successors) {
      if (spec.overlaps === true) await child.standDown();
    }
    for (const successor of successors) {
      const { child, spec } = successor;
      if (spec.overlaps !== true) {
        const startedMs = clock.monotonicMs();
        await child.standDown();
        const finishedMs = clock.monotonicMs();
        await this.#start(successor, timeoutMs);
        const openedMs = clock.monotonicMs();
        this.#enter({
          finishMs: Math.round(finishedMs - startedMs),
          openMs: Math.round(openedMs - finishedMs),
        });
      }
    }
    const deadlineMs = clock.monotonicMs() + timeoutMs;
    for (const { child, health, process, addresses } of successors) {
      for (;;) {
        const fault = await health.faultAt(addresses!.http);
        this.#requireRunning(child.name, process);
        if (fault === null) break;
        if (clock.monotonicMs() >= deadlineMs) throw new StartFailed(`${child.name}: ${fault}`);
        await this.#sleep(LOOK_MS_MAX / LOOKS_MIN);
      }
    }
  }

  async #start(successor: Successor, timeoutMs: number): Promise<void> {
    const { process } = successor;
    const ready = process.report('ready');
    process.tell({ kind: 'go' });
    await this.#within(
      timeoutMs,
      'was not ready',
      ready.then(({ addresses }) => {
        successor.addresses = addresses;
      }),
    );
  }

  async #probe(successors: readonly Successor[], probationMs: number): Promise<void> {
    const { clock } = this.#parts;
    const endsAtMs = clock.monotonicMs() + probationMs;
    const lookMs = Math.min(LOOK_MS_MAX, probationMs / LOOKS_MIN);
    const unready = new Map<ProgramName, number>();
    while (clock.monotonicMs() < endsAtMs) {
      const ended = successors.map(({ process }) => process.exited);
      await Promise.race([this.#sleep(lookMs), ...ended]);
      for (const { child, health, process, addresses } of successors) {
        this.#requireRunning(child.name, process);
        const fault = await health.faultAt(addresses!.http);
        const times = fault === null ? 0 : (unready.get(child.name) ?? 0) + 1;
        unready.set(child.name, times);
        if (times >= UNREADY_LOOKS_MAX) throw new StartFailed(`${child.name}: ${fault}`);
      }
    }
  }

  #requireRunning(name: ProgramName, process: Process): void {
    if (this.#abandoned) throw new StartFailed('everything is being stopped');
    if (process.running) return;
    const how = process.signal ?? `exit code ${process.exitCode}`;
    throw new StartFailed(`${name}: ended with ${how} during its probation`);
  }

  async #rollBack(successors: readonly Successor[], error: unknown): Promise<void> {
    const reason = reasonOf(error);
    const { log } = this.#parts;
    if (!this.#abandoned) log.error({ reason }, 'the new version failed; the old one goes on');
    await Promise.all(
      successors.map(async ({ child, process }) => {
        await child.discard(process);
        await child.standUp();
      }),
    );
    this.#end({ state: 'rolled-back', reason });
  }

  #refuse(error: unknown): void {
    this.#end({ state: 'refused', reason: reasonOf(error) });
  }

  #enter(change: Partial<UpgradeStatus>): void {
    this.#status = { ...this.#status, ...change };
    this.#parts.onStatus(this.#status);
  }

  #end(change: Partial<UpgradeStatus>): void {
    const { clock, log } = this.#parts;
    this.#enter({ ...change, endedAtMs: clock.wallMs() });
    const { number, state, from, to, reason, finishMs, openMs } = this.#status;
    const fields = { upgrade: number, from, to, finishMs, openMs };
    if (state === 'done') log.info(fields, 'upgraded');
    else if (!this.#abandoned) {
      const message =
        state === 'refused'
          ? 'not upgraded: nothing was changed'
          : 'not upgraded: the old version goes on';
      log.error({ ...fields, reason }, message);
    }
  }

  async #within(timeoutMs: number, fault: string, event: Promise<unknown>): Promise<void> {
    let timer: Timer | null = null;
    const late = new Promise<void>((_resolve, reject) => {
      timer = this.#parts.clock.after(timeoutMs, () =>
        reject(new StartFailed(`the new version ${fault} within ${timeoutMs / 1000} s`)),
      );
    });
    try {
      await Promise.race([event, late]);
    } finally {
      (timer as Timer | null)?.cancel();
    }
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.clock.after(delayMs, resolve));
  }
}

/** An error of another kind is a fault of ours, and is shown with its trace; what runs must not end by it. */
function reasonOf(error: unknown): string {
  if (error instanceof StartFailed) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
