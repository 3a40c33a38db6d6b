/**
 * The short way of a message: from its acceptance straight into the hands of its sites, leased as the
 * spool keeps it, its content still in memory.
 *
 * Invariants
 * - It is for mail that the spool would hand out at once: due, held back by nobody, for sites that take
 *   mail, with room, and behind which nothing waits in the spool. All else goes the long way.
 * - All of a message goes the short way, or nothing of it.
 * - Every reservation is redeemed or withdrawn, once.
 */
import type { MessageId, Recipient, Submission } from '../envelope.ts';
import { type LeasedMessage, mayHandOver } from '../spool/spool.ts';
import type { DeliveryDeps } from './deps.ts';
import type { Domains } from './domains.ts';
import type { SiteQueue } from './site-queue.ts';
import type { Suspensions } from './suspensions.ts';

/** A message to more has its recipients leased in turn. */
const RECIPIENTS_MAX = 100;

export interface HandoverParts {
  readonly deps: DeliveryDeps;
  readonly domains: Domains;
  readonly suspensions: Suspensions;
}

export class Handover {
  readonly #parts: HandoverParts;

  constructor(parts: HandoverParts) {
    this.#parts = parts;
  }

  /** @returns null for the long way */
  reserve(submission: Submission): Reservation | null {
    const { envelope, content, receivedAtMs, notBeforeMs = receivedAtMs } = submission;
    const { recipients } = envelope;
    if (notBeforeMs > receivedAtMs || recipients.length > RECIPIENTS_MAX) return null;
    if (!mayHandOver(submission) || this.#isHeld(submission)) return null;
    const parts = this.#bySite(recipients);
    if (parts === null) return null;
    const reserved: SiteQueue[] = [];
    for (const [queue, ofSite] of parts) {
      if (!queue.reserve(ofSite, content.byteLength)) {
        for (const one of reserved) one.withdraw();
        return null;
      }
      reserved.push(queue);
    }
    return new Reservation(submission, parts);
  }

  #isHeld({ tenant = '', campaign = '' }: Submission): boolean {
    const { suspensions } = this.#parts;
    return (
      suspensions.find('tenant', tenant) !== null || suspensions.find('campaign', campaign) !== null
    );
  }

  /** @returns null when the site of one is not known, or its domain waits */
  #bySite(recipients: readonly Recipient[]): Map<SiteQueue, Recipient[]> | null {
    const { domains } = this.#parts;
    const parts = new Map<SiteQueue, Recipient[]>();
    for (const recipient of recipients) {
      const queue = domains.open(recipient.domain);
      if (queue === null) return null;
      const others = parts.get(queue);
      if (others === undefined) parts.set(queue, [recipient]);
      else others.push(recipient);
    }
    return parts;
  }
}

export class Reservation {
  readonly #submission: Submission;
  readonly #parts: ReadonlyMap<SiteQueue, readonly Recipient[]>;

  constructor(submission: Submission, parts: ReadonlyMap<SiteQueue, readonly Recipient[]>) {
    this.#submission = submission;
    this.#parts = parts;
  }

  /** The spool has it, leased. */
  redeem(id: MessageId): void {
    for (const [queue, recipients] of this.#parts) {
      queue.redeem(leasedOf(id, this.#submission, recipients));
    }
  }

  /** The spool does not have it. */
  withdraw(): void {
    for (const queue of this.#parts.keys()) queue.withdraw();
  }
}

/** As the spool would hand it out. */
function leasedOf(
  message: MessageId,
  { envelope, content, receivedAtMs, extra, ...labels }: Submission,
  recipients: readonly Recipient[],
): LeasedMessage {
  const reason = { code: 'new', text: 'not tried yet', sinceMs: receivedAtMs };
  return {
    message,
    reversePath: envelope.reversePath,
    body: envelope.body,
    smtpUtf8: envelope.smtpUtf8,
    receivedAtMs,
    priority: labels.priority ?? 'normal',
    tenant: labels.tenant ?? '',
    campaign: labels.campaign ?? '',
    ...(extra === undefined ? {} : { extra }),
    content,
    recipients: recipients.map((recipient) => ({ ...recipient, attempts: 0, reason })),
  };
}
