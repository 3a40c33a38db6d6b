/**
 * Tells senders once of mail that is late without an attempt having ended: behind a site that takes none,
 * DNS trouble, or what an operator suspended. A sweep in order of acceptance; each message is met once.
 *
 * Invariants
 * - A sweep looks at PAGES_MAX × PAGE rows at most, and begins where the last one ended.
 * - Nothing but the note that the sender was told is changed: due time, attempts and reason stay.
 * - What an operator holds is the operator's to speak of, and what its sender scheduled is not late.
 */
import type { MtaConfig } from '../config.ts';
import type { RecipientKey } from '../envelope.ts';
import { SpoolUnavailable } from '../errors.ts';
import { isOperators } from '../operator.ts';
import type { Wait } from '../running.ts';
import type { LeasedMessage, QueuedRecipient } from '../spool/spool.ts';
import { DELAY_ASKED_MS, type Failure, warningOf } from './consignment.ts';
import type { DeliveryDeps } from './deps.ts';
import type { Outcomes } from './outcomes.ts';

const PAGE = 500;
const PAGES_MAX = 100;
/** Met while it was in hand, to be looked at again. */
const MISSED_MAX = 1_000;

export interface LatenessParts {
  readonly deps: Pick<DeliveryDeps, 'spool' | 'clock'> & {
    readonly config: Pick<MtaConfig, 'delay_warning'>;
  };
  readonly outcomes: Pick<Outcomes, 'warn'>;
  explain(recipient: QueuedRecipient): Wait;
  stopping(): boolean;
}

export class Lateness {
  readonly #parts: LatenessParts;
  #after: RecipientKey | null = null;
  #missed: number[] = [];
  #sweeping = false;

  constructor(parts: LatenessParts) {
    this.#parts = parts;
  }

  async sweep(): Promise<void> {
    if (this.#sweeping) return;
    this.#sweeping = true;
    try {
      const missed = this.#missed;
      this.#missed = [];
      for (const message of missed) await this.#tell(message);
      for (let page = 0; page < PAGES_MAX && !this.#parts.stopping(); page += 1) {
        if (!(await this.#turnPage())) return;
      }
    } catch (error) {
      if (!(error instanceof SpoolUnavailable)) throw error;
    } finally {
      this.#sweeping = false;
    }
  }

  /** @returns whether there may be more that is late */
  async #turnPage(): Promise<boolean> {
    const { spool, clock, config } = this.#parts.deps;
    const ageMs = config.delay_warning === 0 ? DELAY_ASKED_MS : config.delay_warning;
    const rows = await spool.list({ domain: null, after: this.#after, limit: PAGE });
    const lateBeforeMs = clock.wallMs() - ageMs;
    const late = rows.filter(({ receivedAtMs }) => receivedAtMs <= lateBeforeMs);
    const messages = new Set<number>();
    for (const row of late) if (this.#mayTell(row)) messages.add(row.message);
    for (const message of messages) await this.#tell(message);
    const last = late.at(-1);
    if (last !== undefined) this.#after = { message: last.message, index: last.index };
    return rows.length === PAGE && late.length === rows.length;
  }

  /** What the spool's row tells of it; the rest is seen when its extra is read. */
  #mayTell({ reversePath, extra, reason, dueMs }: QueuedRecipient): boolean {
    const { clock, config } = this.#parts.deps;
    if (reversePath === '' || isOperators(reason)) return false;
    if (reason.code === 'new' && dueMs > clock.wallMs()) return false;
    return config.delay_warning > 0 || extra !== undefined;
  }

  async #tell(message: number): Promise<void> {
    const { deps, outcomes, explain } = this.#parts;
    const rows = await deps.spool.inspect(message);
    if (rows.some(({ leased }) => leased) && this.#missed.length < MISSED_MAX) {
      this.#missed.push(message);
    }
    // Before it is leased, as being in hand is no reason to be late.
    const waits = new Map(
      rows
        .filter((row) => this.#mayTell(row))
        .map((row) => [row.index, { row, wait: explain(row) }]),
    );
    if (waits.size === 0) return;
    // Of many recipients the first thousand: a notice of more would tell nobody more.
    const leased = await deps.spool.leaseMessage({ message, index: null });
    if (leased === null) return;
    const context = { nowMs: deps.clock.wallMs(), delayWarningMs: deps.config.delay_warning };
    outcomes.warn(leased, (recipient) => {
      const known = waits.get(recipient.index);
      const extra = known === undefined ? null : warningOf(leased, recipient, context);
      if (known === undefined || extra === null) return null;
      return { dueMs: known.row.dueMs, extra, failure: lateness(recipient, known.wait) };
    });
  }
}

/** RFC 3463: X.4.3 directory server failure, X.4.1 no answer from host. */
const STATUS: Readonly<Record<string, string>> = {
  dns: '4.4.3',
  site: '4.4.1',
  connection: '4.4.1',
};

const lateness = (recipient: LeasedMessage['recipients'][number], { on, text }: Wait): Failure => ({
  recipient,
  status: STATUS[on] ?? '4.0.0',
  text,
  reply: null,
  host: null,
  expired: false,
});
