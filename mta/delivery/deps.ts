/** What the planner is handed, and whom it tells. */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { MtaConfig } from '../config.ts';
import type { MessageId, Submission } from '../envelope.ts';
import type { DeliveryCounters } from '../metrics.ts';
import type { Router } from '../plan/router.ts';
import type { Shaping } from '../plan/shaping.ts';
import type { Reply } from '../smtp/reply.ts';
import type { LeasedMessage, LeasedRecipient, Spool, WaitReason } from '../spool/spool.ts';
import type { Disposal, Failure } from './consignment.ts';
import type { LinkOpener } from './link.ts';
import type { LocalTaker } from './local-mail.ts';
import type { Suspensions } from './suspensions.ts';
import type { TlsWatch } from './tls-watch.ts';

export interface DeliveryDeps {
  readonly config: MtaConfig;
  readonly spool: Spool;
  readonly router: Router;
  readonly openLink: LinkOpener;
  readonly shaping: Shaping;
  /** @returns the notice to the reverse-path, or null where none may be sent (RFC 5321 §4.5.5) */
  readonly bounce: (leased: LeasedMessage, failures: readonly Failure[]) => Submission | null;
  /** @returns the notice that these recipients are late, or null where none may be sent */
  readonly delayed: (leased: LeasedMessage, late: readonly Failure[]) => Submission | null;
  /** @throws MessageNotSigned, IntakeBusy */
  readonly sign: (submission: Submission) => Promise<Submission>;
  /** @returns the notice that a host has taken mail of which it will tell nobody, where one is wanted */
  readonly relayed?: (
    leased: LeasedMessage,
    recipients: Disposal['delivered'],
    host: string,
  ) => Submission | null;
  /** Default: none, and they are not kept. */
  readonly suspensions?: Suspensions;
  /** Takes mail for domains of our own. */
  readonly local?: LocalTaker | undefined;
  /** The reverse-path to use for this recipient alone, in place of the message's own; where there is none, '' stays ''. */
  readonly reversePathFor?: ReversePathFor | undefined;
  /** Sees what becomes of TLS, where reports are made of it. */
  readonly tlsWatch?: TlsWatch | undefined;
  readonly events: DeliveryEvents;
  readonly counters: DeliveryCounters;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

export type ReversePathFor = (leased: LeasedMessage, recipient: LeasedRecipient) => string;

/** Told of everything that happens to a recipient, once each. */
export interface DeliveryEvents {
  reception(id: MessageId, submission: Submission): void;
  delivery(leased: LeasedMessage, recipient: LeasedRecipient, host: string, reply: Reply): void;
  deferral(
    leased: LeasedMessage,
    recipient: LeasedRecipient,
    reason: WaitReason,
    dueMs: number,
  ): void;
  bounce(leased: LeasedMessage, failure: Failure): void;
}
