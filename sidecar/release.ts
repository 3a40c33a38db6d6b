/**
 * What is on the disk by now: the version that an upgrade starts. The command line names the entry,
 * through a symbolic link perhaps; a running program stays with the files that the link led to when it
 * started.
 */
import { existsSync, realpathSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PINNED_NODE = `node-${process.platform}-${process.arch}/bin/node`;

export interface Release {
  /** Module of the children. */
  readonly module: string;
  /** The Node to run it. */
  readonly execPath: string;
}

/** @param entry as the command line has it: a file beside child.ts, or a link to one */
export function releaseAt(entry: string): Release {
  const folder = dirname(realpathSync(entry));
  return { module: join(folder, 'child.ts'), execPath: nodeOf(folder) };
}

/** The one that runs us. */
export const ownRelease = (): Release => ({
  module: fileURLToPath(new URL('child.ts', import.meta.url)),
  execPath: process.execPath,
});

/** The Node pinned there, if ours is the one pinned here; else ours, which somebody chose. */
function nodeOf(folder: string): string {
  const here = pinnedNode(dirname(fileURLToPath(import.meta.url)));
  if (here === null || here !== realpathSync(process.execPath)) return process.execPath;
  return pinnedNode(folder) ?? process.execPath;
}

function pinnedNode(folder: string): string | null {
  try {
    const path = createRequire(join(folder, 'child.ts')).resolve(PINNED_NODE);
    return existsSync(path) ? realpathSync(path) : null;
  } catch {
    return null;
  }
}
