/**
 * Taking a damaged message out of the way: what can still be read of it goes to files that an operator
 * can look at and send again, then its rows are deleted. Nothing is deleted before the files are synced.
 */
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type Database from 'better-sqlite3';
import { formatMessageId, type MessageId } from '../envelope.ts';
import type { Totals } from './append.ts';
import type { Damage } from './handout.ts';
import type { Lane } from './lanes.ts';
import { quarantineFolder, syncFolder } from './schema.ts';

const FILE_MODE = 0o600;

/** What is left of a message. */
export interface Remains {
  readonly message: MessageId;
  readonly damage: Damage;
  /** Without content; null when the row is unreadable or missing. */
  readonly head: object | null;
  readonly recipients: readonly QuarantinedRecipient[];
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
export function readRemains(db: Database.Database, message: MessageId, damage: Damage): Remains {
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
    content: readable(() =>
      db
        .prepare<[MessageId], Uint8Array>('SELECT content FROM messages WHERE id = ?')
        .pluck()
        .get(message),
    ),
  };
}

/** @returns the path that the files have in common, without .eml and .json */
export function exportRemains(folder: string, remains: Remains, nowMs: number): string {
  const target = quarantineFolder(folder);
  const path = join(target, formatMessageId(remains.message));
  const { content, ...rest } = remains;
  if (content !== null) writeSynced(`${path}.eml`, content);
  const report = { ...rest, id: formatMessageId(remains.message), foundAtMs: nowMs };
  writeSynced(`${path}.json`, `${JSON.stringify(report, null, 2)}\n`);
  syncFolder(target);
  return path;
}

/** Runs inside a transaction. The row of an unreadable content stays: freeing its pages needs them read. */
export function deleteRemains(db: Database.Database, remains: Remains, totals: Totals): void {
  const { message } = remains;
  totals.recipients -= db.prepare('DELETE FROM recipients WHERE message = ?').run(message).changes;
  if (remains.content !== null) db.prepare('DELETE FROM messages WHERE id = ?').run(message);
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
