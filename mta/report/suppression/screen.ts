/** Who of a message's recipients gets nothing, as the list and the hook have it; asked at acceptance. */
import { ScreenUnavailable } from '../../errors.ts';
import type { SuppressionHook } from './hook.ts';
import type { SuppressionCause, SuppressionList } from './list.ts';

/** Why one recipient gets nothing. */
export interface Verdict {
  readonly cause: SuppressionCause | 'hook';
  /** One line, for the client. */
  readonly text: string;
}

export interface ScreenQuestion {
  readonly tenant: string;
  readonly reversePath: string;
  /** Addresses. */
  readonly recipients: readonly string[];
}

export interface ScreenOptions {
  readonly list: SuppressionList;
  readonly hook: SuppressionHook | null;
  /** What a hook that does not answer means: everybody may have it, or nobody yet. */
  readonly failOpen: boolean;
}

const TEXT: Readonly<Record<SuppressionCause, string>> = {
  bounce: 'mail to it bounced before',
  'bounce-report': 'mail to it was returned before',
  complaint: 'it complained of mail before',
  hand: 'suppressed by hand',
};

export class Screen {
  readonly #options: ScreenOptions;

  constructor(options: ScreenOptions) {
    this.#options = options;
  }

  /** By the list alone, at once. */
  find(address: string, tenant: string): Verdict | null {
    const found = this.#options.list.find(address, tenant);
    return found === null ? null : { cause: found.cause, text: TEXT[found.cause] };
  }

  /**
   * @returns verdicts by position in `recipients`, of those that get nothing
   * @throws ScreenUnavailable
   */
  async ask({
    tenant,
    reversePath,
    recipients,
  }: ScreenQuestion): Promise<ReadonlyMap<number, Verdict>> {
    const { hook, failOpen } = this.#options;
    const verdicts = new Map<number, Verdict>();
    for (const [at, address] of recipients.entries()) {
      const verdict = this.find(address, tenant);
      if (verdict !== null) verdicts.set(at, verdict);
    }
    if (hook === null) return verdicts;
    const asked = recipients.filter((_, at) => !verdicts.has(at));
    if (asked.length === 0) return verdicts;
    const answer = await hook.ask({ tenant, reversePath, recipients: asked });
    if (answer === null && !failOpen) throw new ScreenUnavailable();
    for (const [at, address] of recipients.entries()) {
      const reason = answer?.get(address);
      if (reason === undefined || verdicts.has(at)) continue;
      verdicts.set(at, { cause: 'hook', text: reason === '' ? 'suppressed by the hook' : reason });
    }
    return verdicts;
  }
}
