/** Lives of a spool in processes whose calls to the disk are watched; see disk.c and life.ts. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** @returns the library to be preloaded */
export async function buildWatcher(folder: string): Promise<string> {
  const library = join(folder, 'disk.so');
  const args = ['-shared', '-fPIC', '-o', library, fileOf('disk.c'), '-lpthread'];
  const { status, stderr } = spawnSync('gcc', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return library;
}

/** Lives in `root`/spool; `root` is made. @param args of the script, but for the folder */
export async function watchLife(
  library: string,
  root: string,
  env: Readonly<Record<string, string>>,
  args: readonly string[],
  script = 'life.ts',
): Promise<SpawnSyncReturns<string>> {
  await mkdir(root);
  return spawnSync(process.execPath, [fileOf(script), join(root, 'spool'), ...args], {
    env: { ...process.env, ...env, DISK_ROOT: root, LD_PRELOAD: library },
    encoding: 'utf8',
  });
}
