/**
 * What the mta asks of durable storage. Engines (sqlite, later postgres) implement it; nothing else
 * knows how mail is kept.
 *
 * Invariants
 * - append() resolves only when the message would survive power loss; or, where it asks for no more than
 *   'memory', when it would survive the end of this process.
 * - A recipient is queued, leased, or gone. It is leased to one holder at a time, and a lease dies
 *   with the process that held it.
 * - settle() is atomic: outcomes, deletions and the notices they cause are all kept, or none.
 * - Rows are keyed by domain, never by site: what DNS says of a domain may change while mail waits,
 *   and then there is nothing to migrate.
 */
import type { MessageId, Priority, Recipient, RecipientKey, Submission } from '../envelope.ts';

/** Why a recipient waits, as an operator should read it. */
export interface WaitReason {
  /** Stable, machine-readable: 'new', 'greylisted', 'deferred-by-peer', 'connect', 'dns', … */
  readonly code: string;
  /** One line; a peer's reply is quoted here, sanitised. */
  readonly text: string;
  /** Wall milliseconds: since when this very reason holds. */
  readonly sinceMs: number;
}

/** Codes of reasons that keep mail from expiring, see {@link ExpiryRequest}. */
export const HELD = 'held';
export const RELEASED = 'released';

export interface LeasedRecipient extends Recipient {
  /** Attempts that ended before this one. */
  readonly attempts: number;
  /** Why it waited until now; quoted in the bounce when it expires. */
  readonly reason: WaitReason;
}

/** One message and those of its recipients that this lease covers: one mail transaction's worth. */
export interface LeasedMessage {
  readonly message: MessageId;
  readonly reversePath: string;
  readonly body: '7bit' | '8bitmime';
  readonly smtpUtf8: boolean;
  readonly receivedAtMs: number;
  readonly priority: Priority;
  /** '' is nobody in particular. */
  readonly tenant: string;
  /** '' is none. */
  readonly campaign: string;
  /** As submitted. */
  readonly extra?: string;
  /** Owned by the caller. It may share memory with the contents of up to seven others of its lease. */
  readonly content: Uint8Array;
  readonly recipients: readonly LeasedRecipient[];
}

export interface LeaseRequest {
  /**
   * Domains of one site that have due work. Classes share a block by weight, the urgent first; tenants
   * of a class are served in turn, and of a tenant its domains, so that none starves the others.
   */
  readonly domains: readonly string[];
  readonly nowMs: number;
  readonly messagesMax: number;
  /** Bound on the content handed out; the first message is handed out whatever its size. */
  readonly bytesMax: number;
  /** At most so many recipients of one message; the rest stay queued for the next transaction. */
  readonly recipientsMax: number;
  /** Hands out mail of the class 'urgent' alone; nextDueMs too tells of that alone. */
  readonly urgentOnly?: boolean;
  /** Their mail stays, and nextDueMs does not tell of it. */
  readonly heldTenants?: readonly string[];
}

export interface Lease {
  readonly messages: readonly LeasedMessage[];
  /** For every domain asked: when its next unleased work is due, wall ms, or null when none is left. */
  readonly nextDueMs: ReadonlyMap<string, number | null>;
}

export type Settlement =
  /** Delivered, bounced, or expired: the recipient is done and its row goes. */
  | { readonly key: RecipientKey; readonly kind: 'done' }
  /** To be tried again. */
  | {
      readonly key: RecipientKey;
      readonly kind: 'deferred';
      readonly dueMs: number;
      /** The count to keep: one more than leased when the peer was tried, the same when DNS decided. */
      readonly attempts: number;
      readonly reason: WaitReason;
      /** Replaces what the recipient has; absent leaves it. */
      readonly extra?: string;
      /** What the recipient is routed by from now on; absent leaves it. */
      readonly domain?: string;
    }
  /** Not tried after all (connection lost before its turn, shutdown): row untouched, costs no commit. */
  | { readonly key: RecipientKey; readonly kind: 'released' };

export interface ExpiryRequest {
  /** Recipients of messages accepted before this wall instant, due or not, oldest message first. */
  readonly acceptedBeforeMs: number;
  /** What waits as {@link HELD} stays, and what is {@link RELEASED} since then or later; default: all of it. */
  readonly releasedSinceMs?: number;
  readonly messagesMax: number;
  readonly bytesMax: number;
}

export interface MessageRequest {
  readonly message: MessageId;
  /** One recipient, or null for all of them, at most {@link MESSAGE_RECIPIENTS_MAX} at a time. */
  readonly index: number | null;
}

/** Recipients that one leaseMessage() hands out. */
export const MESSAGE_RECIPIENTS_MAX = 1000;

export interface DomainDue {
  readonly domain: string;
  readonly nextDueMs: number;
}

export interface QueuedRecipient extends Recipient {
  readonly message: MessageId;
  readonly reversePath: string;
  readonly receivedAtMs: number;
  readonly dueMs: number;
  readonly attempts: number;
  readonly leased: boolean;
  readonly contentOctets: number;
  readonly priority: Priority;
  readonly tenant: string;
  readonly campaign: string;
  readonly reason: WaitReason;
}

export interface ListRequest {
  /** null lists every domain. */
  readonly domain: string | null;
  /** Return what follows this key; null starts at the beginning. */
  readonly after: RecipientKey | null;
  readonly limit: number;
}

export interface CensusRequest {
  /** Domains behind this one in order of name; null begins. */
  readonly after: string | null;
  readonly rowsMax: number;
}

export interface DomainLoad {
  readonly domain: string;
  /** Leased or not; without those of messages that were handed over, until they have waited. */
  readonly recipients: number;
  /** Of those counted. */
  readonly oldest: MessageId;
  /** There are more than were counted. */
  readonly isMore: boolean;
}

export interface CensusPage {
  readonly domains: readonly DomainLoad[];
  /** Where to go on; null at the end. */
  readonly resume: string | null;
}

export interface SpoolCounts {
  /** Messages with at least one unsettled recipient. */
  readonly messages: number;
  /** Recipients not leased. */
  readonly queued: number;
  readonly leased: number;
  /** Quarantined messages, ever, in this spool. */
  readonly quarantined: number;
}

export interface Spool {
  /**
   * @param handOver every recipient is leased to the caller as the message is kept, so that it need not
   *   ask for what it has in its hands; only where {@link mayHandOver}
   * @throws SpoolUnavailable, or SubmittedBefore when `once` has a message already; then nothing was kept
   */
  append(submission: Submission, handOver?: boolean): Promise<MessageId>;
  lease(request: LeaseRequest): Promise<Lease>;
  /** Leases what has waited too long, whatever its domain; cost grows with what it returns, not with the queue. */
  leaseExpired(request: ExpiryRequest): Promise<readonly LeasedMessage[]>;
  /** Leases those of one message that are neither leased nor gone, due or not: for an operator's verbs. */
  leaseMessage(request: MessageRequest): Promise<LeasedMessage | null>;
  /**
   * Ends leases. `notices` (bounces) are appended in the same commit.
   * @returns ids of the notices, in order
   * @throws SpoolUnavailable; then every lease still holds, and the call may be repeated
   */
  settle(
    settlements: readonly Settlement[],
    notices: readonly Submission[],
  ): Promise<readonly MessageId[]>;
  /** Domains with queued work, in order of name, at most `limit` after `afterDomain`; cost grows with domains, not messages. */
  domains(afterDomain: string | null, limit: number): Promise<readonly DomainDue[]>;
  /** Recipients of one message still in the spool; empty when it is unknown or settled. */
  inspect(message: MessageId): Promise<readonly QueuedRecipient[]>;
  list(request: ListRequest): Promise<readonly QueuedRecipient[]>;
  counts(): Promise<SpoolCounts>;
  /** How much waits for each domain; cost grows with rowsMax at most. */
  census(request: CensusRequest): Promise<CensusPage>;
  /** null while appends succeed; otherwise since when and why not, and what to do. */
  trouble(): WaitReason | null;
  /** Commits what was handed in, then closes. */
  close(): Promise<void>;
}

/** Whether it can be leased as it is appended: its key needs a row, and so does a list with gaps. */
export const mayHandOver = ({ once, envelope }: Submission): boolean =>
  once === undefined && envelope.recipients.every(({ index }, position) => index === position);
