/**
 * Mail for domains that are our own, such as that of bounces: it goes no further, but to a taker within
 * this process.
 *
 * Invariant: a message leaves the spool only after its taker has done with it, in one commit with what
 * the taker wants sent; until then it is taken again.
 */
import type { Submission } from '../envelope.ts';
import { SpoolUnavailable } from '../errors.ts';
import { mailDomainOf } from '../next-hop.ts';
import type { LeasedMessage } from '../spool/spool.ts';
import type { DeliveryDeps } from './deps.ts';
import type { Outcomes } from './outcomes.ts';

const BLOCK_MESSAGES = 50;
const BLOCK_OCTETS_MAX = 16 * 1024 * 1024;
/** A taker that failed, or a spool, is asked again after so long. */
const RETRY_MS = 15_000;
/** Code of why it waits. */
const UNREAD = 'unread';

export interface LocalTaker {
  owns(domain: string): boolean;
  /**
   * Resolves when nothing of the message can be lost any more but what it returns, which is kept with its end.
   * @throws whatever keeps it from that
   */
  take(leased: LeasedMessage): Promise<readonly Submission[]>;
}

export interface LocalMailParts {
  readonly deps: DeliveryDeps;
  readonly outcomes: Outcomes;
  stopping(): boolean;
  /** The domain has work then. */
  later(domain: string, dueMs: number): void;
}

export class LocalMail {
  readonly #parts: LocalMailParts;
  /** Domains being taken, and whether mail has come meanwhile. */
  readonly #taking = new Map<string, { woken: boolean }>();
  readonly #underWay = new Set<Promise<void>>();

  constructor(parts: LocalMailParts) {
    this.#parts = parts;
  }

  owns(domain: string): boolean {
    return this.#parts.deps.local?.owns(mailDomainOf(domain)) ?? false;
  }

  /** Takes all that is due of the domain. */
  take(domain: string): void {
    const taking = this.#take(domain).finally(() => this.#underWay.delete(taking));
    this.#underWay.add(taking);
  }

  /** Resolves when what was leased before a stop has been taken, or put off. */
  async idle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  async #take(domain: string): Promise<void> {
    const underWay = this.#taking.get(domain);
    if (underWay !== undefined) {
      underWay.woken = true;
      return;
    }
    const { deps, later } = this.#parts;
    const state = { woken: true };
    this.#taking.set(domain, state);
    try {
      while (state.woken && !this.#parts.stopping()) {
        state.woken = false;
        if (await this.#takeBlock(domain)) state.woken = true;
      }
    } catch (error) {
      if (!(error instanceof SpoolUnavailable)) throw error;
      later(domain, deps.clock.wallMs() + RETRY_MS);
    } finally {
      this.#taking.delete(domain);
    }
  }

  /** @returns whether there is more to take now */
  async #takeBlock(domain: string): Promise<boolean> {
    const { deps, outcomes, later } = this.#parts;
    const { spool, clock } = deps;
    const lease = await spool.lease({
      domains: [domain],
      nowMs: clock.wallMs(),
      messagesMax: BLOCK_MESSAGES,
      bytesMax: BLOCK_OCTETS_MAX,
      recipientsMax: Number.MAX_SAFE_INTEGER,
    });
    // Together, so that what they write shares its commits.
    await Promise.all(
      lease.messages.map(async (leased) => {
        const notices = await this.#noticesOf(leased);
        if (notices !== null) await outcomes.taken(leased, notices);
      }),
    );
    const nextDueMs = lease.nextDueMs.get(domain) ?? null;
    const nowMs = clock.wallMs();
    if (nextDueMs !== null && nextDueMs > nowMs) later(domain, nextDueMs);
    return lease.messages.length > 0 && nextDueMs !== null && nextDueMs <= nowMs;
  }

  /** @returns null when the taker failed, and the message is put off */
  async #noticesOf(leased: LeasedMessage): Promise<readonly Submission[] | null> {
    const { deps, outcomes } = this.#parts;
    try {
      return await deps.local!.take(leased);
    } catch (error) {
      const text = `it could not be read here, and is tried again: ${String(error)}`;
      deps.log.error({ message: leased.message }, `mail to a domain of our own waits: ${text}`);
      const nowMs = deps.clock.wallMs();
      await outcomes.reschedule(leased, ({ reason }) => ({
        dueMs: nowMs + RETRY_MS,
        reason: { code: UNREAD, text, sinceMs: reason.code === UNREAD ? reason.sinceMs : nowMs },
      }));
      return null;
    }
  }
}
