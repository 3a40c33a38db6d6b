/** One idempotency key is one message, across settlement and restart, until its time is over. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SubmittedBefore } from '../../../mta/errors.ts';
import { ManualClock } from '../../support/clock.ts';
import { scratchFolder } from '../../support/scratch.ts';
import { leaseOf, openAt, START_MS, submission } from './fixture.ts';

const HOUR_MS = 3_600_000;
const keyed = (key: string, digest = 'd1') => ({
  ...submission(['a@x.example']),
  once: { key, digest, untilMs: START_MS + HOUR_MS },
});
const settle = (error: unknown) => error;

test('a repetition is refused with the message of then, also after delivery and restart', async () => {
  const folder = await scratchFolder('spool');
  const path = join(folder.path, 'spool');
  const clock = new ManualClock(0, START_MS);
  let spool = await openAt(path, { clock });
  // In one batch too: both are on their way at once.
  const [id, twin] = await Promise.all([
    spool.append(keyed('k')),
    spool.append(keyed('k', 'd2')).catch(settle),
  ]);
  expect(twin).toBeInstanceOf(SubmittedBefore);
  expect(twin).toMatchObject({ messageId: id, digest: 'd1' });
  await spool.append(keyed('other'));
  expect(await spool.counts()).toMatchObject({ messages: 2, queued: 2 });

  const { messages } = await spool.lease(leaseOf(['x.example']));
  const done = messages.map(({ message }) => ({
    key: { message, index: 0 },
    kind: 'done' as const,
  }));
  await spool.settle(done, []);
  await spool.close();
  spool = await openAt(path, { clock });
  expect(await spool.append(keyed('k')).catch(settle)).toMatchObject({ messageId: id });
  expect(await spool.counts()).toMatchObject({ messages: 0, queued: 0 });

  clock.advance(HOUR_MS);
  const later = await spool.append(keyed('k'));
  expect(later).toBeGreaterThan(id as number);
  await spool.close();
  await folder.remove();
});
