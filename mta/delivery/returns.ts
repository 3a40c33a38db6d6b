/** Mail that is not to be tried any more: DNS says that its domain takes none, or its time is up. */
import { SpoolUnavailable } from '../errors.ts';
import type { Undeliverable } from '../plan/route.ts';
import { expiry, type Failure } from './consignment.ts';
import type { DeliveryDeps } from './deps.ts';
import type { Outcomes } from './outcomes.ts';

const BLOCK_MESSAGES = 100;
const BLOCK_OCTETS_MAX = 8 * 1024 * 1024;
const SPOOL_RETRY_MS = 1_000;
/** What an operator released is given so long for one more try, however old it is. */
const RELEASED_MS = 3_600_000;

export interface ReturnsParts {
  readonly deps: DeliveryDeps;
  readonly outcomes: Outcomes;
  stopping(): boolean;
  /** The domain has work then, and is to be routed anew for it. */
  later(domain: string, dueMs: number): void;
}

export class Returns {
  readonly #parts: ReturnsParts;
  readonly #refusing = new Set<string>();
  #expiring = false;

  constructor(parts: ReturnsParts) {
    this.#parts = parts;
  }

  /** DNS says that the domain takes no mail: all of its due mail is returned. */
  async refuse(domain: string, verdict: Undeliverable): Promise<void> {
    if (this.#refusing.has(domain)) return;
    this.#refusing.add(domain);
    const { outcomes } = this.#parts;
    const { spool, clock } = this.#parts.deps;
    try {
      for (;;) {
        const lease = await spool.lease({
          domains: [domain],
          nowMs: clock.wallMs(),
          messagesMax: BLOCK_MESSAGES,
          bytesMax: BLOCK_OCTETS_MAX,
          recipientsMax: Number.MAX_SAFE_INTEGER,
        });
        for (const leased of lease.messages) outcomes.giveBack(leased, () => refusal(verdict));
        const nextDueMs = lease.nextDueMs.get(domain) ?? null;
        if (lease.messages.length > 0 && nextDueMs !== null && nextDueMs <= clock.wallMs())
          continue;
        if (nextDueMs !== null) this.#parts.later(domain, nextDueMs);
        return;
      }
    } catch (error) {
      if (!(error instanceof SpoolUnavailable)) throw error;
      this.#parts.later(domain, clock.wallMs() + SPOOL_RETRY_MS);
    } finally {
      this.#refusing.delete(domain);
    }
  }

  /** Returns mail whose time is up, whatever holds it but an operator. */
  async expire(): Promise<void> {
    if (this.#expiring) return;
    this.#expiring = true;
    const { outcomes } = this.#parts;
    const { spool, clock, config } = this.#parts.deps;
    try {
      for (let full = true; full && !this.#parts.stopping(); ) {
        const expired = await spool.leaseExpired({
          acceptedBeforeMs: clock.wallMs() - config.max_age,
          releasedSinceMs: clock.wallMs() - RELEASED_MS,
          messagesMax: BLOCK_MESSAGES,
          bytesMax: BLOCK_OCTETS_MAX,
        });
        for (const leased of expired) outcomes.giveBack(leased, expiry);
        full = expired.length === BLOCK_MESSAGES;
      }
    } catch (error) {
      if (!(error instanceof SpoolUnavailable)) throw error;
    } finally {
      this.#expiring = false;
    }
  }
}

const refusal = ({ enhanced, text }: Undeliverable): Omit<Failure, 'recipient'> => ({
  status: enhanced,
  text,
  reply: null,
  host: null,
  expired: false,
});
