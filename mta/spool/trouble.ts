/** Why a store refuses: from an error's code to a {@link StoreTrouble}, and what an operator can do. */
import type { SpoolTrouble } from '../errors.ts';

/** Finer than what callers need to tell apart; trouble() shows it to operators. */
export type StoreTrouble =
  | SpoolTrouble
  /** The database is damaged in a place that concerns more than one message. */
  | 'corrupt'
  /** Written by a newer version, or by another program. */
  | 'incompatible'
  /** More waits to be written than the engine's own bounds allow. */
  | 'busy';

/** As callers see it, who answer their clients all alike: not now. */
export function asSpoolTrouble(trouble: StoreTrouble): SpoolTrouble {
  switch (trouble) {
    case 'corrupt':
    case 'busy':
      return 'io';
    case 'incompatible':
      return 'not-writable';
    default:
      return trouble;
  }
}

/** The store's own refusal; everything else it meets is an error of SQLite or of the file system. */
export class StoreFault extends Error {
  override readonly name = 'StoreFault';
  readonly code = 'MTA_STORE_FAULT';
  readonly trouble: StoreTrouble;
  constructor(trouble: StoreTrouble, message: string) {
    super(message);
    this.trouble = trouble;
  }
}

/** SQLite's primary result codes; the extended ones begin with them. */
const SQLITE_TROUBLE: readonly (readonly [prefix: string, trouble: StoreTrouble])[] = [
  ['SQLITE_FULL', 'full'],
  ['SQLITE_READONLY', 'read-only'],
  ['SQLITE_BUSY', 'in-use'],
  ['SQLITE_LOCKED', 'in-use'],
  ['SQLITE_CANTOPEN', 'not-writable'],
  ['SQLITE_PERM', 'not-writable'],
  ['SQLITE_AUTH', 'not-writable'],
  ['SQLITE_CORRUPT', 'corrupt'],
  ['SQLITE_NOTADB', 'corrupt'],
  ['SQLITE_IOERR', 'io'],
  ['SQLITE_PROTOCOL', 'io'],
  ['SQLITE_NOMEM', 'io'],
];

const SYSTEM_TROUBLE: Readonly<Record<string, StoreTrouble>> = {
  ENOSPC: 'full',
  EDQUOT: 'full',
  EROFS: 'read-only',
  EACCES: 'not-writable',
  EPERM: 'not-writable',
  ENOTDIR: 'not-writable',
  ENOENT: 'not-writable',
  EEXIST: 'not-writable',
};

/** @returns null when the error is no trouble of storage but a mistake of ours */
export function troubleOf(error: unknown): StoreTrouble | null {
  if (error instanceof StoreFault) return error.trouble;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const known =
    SQLITE_TROUBLE.find(([prefix]) => code.startsWith(prefix))?.[1] ?? SYSTEM_TROUBLE[code];
  return known ?? (isOfTheSystem(error) ? 'io' : null);
}

/** A call of the system failed: EIO, EFBIG under a limit of file sizes, ESTALE, and whatever else there is. */
const isOfTheSystem = (error: unknown): boolean => error instanceof Error && 'syscall' in error;

/** What ends each trouble. Mail is taken again within a second of it, unless the sentence says otherwise. */
export const REMEDY: Readonly<Record<StoreTrouble, string>> = {
  full: 'free space on the disk of the spool',
  reserve: 'free space on the disk of the spool, or lower mta.spool_reserve',
  'read-only': 'mount the file system of the spool writable',
  'not-writable': 'let this user write to the folder of the spool, or set mta.spool to another',
  'in-use': 'stop the other process, or set mta.spool to another folder',
  io: 'see the system log for the disk of the spool, and the limits of this process (ulimit -a)',
  corrupt:
    'see the system log for the disk of the spool: its index was damaged, made anew, and damaged again',
  incompatible: 'start the version that wrote the spool, or set mta.spool to another folder',
  busy: 'wait: the disk of the spool is slower than what comes in',
  closed: 'start the mta again',
};
