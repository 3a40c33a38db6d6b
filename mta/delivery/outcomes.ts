/**
 * From the outcome of a transaction, or an operator's decision, to what the spool keeps, which notices
 * are sent, and who is told.
 */
import { isTaken } from '../disposition.ts';
import type { MessageId, Submission } from '../envelope.ts';
import type { Site } from '../plan/site.ts';
import type { RecipientFact } from '../smtp/transaction.ts';
import type { LeasedMessage, Settlement, WaitReason } from '../spool/spool.ts';
import { type Consignment, dispose, type Failure } from './consignment.ts';
import type { DeliveryDeps } from './deps.ts';
import type { Settler } from './settler.ts';
import type { Watch } from './watch.ts';

export interface OutcomesParts {
  readonly deps: DeliveryDeps;
  readonly settler: Settler;
  readonly watch: Watch;
  /** A notice is in the spool. */
  arrived(id: MessageId, notice: Submission): void;
  /** The domain has work then. */
  due(domain: string, dueMs: number): void;
}

interface Aftermath {
  /** Notices besides that of failures. */
  readonly others?: readonly (Submission | null)[];
  /** Failures cause a notice. */
  readonly tell?: boolean;
  readonly settled?: () => void;
}

const NO_NOTICES: readonly Submission[] = [];
const NOTHING_MORE = (): void => undefined;

export class Outcomes {
  readonly #parts: OutcomesParts;

  constructor(parts: OutcomesParts) {
    this.#parts = parts;
  }

  /** A transaction is over. */
  finished(
    consignment: Consignment,
    facts: readonly RecipientFact[],
    host: string,
    site: Site,
  ): void {
    const { config, clock, random, counters, events, relayed, delayed } = this.#parts.deps;
    const { leased } = consignment;
    const nowMs = clock.wallMs();
    if (consignment.dsn === undefined && facts.every(isTaken)) {
      this.#delivered(leased, facts, host, site, nowMs);
      return;
    }
    const disposal = dispose(consignment, facts, {
      retry: { waitsMs: consignment.limits.retryMs, ageMsMax: config.max_age },
      random,
      nowMs,
      host,
      delayWarningMs: config.delay_warning,
    });
    this.#parts.watch.finished(site, disposal, host, nowMs);
    for (const { recipient, reply } of disposal.delivered) {
      counters.delivered += 1;
      events.delivery(leased, recipient, host, reply);
    }
    for (const { recipient, reason, dueMs } of disposal.deferred) {
      counters.deferred += 1;
      events.deferral(leased, recipient, reason, dueMs);
    }
    // A host that offers DSN tells of success itself; of the others we say what we know.
    const silent = consignment.dsn !== undefined && !consignment.dsn.passedOn;
    const relay = silent ? (relayed?.(leased, disposal.delivered, host) ?? null) : null;
    const late = disposal.late.length > 0 ? delayed(leased, disposal.late) : null;
    const settled = (): void => {
      for (const { recipient, dueMs } of disposal.deferred) {
        this.#parts.due(recipient.domain, dueMs);
      }
      for (const [position, settlement] of disposal.settlements.entries()) {
        if (settlement.kind !== 'released') continue;
        const { domain } = leased.recipients[position]!;
        this.#parts.due(domain, 0);
      }
    };
    this.#settle(leased, disposal.settlements, disposal.failures, {
      others: [relay, late],
      settled,
    });
  }

  /** What nearly every transaction comes to: as finished() would do it, without looking for all else. */
  #delivered(
    leased: LeasedMessage,
    facts: readonly RecipientFact[],
    host: string,
    site: Site,
    nowMs: number,
  ): void {
    const { counters, events } = this.#parts.deps;
    const { message, recipients } = leased;
    const settlements = recipients.map(({ index }) => doneOf(message, index));
    counters.delivered += recipients.length;
    for (let at = 0; at < recipients.length; at += 1) {
      events.delivery(leased, recipients[at]!, host, facts[at]!.reply!);
    }
    this.#parts.watch.taken(site, host, facts.at(-1)!.reply!, nowMs);
    this.#parts.settler.add(settlements, NO_NOTICES, NOTHING_MORE);
  }

  /** Ends every recipient of the lease with a failure. */

  giveBack(
    leased: LeasedMessage,
    failureOf: (recipient: LeasedMessage['recipients'][number]) => Omit<Failure, 'recipient'>,
    aftermath: Aftermath = {},
  ): void {
    const failures = leased.recipients.map((recipient) => ({ ...failureOf(recipient), recipient }));
    const settlements = leased.recipients.map(({ index }) => doneOf(leased.message, index));
    this.#settle(leased, settlements, failures, aftermath);
  }

  /** Resolves when it is kept. */
  reschedule(
    leased: LeasedMessage,
    next: (recipient: LeasedMessage['recipients'][number]) => {
      readonly dueMs: number;
      readonly reason: WaitReason;
      readonly domain?: string;
      readonly extra?: string;
    },
  ): Promise<void> {
    return new Promise((resolve) => {
      const settlements = leased.recipients.map((recipient) => ({
        key: { message: leased.message, index: recipient.index },
        kind: 'deferred' as const,
        attempts: recipient.attempts,
        ...next(recipient),
      }));
      this.#parts.settler.add(settlements, [], () => {
        for (const [position, { dueMs, domain }] of settlements.entries()) {
          this.#parts.due(domain ?? leased.recipients[position]!.domain, dueMs);
        }
        resolve();
      });
    });
  }

  /** Tells the sender of recipients that are late; nothing else of them changes, and the others go back. */
  warn(
    leased: LeasedMessage,
    warningOf: (recipient: LeasedMessage['recipients'][number]) => {
      readonly dueMs: number;
      readonly extra: string;
      readonly failure: Failure;
    } | null,
  ): void {
    const late: Failure[] = [];
    const settlements = leased.recipients.map((recipient): Settlement => {
      const key = { message: leased.message, index: recipient.index };
      const warning = warningOf(recipient);
      if (warning === null) return { key, kind: 'released' };
      const { dueMs, extra, failure } = warning;
      late.push(failure);
      const { attempts, reason } = recipient;
      return { key, kind: 'deferred', dueMs, attempts, reason, extra };
    });
    const notice = late.length === 0 ? null : this.#parts.deps.delayed(leased, late);
    this.#settle(leased, settlements, [], {
      others: [notice],
      settled: () => {
        // The planner may have passed it by meanwhile.
        for (const { domain } of leased.recipients) this.#parts.due(domain, 0);
      },
    });
  }

  /** A taker of our own has done with it. Resolves when that and `notices` are kept. */
  taken(leased: LeasedMessage, notices: readonly Submission[]): Promise<void> {
    return new Promise((resolve) => {
      const settlements = leased.recipients.map(({ index }) => doneOf(leased.message, index));
      this.#parts.deps.counters.taken += leased.recipients.length;
      this.#settle(leased, settlements, [], { others: notices, settled: resolve });
    });
  }

  /** Leases go back untried. */
  release(consignments: readonly Consignment[]): void {
    const settlements = consignments.flatMap(({ leased }) =>
      leased.recipients.map(({ index }) => ({
        key: { message: leased.message, index },
        kind: 'released' as const,
      })),
    );
    this.#parts.settler.add(settlements, [], () => {
      for (const { leased } of consignments) {
        for (const { domain } of leased.recipients) this.#parts.due(domain, 0);
      }
    });
  }

  #settle(
    leased: LeasedMessage,
    settlements: readonly Settlement[],
    failures: readonly Failure[],
    { others = [], tell = true, settled = () => undefined }: Aftermath,
  ): void {
    const { counters, events, bounce } = this.#parts.deps;
    for (const failure of failures) {
      if (failure.expired) counters.expired += 1;
      else counters.bounced += 1;
      events.bounce(leased, failure);
    }
    const notice = tell && failures.length > 0 ? bounce(leased, failures) : null;
    const notices = [...others, notice].filter((one) => one !== null);
    this.#parts.settler.add(settlements, notices, (ids) => {
      for (const [position, id] of ids.entries()) this.#parts.arrived(id, notices[position]!);
      settled();
    });
  }
}

const doneOf = (message: MessageId, index: number): Settlement => ({
  key: { message, index },
  kind: 'done',
});
