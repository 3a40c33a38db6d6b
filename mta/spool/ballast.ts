/**
 * Room kept for the index. Mail that is in the log already has to get its rows, and outcomes have to be
 * recorded, when nothing else finds room on the disk: only so can a queue that filled it be worked off.
 */
import { closeSync, fsyncSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';

const FILE = 'spool.ballast';
/** The rows of as many messages as the index may be behind, and some 50,000 outcomes. */
export const BALLAST_OCTETS = 2 * 1_048_576;

/** Makes it where there is room, else there is none. */
export function makeBallast(folder: string): void {
  const path = join(folder, FILE);
  if (statSync(path, { throwIfNoEntry: false })?.size === BALLAST_OCTETS) return;
  try {
    const fd = openSync(path, 'w', 0o600);
    try {
      // Written, not just extended: a hole holds no room.
      writeSync(fd, Buffer.alloc(BALLAST_OCTETS));
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
  } catch {
    dropBallast(folder);
  }
}

/** Gives its room to the index. */
export function dropBallast(folder: string): void {
  try {
    rmSync(join(folder, FILE), { force: true });
  } catch {
    // A file system that is read-only has no room to give.
  }
}
