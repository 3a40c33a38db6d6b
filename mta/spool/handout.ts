/**
 * One message on its way out: read, checked against its checksum, and leased. A damaged one goes to
 * quarantine instead, and costs nobody else anything.
 */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { type Body, type MessageId, PRIORITIES } from '../envelope.ts';
import type { DueRow } from './due-order.ts';
import { type Lane, rankOf } from './lanes.ts';
import type { Leases } from './leases.ts';
import { type ReasonColumns, reasonOf } from './reason.ts';
import { messageSum, recipientSum } from './row-sum.ts';
import type { SegmentId } from './segment-file.ts';
import type { Segments } from './segments.ts';
import { Slab } from './slab.ts';
import type { LeasedMessage } from './spool.ts';
import { StoreFault } from './trouble.ts';

/** Why a message cannot be handed out. */
export type Damage = 'content missing' | 'content unreadable' | 'checksum mismatch';

export interface RecipientRow extends DueRow, ReasonColumns {
  readonly domain: string;
  readonly address: string;
  readonly attempts: number;
  readonly lane: Lane;
  readonly extra: string | null;
  /** NULL in rows of an older version. */
  readonly sum: number | null;
}

export interface MessageRow {
  readonly reverse_path: string;
  readonly body: Body;
  readonly smtp_utf8: number;
  readonly received_ms: number;
  /** As accepted. */
  readonly recipients: number;
  readonly content_crc32: number;
  readonly tenant: string;
  readonly campaign: string;
  readonly extra: string | null;
  readonly content: Buffer;
}

interface StoredRow extends Omit<MessageRow, 'content'> {
  readonly content_octets: number;
  readonly segment: SegmentId | null;
  readonly at: number | null;
  readonly sum: number | null;
  /** Null where a segment has it. */
  readonly content: Buffer | null;
}

/** Takes a message out of the way: afterwards its rows are gone, or leased. */
export type Quarantine = (message: MessageId, damage: Damage) => void;

export class Handout {
  readonly #leases: Leases;
  readonly #quarantine: Quarantine;
  readonly #segments: Segments;
  readonly #slab = new Slab();
  readonly #select: Database.Statement<[MessageId], StoredRow>;

  constructor(
    db: Database.Database,
    { leases, segments }: { readonly leases: Leases; readonly segments: Segments },
    quarantine: Quarantine,
  ) {
    this.#leases = leases;
    this.#segments = segments;
    this.#quarantine = quarantine;
    this.#select = db.prepare(
      `SELECT reverse_path, body, smtp_utf8, received_ms, recipients, content_crc32,
         tenant, campaign, extra, content_octets, segment, at, sum,
         CASE WHEN segment IS NULL THEN content END AS content
       FROM messages WHERE id = ?`,
    );
  }

  /** What is read from here on goes to another thread together. */
  begin(): void {
    this.#slab.begin();
  }

  /**
   * @returns null when it was damaged, and went to quarantine
   * @throws StoreFault when the index is damaged, which the log mends
   */
  read(message: MessageId): MessageRow | null {
    const row = this.#readRow(message);
    if (typeof row !== 'string') return row;
    this.#quarantine(message, row);
    return null;
  }

  /**
   * Leases the rows, all of this message and none leased.
   * @throws StoreFault when the index is damaged; then none is leased
   */
  hold(message: MessageId, row: MessageRow, rows: readonly RecipientRow[]): LeasedMessage {
    for (const recipient of rows) {
      const { n, sum } = recipient;
      if (sum !== null && sum !== recipientSum(message, n, recipient)) throw changed(message);
    }
    return {
      message,
      reversePath: row.reverse_path,
      body: row.body,
      smtpUtf8: row.smtp_utf8 === 1,
      receivedAtMs: row.received_ms,
      priority: PRIORITIES[rankOf(rows[0]!.lane)]!,
      tenant: row.tenant,
      campaign: row.campaign,
      ...(row.extra === null ? {} : { extra: row.extra }),
      content: row.content,
      recipients: rows.map((recipient) => {
        const { n: index, domain, address, attempts, due_ms: dueMs, lane, extra } = recipient;
        this.#leases.take(message, { index, domain, dueMs, lane });
        const reason = reasonOf(recipient, row.received_ms);
        if (extra === null) return { index, address, domain, attempts, reason };
        return { index, address, domain, attempts, reason, extra };
      }),
    };
  }

  #readRow(message: MessageId): MessageRow | Damage {
    const row = this.#select.get(message);
    if (row === undefined) throw new StoreFault('corrupt', `message ${message} has lost its row`);
    if (row.sum !== null && row.sum !== messageSum(message, row.reverse_path))
      throw changed(message);
    const content = contentOf(row, this.#segments, this.#slab);
    if (typeof content === 'string') return content;
    if (crc32(content) !== row.content_crc32) return 'checksum mismatch';
    return { ...row, content };
  }
}

const changed = (message: MessageId): StoreFault =>
  new StoreFault('corrupt', `a row of message ${message} has changed`);

/** The content of a row, unchecked. */
function contentOf(
  { segment, at, content, content_octets: octets }: StoredRow,
  segments: Segments,
  slab: Slab,
): Buffer | Damage {
  if (segment === null || at === null) return content ?? 'content missing';
  const read = segments.read({ segment, at }, octets, slab.roomFor);
  if (typeof read !== 'string') return read;
  return read === 'missing' ? 'content missing' : 'content unreadable';
}
