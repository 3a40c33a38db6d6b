/**
 * A spool's life cut short at every kind of point: between any two calls that change or sync a file, by
 * kill -9 and by loss of power, and by a real kill within a call. Whatever it had promised by then is kept.
 */
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { seededFraction } from '../../../../bench/load/internet.ts';
import { requirePeer } from '../../../support/peers.ts';
import { type Folder, scratchFolder } from '../../../support/scratch.ts';
import { Promises } from './promises.ts';
import { Trace } from './trace.ts';
import { buildWatcher, watchLife } from './watch.ts';

/** Spools opened at once: each mostly waits for its thread. */
const AT_ONCE = 4;

requirePeer('gcc', 'loopback-network')('a spool that is cut short', () => {
  let scratch: Folder;
  let library: string;
  let trace: Trace;
  beforeAll(async () => {
    scratch = await scratchFolder('crash-points');
    library = await buildWatcher(scratch.path);
    const file = join(scratch.path, 'trace');
    const root = join(scratch.path, 'whole');
    expect((await watchLife(library, root, { DISK_TRACE: file }, ['2'])).status).toBe(0);
    trace = new Trace(await readFile(file), root);
  });
  afterAll(() => scratch.remove());

  /** @returns how many promises had been made by the last of the points */
  async function expectKeptAt(
    points: readonly number[],
    how: string,
    write: (at: number, folder: string) => Promise<void>,
  ): Promise<number> {
    let kept = 0;
    const left = points.values();
    const work = async (): Promise<void> => {
      for (const at of left) {
        const promises = new Promises(trace.linesBefore(at));
        kept = Math.max(kept, promises.count);
        const folder = join(scratch.path, `crashed-${at}`);
        await mkdir(folder);
        await write(at, folder);
        await promises.expectKeptIn(join(folder, 'spool'), `${how} before ${trace.describe(at)}`);
        await rm(folder, { recursive: true });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    return kept;
  }

  const someOf = (offset: number): number[] =>
    trace.turningPoints().filter((_, n) => n % 5 === offset);

  test('by kill -9 before a sync, renaming, deletion or reply', async () => {
    const kept = await expectKeptAt(someOf(0), 'killed', (at, folder) =>
      trace.writeKilled(at, folder),
    );
    expect(kept).toBeGreaterThan(72);
  }, 180_000);

  test.each([1, 2])(
    'by loss of power at such a point, seed %i',
    async (seed) => {
      const fraction = seededFraction(seed);
      await expectKeptAt(someOf(seed), 'powerless', (at, folder) =>
        trace.writePowerless(at, folder, fraction),
      );
    },
    180_000,
  );

  test('by a kill before, in the middle of and after a call', async () => {
    const fraction = seededFraction(4);
    const lines: number[] = [];
    for (const how of ['before', 'half', 'after', 'half', 'before', 'half']) {
      const root = join(scratch.path, `killed-${lines.length}`);
      const at = 30 + Math.floor(fraction() * (trace.callsOnDisk / 2));
      const { signal, stdout } = await watchLife(library, root, { DISK_KILL: `${at}:${how}` }, [
        '2',
      ]);
      expect(signal).toBe('SIGKILL');
      lines.push(stdout.split('\n').length);
      const promises = new Promises(stdout.split('\n').slice(0, -1));
      await promises.expectKeptIn(join(root, 'spool'), `${how} call ${at}`);
    }
    expect(Math.max(...lines)).toBeGreaterThan(10);
  }, 180_000);
});
