/**
 * Freeing segments that a few long-lived messages keep: their contents are copied to the end of the log,
 * a little with each step.
 *
 * Invariants
 * - A segment is begun with when at most SHARE_MAX of it is wanted, so that an octet that stays is copied
 *   once for three that go; and when that has been so for QUIET_MS, since a queue that is being worked off
 *   frees its segments by itself.
 * - A step looks at STEP_OCTETS of one segment, and copies what is wanted of that.
 * - A content that is damaged stays where it is, and is told of when its turn comes.
 */
import { crc32 } from 'node:zlib';
import type Database from 'better-sqlite3';
import { type Body, type MessageId, PRIORITIES } from '../envelope.ts';
import type { Meta } from './draft.ts';
import type { Outcome } from './journal.ts';
import { type Lane, rankOf } from './lanes.ts';
import { placeNotices } from './notices.ts';
import { findHeader, HEADER_OCTETS, RecordKind, readHeader, recordOctets } from './record.ts';
import { SEGMENT_HEAD_OCTETS, type SegmentFile, type SegmentId } from './segment-file.ts';
import type { Place, Segments, Sparse } from './segments.ts';

const SHARE_MAX = 0.25;
const QUIET_MS = 10_000;
const STEP_OCTETS = 4 * 1_048_576;

/** A content that is to be copied. */
export interface Living {
  readonly message: MessageId;
  /** As the index has it now: with those recipients that are left. So a log alone can make the index anew. */
  readonly meta: Meta;
  readonly content: Buffer;
}

interface Row {
  readonly reversePath: string;
  readonly body: Body;
  readonly smtpUtf8: number;
  readonly receivedAtMs: number;
  readonly origin: string;
  readonly tenant: string;
  readonly campaign: string;
  readonly extra: string | null;
  readonly segment: SegmentId | null;
  readonly at: number | null;
  readonly octets: number;
  readonly crc: number;
}

interface LeftRow {
  readonly index: number;
  readonly domain: string;
  readonly address: string;
  readonly dueMs: number;
  readonly lane: Lane;
  readonly extra: string | null;
}

export class Compactor {
  readonly #segments: Segments;
  readonly #left: Database.Statement<[MessageId], LeftRow>;
  readonly #row: Database.Statement<[MessageId], Row>;
  #cursor: Place | null = null;
  /** The next one, as it has been since then; wall ms. */
  #next: (Sparse & { readonly sinceMs: number }) | null = null;

  constructor(db: Database.Database, segments: Segments) {
    this.#segments = segments;
    this.#row = db.prepare(
      `SELECT segment, at, content_octets AS octets, content_crc32 AS crc,
         reverse_path AS reversePath, body, smtp_utf8 AS smtpUtf8, received_ms AS receivedAtMs, origin,
         tenant, campaign, extra
       FROM messages WHERE id = ?`,
    );
    this.#left = db.prepare(
      `SELECT n AS "index", domain, address, due_ms AS dueMs, lane, extra
       FROM recipients WHERE message = ? ORDER BY n`,
    );
  }

  /** @param before segments from this one on are let be. @returns what the next part has that is wanted */
  step(before: SegmentId, nowMs: number): Living[] {
    const start = this.#cursor ?? this.#begin(before, nowMs);
    this.#cursor = null;
    const file = start === null ? null : this.#segments.file(start.segment);
    if (start === null || file === null) return [];
    const living: Living[] = [];
    let { at } = start;
    while (at < start.at + STEP_OCTETS && at < file.end) at = this.#look(file, at, living);
    if (at < file.end) this.#cursor = { segment: start.segment, at };
    return living;
  }

  #begin(before: SegmentId, nowMs: number): Place | null {
    const sparse = this.#segments.sparsest(before, SHARE_MAX);
    const known = this.#next;
    if (known === null || sparse?.id !== known.id || sparse.octets !== known.octets) {
      this.#next = sparse === null ? null : { ...sparse, sinceMs: nowMs };
      return null;
    }
    if (nowMs - known.sinceMs < QUIET_MS) return null;
    this.#next = null;
    return { segment: known.id, at: SEGMENT_HEAD_OCTETS };
  }

  /** Looks at one record. @returns where the next one begins */
  #look(file: SegmentFile, at: number, living: Living[]): number {
    const head = this.#read(file, at, HEADER_OCTETS);
    const header = readHeader(head, 0, file.salt);
    if (header === null) {
      const rest = this.#read(file, at, STEP_OCTETS);
      return at + findHeader(rest, 1, file.salt);
    }
    const { kind, id, metaOctets, contentOctets } = header;
    const contentAt = at + HEADER_OCTETS + metaOctets;
    if (kind === RecordKind.outcome) {
      const meta = this.#read(file, at + HEADER_OCTETS, metaOctets);
      if (crc32(meta) === header.metaCrc) {
        const { notices } = JSON.parse(meta.toString()) as Outcome;
        const place = { segment: file.id, at: contentAt };
        for (const notice of placeNotices(notices, id, place)) {
          this.#lookAt(file, notice.id, notice.place.at, living);
        }
      }
    } else if (kind !== RecordKind.nothing) {
      this.#lookAt(file, id, contentAt, living);
    }
    return at + recordOctets(metaOctets, contentOctets);
  }

  #lookAt(file: SegmentFile, message: MessageId, at: number, living: Living[]): void {
    const row = this.#row.get(message);
    if (row === undefined || row.segment !== file.id || row.at !== at) return;
    const content = this.#read(file, at, row.octets);
    if (content.length === row.octets && crc32(content) === row.crc) {
      living.push({ message, content, meta: metaOf(row, this.#left.all(message)) });
    }
  }

  #read(file: SegmentFile, at: number, octets: number): Buffer {
    const buffer = Buffer.allocUnsafe(octets);
    return buffer.subarray(0, file.read(buffer, 0, octets, at));
  }
}

function metaOf(row: Row, left: readonly LeftRow[]): Meta {
  const { reversePath, body, smtpUtf8, receivedAtMs, origin, tenant, campaign, extra } = row;
  return {
    envelope: {
      reversePath,
      recipients: left.map(({ index, domain, address, extra: own }) =>
        own === null ? { index, domain, address } : { index, domain, address, extra: own },
      ),
      body,
      smtpUtf8: smtpUtf8 === 1,
    },
    receivedAtMs,
    origin,
    tenant,
    campaign,
    priority: PRIORITIES[rankOf(left[0]?.lane ?? 1)]!,
    notBeforeMs: Math.min(...left.map(({ dueMs }) => dueMs)),
    ...(extra === null ? {} : { extra }),
  };
}
