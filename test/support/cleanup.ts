/** Stops what was started, last first; one failure does not keep the rest from being stopped. */

export interface Stoppable {
  stop(): Promise<unknown>;
}

export class Cleanup {
  readonly #steps: (() => Promise<unknown>)[] = [];

  /** @returns what it was given, so that starting and registering are one expression */
  stop<T extends Stoppable>(thing: T): T {
    this.#steps.push(() => thing.stop());
    return thing;
  }

  add(step: () => Promise<unknown>): void {
    this.#steps.push(step);
  }

  /** @throws AggregateError when a step failed, after all have been taken */
  async run(): Promise<void> {
    const errors: unknown[] = [];
    for (const step of this.#steps.splice(0).toReversed()) {
      try {
        await step();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw new AggregateError(errors, 'cleaning up failed');
  }
}
