/**
 * Messages that ask for no more than memory: acknowledged before they are synced, synced at once after, and
 * not lost with the process.
 */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { requirePeer } from '../../../support/peers.ts';
import { scratchFolder } from '../../../support/scratch.ts';
import { openAt } from '../fixture.ts';
import { Trace } from './trace.ts';
import { buildWatcher, watchLife } from './watch.ts';

requirePeer('gcc', 'loopback-network')('messages that may be in memory', () => {
  test('are acknowledged before they are synced, others after, and a kill loses neither', async () => {
    const scratch = await scratchFolder('memory');
    const [root, file] = [join(scratch.path, 'whole'), join(scratch.path, 'trace')];
    const library = await buildWatcher(scratch.path);
    const life = await watchLife(library, root, { DISK_TRACE: file }, [], 'memory-life.ts');
    expect(life).toMatchObject({ status: 0, stderr: '' });
    const trace = new Trace(await readFile(file), root);
    expect(trace.unsyncedPromises(/^memory/)).toBe(10);
    expect(trace.unsyncedPromises(/^fsync/)).toBe(0);

    const lastPromise = trace
      .turningPoints()
      .findLast((at) => trace.linesBefore(at).length === 19)!;
    const killed = join(scratch.path, 'killed');
    await mkdir(killed);
    await trace.writeKilled(lastPromise, killed);
    const spool = await openAt(join(killed, 'spool'));
    expect((await spool.counts()).messages).toBeGreaterThanOrEqual(19);
    await spool.close();
    await scratch.remove();
  });
});
