/**
 * Taking a damaged message out of the way: what can still be read of it goes to files that an operator
 * can look at and send again, then its rows are deleted. Nothing is deleted before the files are synced.
 */
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { formatMessageId, type MessageId } from '../envelope.ts';
import type { Totals } from './append.ts';
import { quarantineFolder, syncFolder } from './folder.ts';
import type { Damage } from './handout.ts';
import type { Lane } from './lanes.ts';
import type { SegmentId } from './segment-file.ts';
import type { Segments } from './segments.ts';

const FILE_MODE = 0o600;

/** What is left of a message. */
export interface Remains {
  readonly message: MessageId;
  readonly damage: Damage;
  /** Without content; null when the row is unreadable or missing. */
  readonly head: object | null;
  readonly recipients: readonly QuarantinedRecipient[];
  /** Where the content is; segment is null where it is in the row. */
  readonly place: {
    readonly segment: SegmentId | null;
    readonly at: number | null;
    readonly content_octets: number;
  } | null;
  /** As much of it as can be read. */
  readonly content: Uint8Array | null;
}

export interface QuarantinedRecipient {
  readonly n: number;
  readonly domain: string;
  readonly address: string;
  readonly due_ms: number;
  readonly lane: Lane;
}

/** @throws when even the recipients cannot be read: then the damage is not this message's alone */
export function readRemains(
  db: Database.Database,
  segments: Segments,
  { message, damage }: Pick<Remains, 'message' | 'damage'>,
): Remains {
  const place = readable(() =>
    db
      .prepare<[MessageId], Remains['place']>(
        'SELECT segment, at, content_octets FROM messages WHERE id = ?',
      )
      .get(message),
  );
  return {
    message,
    damage,
    head: readable(() =>
      db
        .prepare<[MessageId], object>(
          `SELECT reverse_path, body, smtp_utf8, received_ms, origin, recipients, content_octets,
             content_crc32, tenant, campaign, extra FROM messages WHERE id = ?`,
        )
        .get(message),
    ),
    recipients: db
      .prepare<[MessageId], QuarantinedRecipient>('SELECT * FROM recipients WHERE message = ?')
      .all(message),
    place,
    content:
      place === null || place.segment === null || place.at === null
        ? readable(() =>
            db
              .prepare<[MessageId], Uint8Array>('SELECT content FROM messages WHERE id = ?')
              .pluck()
              .get(message),
          )
        : segments.remains({ segment: place.segment, at: place.at }, place.content_octets),
  };
}

/** @returns the path that the files have in common, without .eml and .json */
export function exportRemains(folder: string, remains: Remains, nowMs: number): string {
  const target = quarantineFolder(folder);
  const path = join(target, formatMessageId(remains.message));
  const { content, place: _, ...rest } = remains;
  if (content !== null) writeSynced(`${path}.eml`, content);
  const report = { ...rest, id: formatMessageId(remains.message), foundAtMs: nowMs };
  writeSynced(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`);
  syncFolder(target);
  return path;
}

/** Runs inside a transaction. The row of an unreadable content inside the database stays: freeing its pages needs them read. */
export function deleteRemains(
  db: Database.Database,
  segments: Segments,
  remains: Remains,
  totals: Totals,
): void {
  const { message, place } = remains;
  const segment = place?.segment ?? null;
  totals.recipients -= db.prepare('DELETE FROM recipients WHERE message = ?').run(message).changes;
  if (segment !== null || remains.content !== null)
    db.prepare('DELETE FROM messages WHERE id = ?').run(message);
  if (segment !== null) segments.want(segment, -1, -place!.content_octets);
  if (remains.head !== null) totals.messages -= 1;
  totals.quarantined += 1;
}

function readable<T>(read: () => T | undefined): T | null {
  try {
    return read() ?? null;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'SQLITE_CORRUPT') return null;
    throw error;
  }
}

function writeSynced(path: string, content: string | Uint8Array): void {
  const fd = openSync(path, 'w', FILE_MODE);
  try {
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
