/**
 * Both programs as children, started together and stopped in order: the mta first, since what it
 * finishes may still ask the resolver. It knows nothing of what they do, so that it can start other
 * versions of them than its own.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Addresses, ProgramName, UpgradeStatus } from './protocol.ts';
import { type ChildSpec, Supervised } from './supervised.ts';
import { type Succession, Upgrade } from './upgrade.ts';

export class Supervisor {
  /** In the order of stopping. */
  readonly #children: readonly Supervised[];
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #succeed: () => Promise<Succession>;
  #version: string;
  #upgrades = 0;
  #upgrading: Upgrade | null = null;
  #status: UpgradeStatus | null = null;

  /**
   * @param specs in the order of stopping
   * @param version of what they start
   * @param succeed finds what an upgrade is to start; throws StartFailed with the reason not to
   */
  constructor(
    specs: readonly ChildSpec[],
    parts: {
      readonly version: string;
      readonly succeed: () => Promise<Succession>;
      readonly clock: Clock;
      readonly log: Log;
    },
  ) {
    const { clock, log, version, succeed } = parts;
    this.#clock = clock;
    this.#log = log;
    this.#version = version;
    this.#succeed = succeed;
    this.#children = specs.map((spec) => new Supervised(spec, clock, log));
    for (const child of this.#children) {
      child.onUpgrade = () => void this.upgrade();
      child.onReady = () => this.#tellStatus();
    }
  }

  /** @throws StartFailed when either cannot start; then neither runs */
  async start(): Promise<ReadonlyMap<ProgramName, Addresses>> {
    try {
      const started = this.#children.map(
        async (child) => [child.name, await child.start()] as const,
      );
      return new Map(await Promise.all(started));
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Replaces what runs by what is on the disk. With one under way it does nothing. Never rejects. */
  async upgrade(): Promise<void> {
    if (this.#upgrading !== null) return;
    this.#upgrades += 1;
    const upgrade = new Upgrade({
      children: this.#children,
      number: this.#upgrades,
      from: this.#version,
      succeed: this.#succeed,
      clock: this.#clock,
      log: this.#log,
      onStatus: (status) => {
        this.#status = status;
        this.#tellStatus();
      },
    });
    this.#upgrading = upgrade;
    const version = await upgrade.run();
    this.#upgrading = null;
    if (version !== null) this.#version = version;
  }

  reload(): void {
    for (const child of this.#children) child.reload();
  }

  async stop(): Promise<void> {
    this.#upgrading?.abandon();
    for (const child of this.#children) await child.stop();
  }

  kill(): void {
    this.#upgrading?.abandon();
    for (const child of this.#children) child.kill();
  }

  #tellStatus(): void {
    const status = this.#status;
    if (status === null) return;
    for (const child of this.#children) child.tell({ kind: 'upgrade-status', status });
  }
}
