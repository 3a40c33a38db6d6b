/**
 * The database file: where it lives, how it is opened, and which tables it has.
 *
 * Invariants
 * - One process has the file, and with an exclusive lock: a second one is refused.
 * - A commit survives the process, and after a loss of power the file is as some earlier commit left it
 *   (WAL, synchronous NORMAL): what came later is in the log, see journal.ts. A checkpoint is durable.
 * - A file of a newer schema, or of another program, is left as it is.
 * - A file that is no database any more is moved to quarantine/, never deleted. The log stays, and a new
 *   file is filled from it.
 */
import {
  accessSync,
  constants,
  existsSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { makeFolder, quarantineFolder, syncFolder } from './folder.ts';
import type { Incident } from './protocol.ts';
import { StoreFault, troubleOf } from './trouble.ts';

export const DATABASE_FILE = 'spool.sqlite';
const OWNER_FILE = 'owner.pid';

/** "PsSp": marks the file as ours. */
const APPLICATION_ID = 0x5073_5370;
const SCHEMA_VERSION = 5;

/** Of 4 to 64 KiB, 8 KiB cost least CPU when 10 KB contents were in the file, and still hold some fifty rows. */
export const PAGE_OCTETS = 8192;
/** Bound on SQLite's page cache. */
const CACHE_OCTETS_MAX = 48 * 1_048_576;
/** The log is copied into the file when it has grown to this; larger ones fsync less often. */
const CHECKPOINT_OCTETS = 32 * 1_048_576;
/** Room that the log may keep on disk between checkpoints. */
export const LOG_OCTETS_KEPT = 64 * 1_048_576;

/** Idempotency keys, kept beyond their messages. */
const ONCE = `
  CREATE TABLE once (
    key      TEXT PRIMARY KEY,
    digest   TEXT NOT NULL,
    message  INTEGER NOT NULL,
    until_ms INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX once_until ON once (until_ms);
`;

/** What is still wanted of each segment file. */
const SEGMENTS = `
  CREATE TABLE segments (
    id       INTEGER PRIMARY KEY,
    messages INTEGER NOT NULL,
    octets   INTEGER NOT NULL      -- of contents
  );
`;

/** Of the log: where reading it begins after a crash, and up to where the index has heard of it. */
const LOG_PLACES = [
  'low_segment INTEGER NOT NULL DEFAULT 0',
  'low_at INTEGER NOT NULL DEFAULT 0',
  'applied_segment INTEGER NOT NULL DEFAULT 0',
  'applied_at INTEGER NOT NULL DEFAULT 0',
];

const TABLES = `
  CREATE TABLE messages (
    id             INTEGER PRIMARY KEY,
    reverse_path   TEXT NOT NULL,
    body           TEXT NOT NULL,
    smtp_utf8      INTEGER NOT NULL,
    received_ms    INTEGER NOT NULL,
    origin         TEXT NOT NULL,
    recipients     INTEGER NOT NULL, -- as accepted; not counted down
    content_octets INTEGER NOT NULL,
    content_crc32  INTEGER NOT NULL,
    tenant         TEXT NOT NULL DEFAULT '',
    campaign       TEXT NOT NULL DEFAULT '',
    extra          TEXT,             -- of the front door's own making
    segment        INTEGER,          -- NULL where an older version has put the content here
    at             INTEGER,          -- octet of the segment at which the content begins
    sum            INTEGER,          -- of its id and reverse-path; NULL in rows of an older version
    content        BLOB              -- last, so that the other columns are read without it
  );
  CREATE TABLE recipients (
    message         INTEGER NOT NULL,
    n               INTEGER NOT NULL,
    domain          TEXT NOT NULL,
    address         TEXT NOT NULL,
    due_ms          INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    reason_code     TEXT,            -- NULL until the first attempt ends
    reason_text     TEXT,
    reason_since_ms INTEGER,
    lane            INTEGER NOT NULL DEFAULT 1,
    extra           TEXT,
    sum             INTEGER,         -- of who it is and where it goes; NULL in rows of an older version
    PRIMARY KEY (message, n)
  ) WITHOUT ROWID;
  -- The primary key follows implicitly: (domain, lane, due_ms, message, n).
  CREATE INDEX recipients_due ON recipients (domain, lane, due_ms);
  CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE state (
    only        INTEGER PRIMARY KEY CHECK (only = 1),
    last_id     INTEGER NOT NULL,    -- no id up to this one is given again
    messages    INTEGER NOT NULL,
    recipients  INTEGER NOT NULL,
    quarantined INTEGER NOT NULL,
    ${LOG_PLACES.join(', ')}
  );
  INSERT INTO state (only, last_id, messages, recipients, quarantined) VALUES (1, 0, 0, 0, 0);
  ${ONCE}
  ${SEGMENTS}
`;

/** From the version that is the index to the next; rows keep what they have, as normal mail of no tenant. */
const MIGRATIONS: Readonly<Record<number, string>> = {
  1: `
    ALTER TABLE messages ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
    ALTER TABLE messages ADD COLUMN campaign TEXT NOT NULL DEFAULT '';
    ALTER TABLE messages ADD COLUMN extra TEXT;
    ALTER TABLE recipients ADD COLUMN lane INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE recipients ADD COLUMN extra TEXT;
    DROP INDEX recipients_due;
    CREATE INDEX recipients_due ON recipients (domain, lane, due_ms);
    CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  `,
  2: ONCE,
  3: `
    ALTER TABLE messages ADD COLUMN segment INTEGER;
    ALTER TABLE messages ADD COLUMN at INTEGER;
    ${LOG_PLACES.map((column) => `ALTER TABLE state ADD COLUMN ${column};`).join(' ')}
    ${SEGMENTS}
  `,
  4: `
    ALTER TABLE messages ADD COLUMN sum INTEGER;
    ALTER TABLE recipients ADD COLUMN sum INTEGER;
  `,
};

/**
 * Opens the spool of a folder, making folder and file where they are missing.
 *
 * @param nowMs wall time, names what is moved to quarantine
 * @throws StoreFault, or an error of SQLite or the file system that troubleOf() knows
 */
export function openDatabase(
  folder: string,
  nowMs: number,
  report: (incident: Incident) => void,
): Database.Database {
  makeFolder(folder);
  accessSync(folder, constants.W_OK | constants.X_OK);
  try {
    return openFile(folder);
  } catch (error) {
    if (troubleOf(error) !== 'corrupt') throw error;
    discardIndex(folder, { nowMs, cause: String(error), report });
    return openFile(folder);
  }
}

/** Moves a damaged database to quarantine, so that the next one is made anew from the log. */
export function discardIndex(
  folder: string,
  {
    nowMs,
    cause,
    report,
  }: {
    readonly nowMs: number;
    readonly cause: string;
    readonly report: (incident: Incident) => void;
  },
): void {
  const target = moveAside(folder, nowMs);
  report({
    level: 'error',
    fields: { folder, target, cause },
    message:
      'the index of the spool is damaged; moved it to quarantine, and makes it anew from the log: mail delivered before may go out once more',
  });
}

function openFile(folder: string): Database.Database {
  const path = join(folder, DATABASE_FILE);
  const isNew = octetsOf(path) === 0;
  // SQLite would take the log of an empty file for a leftover, and delete it.
  if (isNew && octetsOf(`${path}-wal`) > 0) {
    throw new StoreFault('corrupt', `${path} is empty, but its log is not`);
  }
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    const version = checkIdentity(db, path);
    // Both are of the file, not of the connection; and setting the second one again writes to it.
    if (version === 0) db.pragma(`page_size = ${PAGE_OCTETS}`);
    if (version === 0) db.pragma('auto_vacuum = INCREMENTAL');
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    db.pragma(`wal_autocheckpoint = ${CHECKPOINT_OCTETS / PAGE_OCTETS}`);
    db.pragma(`journal_size_limit = ${LOG_OCTETS_KEPT}`);
    db.pragma(`cache_size = ${-CACHE_OCTETS_MAX / 1024}`);
    db.pragma('cell_size_check = ON');
    if (version === 0) createTables(db);
    else migrate(db, version);
    // Takes the lock now, rather than when the first message comes.
    db.exec('BEGIN IMMEDIATE; COMMIT');
    if (isNew) syncFolder(folder);
  } catch (error) {
    db.close();
    throw troubleOf(error) === 'in-use' ? inUse(folder) : error;
  }
  nameOwner(folder);
  return db;
}

const octetsOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

/** @returns the schema's version, 0 when the file is empty */
function checkIdentity(db: Database.Database, path: string): number {
  const applicationId = db.pragma('application_id', { simple: true });
  const version = Number(db.pragma('user_version', { simple: true }));
  const tables = db.prepare('SELECT count(*) FROM sqlite_schema').pluck().get();
  if (applicationId === 0 && version === 0 && tables === 0) return 0;
  if (applicationId !== APPLICATION_ID) {
    throw new StoreFault('incompatible', `${path} is the database of another program`);
  }
  if (version > SCHEMA_VERSION) {
    throw new StoreFault(
      'incompatible',
      `${path} has schema ${version}, this program knows up to ${SCHEMA_VERSION}: use the program that wrote it, or a newer one`,
    );
  }
  return version;
}

function createTables(db: Database.Database): void {
  db.transaction(() => {
    db.exec(TABLES);
    db.pragma(`application_id = ${APPLICATION_ID}`);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

/** All steps or none; a crash or a full disk leaves the file as it was. */
function migrate(db: Database.Database, from: number): void {
  if (from === SCHEMA_VERSION) return;
  db.transaction(() => {
    for (let version = from; version < SCHEMA_VERSION; version += 1) db.exec(MIGRATIONS[version]!);
    db.pragma(`user_version = ${SCHEMA_VERSION}`);
  }).immediate();
}

/** For {@link inUse} of others; the lock itself is SQLite's. */
function nameOwner(folder: string): void {
  try {
    writeFileSync(join(folder, OWNER_FILE), `${process.pid}\n`);
  } catch {
    // A full disk must not keep the queue from being worked off.
  }
}

/** The holder of the lock wrote its process id after it got the lock. */
function inUse(folder: string): StoreFault {
  let pid = '';
  try {
    pid = readFileSync(join(folder, OWNER_FILE), 'latin1').trim();
  } catch {
    // Without the file the holder stays unnamed.
  }
  const holder = /^\d{1,10}$/.test(pid) ? `process ${pid}` : 'another process';
  return new StoreFault('in-use', `spool ${folder} is in use by ${holder}`);
}

/** @returns the folder that now has the damaged files */
function moveAside(folder: string, nowMs: number): string {
  const stamp = new Date(nowMs).toISOString().replaceAll(/[-:]/g, '');
  const target = join(quarantineFolder(folder), `${DATABASE_FILE}-${stamp}`);
  makeFolder(target);
  for (const suffix of ['', '-wal', '-shm', '-journal']) {
    const name = DATABASE_FILE + suffix;
    if (existsSync(join(folder, name))) renameSync(join(folder, name), join(target, name));
  }
  syncFolder(target);
  syncFolder(folder);
  return target;
}
