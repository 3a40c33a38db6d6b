/** Folders whose names survive power loss. */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';

const FOLDER_MODE = 0o700;
const QUARANTINE_FOLDER = 'quarantine';

/** Makes it, and what it is in, where they are missing. */
export function makeFolder(path: string): void {
  const first = mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
  if (first !== undefined) syncFolder(dirname(first));
}

/** Makes names in a folder survive power loss. */
export function syncFolder(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** @returns the folder for what is damaged, made when it is missing */
export function quarantineFolder(folder: string): string {
  const path = join(folder, QUARANTINE_FOLDER);
  makeFolder(path);
  return path;
}
