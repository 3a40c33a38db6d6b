/**
 * What the mta's thread and the spool's thread say to each other: a batch of requests, answered by one
 * reply with an answer for each, in order. One batch is under way at a time.
 */
import type { MessageId, Submission } from '../envelope.ts';
import type {
  CensusPage,
  CensusRequest,
  DomainDue,
  ExpiryRequest,
  Lease,
  LeasedMessage,
  LeaseRequest,
  ListRequest,
  MessageRequest,
  QueuedRecipient,
  Settlement,
  SpoolCounts,
} from './spool.ts';
import type { StoreTrouble } from './trouble.ts';

/** Operation → what it asks and what it yields. */
export interface Operations {
  settle: {
    asks: {
      /** Pairs: message, index. */
      done: Float64Array;
      /** Deferred and released. */
      others: readonly Settlement[];
      notices: readonly Submission[];
    };
    yields: readonly MessageId[];
  };
  lease: { asks: LeaseRequest; yields: Lease };
  leaseExpired: { asks: ExpiryRequest; yields: readonly LeasedMessage[] };
  leaseMessage: { asks: MessageRequest; yields: LeasedMessage | null };
  domains: { asks: { after: string | null; limit: number }; yields: readonly DomainDue[] };
  inspect: { asks: MessageId; yields: readonly QueuedRecipient[] };
  list: { asks: ListRequest; yields: ListPage };
  counts: { asks: null; yields: SpoolCounts };
  census: { asks: CensusRequest; yields: CensusPage };
  /** Tries whether the trouble is over. */
  probe: { asks: null; yields: null };
  /** Commits, checkpoints and closes; the last request of all. */
  close: { asks: null; yields: null };
}

/** The key of {@link Submission.once} is taken: by this message, of a request with this digest. */
export interface Repeated {
  readonly message: MessageId;
  readonly digest: string;
}

export type Operation = keyof Operations;

export type Request = {
  [Op in Operation]: { readonly op: Op; readonly asks: Operations[Op]['asks'] };
}[Operation];

/** A bounded part of a listing; `resume` is where to look on, null at the end. */
export interface ListPage {
  readonly rows: readonly QueuedRecipient[];
  readonly resume: ListRequest['after'];
}

/** Messages to be appended: records whose headers are still to be written, in memory that both threads see. */
export interface AppendBlock {
  /** The mta's thread leaves it alone until the reply. Null is that of the block before. */
  readonly arena: SharedArrayBuffer | null;
  /** Of the arena. */
  readonly octets: number;
  /**
   * {@link DRAFT_FIELDS} numbers each: where it begins, octets of meta, octets of content, and how many
   * recipients, all of them, its submitter takes up as leased; 0 when it waits for its turn.
   */
  readonly drafts: Float64Array;
  /** False where none of them asks for more than memory. */
  readonly synced: boolean;
}

export const DRAFT_FIELDS = 4;

export interface Batch {
  readonly sequence: number;
  /** Wall milliseconds. */
  readonly nowMs: number;
  readonly appends: AppendBlock | null;
  readonly requests: readonly Request[];
}

export type Appended =
  | { readonly ok: true; readonly ids: readonly (MessageId | Repeated)[] }
  | Refusal;

export interface Refusal {
  readonly ok: false;
  /** Null for a mistake of ours, which is no trouble of storage. */
  readonly trouble: StoreTrouble | null;
  readonly message: string;
}

export type Answer = { readonly ok: true; readonly value: unknown } | Refusal;

/** A line for the log, which the spool's thread does not have. */
export interface Incident {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: object;
  readonly message: string;
}

export interface Standing {
  readonly trouble: StoreTrouble;
  readonly message: string;
}

export interface BatchReply {
  readonly sequence: number;
  /** Of all appends: all are kept, save those that repeat an earlier one, or none. */
  readonly appended: Appended | null;
  readonly answers: readonly Answer[];
  /** Why appends are refused from here on, or null. */
  readonly standing: Standing | null;
  readonly incidents: readonly Incident[];
}

export interface WorkerSetup {
  readonly folder: string;
  readonly reserveBytes: number;
  /** A new segment is begun beyond it; tests make it small. */
  readonly segmentOctets?: number | undefined;
}
