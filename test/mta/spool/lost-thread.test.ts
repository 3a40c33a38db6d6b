/** The spool's thread dies under the mta: nothing can bring it back, so somebody must be told. */
import type { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { scratchFolder } from '../../support/scratch.ts';
import { leaseOf, openAt, submission } from './fixture.ts';

/** Runs `make`. @returns what it made, and the thread that was started meanwhile */
async function withThread<T>(make: () => Promise<T>): Promise<readonly [T, Worker]> {
  const started = new Promise<Worker>((resolve) => {
    process.once('worker', resolve);
  });
  return [await make(), await started];
}

test('the death of the thread is told once, and what waits is refused', async () => {
  const folder = await scratchFolder('spool');
  const losses: Error[] = [];
  let tell = (): void => undefined;
  const told = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const onLost = (error: Error): void => {
    losses.push(error);
    tell();
  };
  const [spool, thread] = await withThread(() => openAt(folder.path, { onLost }));
  await spool.append(submission(['a@x.example']));
  const waiting = spool.append(submission(['b@x.example']));
  await thread.terminate();
  // Kept or not: its caller was not told that it was.
  await waiting.catch((error: unknown) => expect(error).toMatchObject({ trouble: 'closed' }));
  await told;
  expect(losses).toMatchObject([{ code: 'MTA_SPOOL_LOST' }]);
  await expect(spool.lease(leaseOf(['x.example']))).rejects.toMatchObject({ trouble: 'closed' });
  await spool.close();
  expect(losses).toHaveLength(1);

  const again = await openAt(folder.path, { onLost });
  const { messages } = await again.lease(leaseOf(['x.example']));
  expect(messages[0]?.recipients[0]?.address).toBe('a@x.example');
  await again.close();
  expect(losses).toHaveLength(1);
  await folder.remove();
});
