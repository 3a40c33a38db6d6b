/**
 * Both programs as children, started together and stopped in order: the mta first, since what it
 * finishes may still ask the resolver.
 */
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { RawConfig } from './config/schema.ts';
import type { Addresses, ProgramName } from './protocol.ts';
import { type ChildSpec, Supervised } from './supervised.ts';

export class Supervisor {
  /** In the order of stopping. */
  readonly #children: readonly Supervised[];

  /** @param specs in the order of stopping */
  constructor(specs: readonly ChildSpec[], raw: RawConfig, clock: Clock, log: Log) {
    this.#children = specs.map((spec) => new Supervised(spec, raw, clock, log));
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

  /** @throws StartFailed when the new process does not come up; then the old one goes on */
  async replace(name: ProgramName, raw: RawConfig): Promise<void> {
    await this.#children.find((child) => child.name === name)?.replace(raw);
  }

  reload(): void {
    for (const child of this.#children) child.reload();
  }

  async stop(): Promise<void> {
    for (const child of this.#children) await child.stop();
  }

  kill(): void {
    for (const child of this.#children) child.kill();
  }
}
