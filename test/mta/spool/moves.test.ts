/** A recipient is routed by something else from now on. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Spool } from '../../../mta/spool/spool.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { addressesOf, leaseOf, openAt, START_MS, submission } from './fixture.ts';

let folder: Folder;
let spool: Spool;
beforeEach(async () => {
  folder = await scratchFolder('spool');
  spool = await openAt(folder.path);
});
afterEach(async () => {
  await spool.close();
  await folder.remove();
});

const reason = { code: 'new', text: 'x', sinceMs: START_MS };
const move = (message: number, index: number, domain: string) =>
  ({
    key: { message, index },
    kind: 'deferred',
    dueMs: START_MS,
    attempts: 0,
    reason,
    domain,
  }) as const;

test.each([['normal'], ['urgent']] as const)(
  '%s mail is found under its new domain alone, at once and after a restart',
  async (priority) => {
    // Lanes of both domains are known before.
    await spool.append(submission(['z@y.example'], { tenant: 'other' }));
    const id = await spool.append(
      submission(['a@x.example', 'b@x.example'], { priority, tenant: 'acme' }),
    );
    await spool.lease(leaseOf(['x.example', 'y.example']));
    await spool.settle([move(id, 1, 'y.example')], []);
    expect(await spool.domains(null, 10)).toEqual([{ domain: 'y.example', nextDueMs: START_MS }]);
    const { messages } = await spool.lease(leaseOf(['y.example']));
    expect(addressesOf(messages)).toEqual([['b@x.example']]);
    expect(messages[0]!.recipients[0]!.domain).toBe('y.example');
    await spool.close();
    spool = await openAt(folder.path);
    expect((await spool.inspect(id)).map(({ address, domain }) => [address, domain])).toEqual([
      ['a@x.example', 'x.example'],
      ['b@x.example', 'y.example'],
    ]);
    expect(await spool.list({ domain: 'y.example', after: null, limit: 10 })).toHaveLength(2);
  },
);
