import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MESSAGE_EPOCH_MS, MESSAGES_PER_MS } from '../../../mta/envelope.ts';
import type { Spool } from '../../../mta/spool/spool.ts';
import { ManualClock } from '../../support/clock.ts';
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

const LABELS = { priority: 'normal', tenant: '', campaign: '' };
const key = (message: number, index = 0) => ({ message, index });
const reason = { code: 'greylisted', text: '450 later', sinceMs: START_MS + 1 };

describe('life of a message', () => {
  test('appended, leased with everything that was handed in, settled, gone', async () => {
    const id = await spool.append(submission(['a@x.example'], { content: 'Über\r\n' }));
    expect(id).toBe((START_MS - MESSAGE_EPOCH_MS) * MESSAGES_PER_MS);
    expect(await spool.counts()).toEqual({ messages: 1, queued: 1, leased: 0, quarantined: 0 });

    const { messages, nextDueMs } = await spool.lease(leaseOf(['x.example']));
    expect(messages).toEqual([
      {
        message: id,
        reversePath: 'from@sender.example.net',
        body: '7bit',
        smtpUtf8: false,
        receivedAtMs: START_MS,
        ...LABELS,
        content: new Uint8Array(Buffer.from('Über\r\n')),
        recipients: [
          {
            index: 0,
            address: 'a@x.example',
            domain: 'x.example',
            attempts: 0,
            reason: { code: 'new', text: 'not tried yet', sinceMs: START_MS },
          },
        ],
      },
    ]);
    expect(nextDueMs).toEqual(new Map([['x.example', null]]));
    expect(await spool.counts()).toEqual({ messages: 1, queued: 0, leased: 1, quarantined: 0 });

    expect(await spool.settle([{ key: key(id), kind: 'done' }], [])).toEqual([]);
    expect(await spool.counts()).toEqual({ messages: 0, queued: 0, leased: 0, quarantined: 0 });
    expect(await spool.inspect(id)).toEqual([]);
  });

  test('a deferred recipient waits for its time, with attempts and reason kept', async () => {
    const id = await spool.append(submission(['a@x.example']));
    await spool.lease(leaseOf(['x.example']));
    const dueMs = START_MS + 60_000;
    await spool.settle([{ key: key(id), kind: 'deferred', dueMs, attempts: 1, reason }], []);
    for (const step of [
      { nowMs: START_MS, leased: [], next: dueMs },
      { nowMs: dueMs - 1, leased: [], next: dueMs },
      { nowMs: dueMs, leased: [['a@x.example']], next: null },
    ]) {
      const lease = await spool.lease(leaseOf(['x.example'], { nowMs: step.nowMs }));
      expect(addressesOf(lease.messages)).toEqual(step.leased);
      expect(lease.nextDueMs.get('x.example')).toBe(step.next);
    }
    expect(await spool.inspect(id)).toEqual([
      {
        message: id,
        index: 0,
        address: 'a@x.example',
        domain: 'x.example',
        reversePath: 'from@sender.example.net',
        receivedAtMs: START_MS,
        dueMs,
        attempts: 1,
        leased: true,
        contentOctets: 25,
        ...LABELS,
        reason,
      },
    ]);
  });

  test('a released recipient is due as before', async () => {
    const id = await spool.append(submission(['a@x.example']));
    await spool.lease(leaseOf(['x.example']));
    expect((await spool.lease(leaseOf(['x.example']))).messages).toEqual([]);
    await spool.settle([{ key: key(id), kind: 'released' }], []);
    const again = await spool.lease(leaseOf(['x.example']));
    expect(again.messages[0]?.recipients[0]).toMatchObject({
      attempts: 0,
      reason: { code: 'new' },
    });
  });

  test('notices are kept in the commit that settles', async () => {
    const id = await spool.append(submission(['a@x.example']));
    await spool.lease(leaseOf(['x.example']));
    const notice = submission(['from@sender.example.net'], { reversePath: '', content: 'DSN\r\n' });
    const ids = await spool.settle([{ key: key(id), kind: 'done' }], [notice, notice]);
    expect(ids).toEqual([id + 1, id + 2]);
    const { messages } = await spool.lease(leaseOf(['sender.example.net']));
    expect(messages.map(({ message, reversePath }) => [message, reversePath])).toEqual([
      [id + 1, ''],
      [id + 2, ''],
    ]);
  });

  test('what is not leased cannot be settled', async () => {
    const id = await spool.append(submission(['a@x.example']));
    await spool.settle([{ key: key(id), kind: 'done' }], []);
    expect((await spool.counts()).queued).toBe(1);
  });

  test('settling twice changes nothing', async () => {
    const id = await spool.append(submission(['a@x.example', 'b@x.example']));
    await spool.lease(leaseOf(['x.example']));
    await spool.settle([{ key: key(id), kind: 'done' }], []);
    await spool.settle([{ key: key(id), kind: 'done' }], []);
    expect(await spool.counts()).toEqual({ messages: 1, queued: 0, leased: 1, quarantined: 0 });
  });

  test('two messages may be handed in with one content', async () => {
    const one = submission(['a@x.example']);
    await Promise.all([spool.append(one), spool.append(one)]);
    const { messages } = await spool.lease(leaseOf(['x.example']));
    expect(messages.map(({ content }) => content.length)).toEqual([25, 25]);
  });
});

describe('ids', () => {
  test('rise within a millisecond and when the clock goes back, also across a restart', async () => {
    const other = await scratchFolder('spool');
    const ids: number[] = [];
    for (const wallMs of [START_MS, START_MS - 3_600_000, START_MS + 1]) {
      const one = await openAt(other.path, { clock: new ManualClock(0, wallMs) });
      for (let n = 0; n < 3; n += 1) {
        const id = await one.append(submission(['a@x.example']));
        ids.push(id);
        await one.lease(leaseOf(['x.example']));
        await one.settle([{ key: key(id), kind: 'done' }], []);
      }
      await one.close();
    }
    const first = (START_MS - MESSAGE_EPOCH_MS) * MESSAGES_PER_MS;
    // The write that an opening tries itself on takes one.
    expect(ids.map((id) => id - first)).toEqual([0, 1, 2, 4, 5, 6, 4096, 4097, 4098]);
    await other.remove();
  });
});

describe('restart', () => {
  test('keeps what is queued, and ends leases', async () => {
    const id = await spool.append(submission(['a@x.example', 'b@y.example']));
    await spool.lease(leaseOf(['x.example']));
    await spool.close();
    spool = await openAt(folder.path);
    expect(await spool.counts()).toEqual({ messages: 1, queued: 2, leased: 0, quarantined: 0 });
    expect((await spool.inspect(id)).map(({ leased }) => leased)).toEqual([false, false]);
  });

  test('what was handed in before close() is kept', async () => {
    const appended = Array.from({ length: 1000 }, () => spool.append(submission(['a@x.example'])));
    const closed = spool.close();
    await Promise.all(appended);
    await closed;
    await expect(spool.append(submission(['a@x.example']))).rejects.toMatchObject({
      code: 'MTA_SPOOL_UNAVAILABLE',
      trouble: 'closed',
    });
    spool = await openAt(folder.path);
    expect((await spool.counts()).messages).toBe(1000);
  });
});

describe('the files', () => {
  test('segments go when a burst is worked off, and the database stays small', async () => {
    const clock = new ManualClock();
    const other = await scratchFolder('spool');
    const one = await openAt(other.path, { clock });
    const content = new Uint8Array(8_000_000);
    const ids: number[] = [];
    for (let n = 0; n < 20; n += 1)
      ids.push(await one.append(submission(['a@x.example'], { content })));
    const segments = async (): Promise<string[]> =>
      (await readdir(join(other.path, 'segments'))).filter((name) => name.endsWith('.seg'));
    const all = await segments();
    expect(all.length).toBeGreaterThanOrEqual(3);
    for (let n = 0; n < 20; n += 1) await one.lease(leaseOf(['x.example'], { messagesMax: 1 }));
    const done = ids.map((message) => ({ key: key(message), kind: 'done' }) as const);
    await one.settle(done.slice(0, 9), []);
    for (let second = 0; second < 2; second += 1) {
      clock.advance(1_000);
      await one.counts();
    }
    // The first is done with, of the last something is left.
    const left = await segments();
    expect([left.includes(all[0]!), left.includes(all.at(-1)!)]).toEqual([false, true]);
    await one.settle(done.slice(9), []);
    await one.close();
    expect(await segments()).toEqual([]);
    expect((await stat(join(other.path, 'spool.sqlite'))).size).toBeLessThan(200_000);
    await other.remove();
  });

  test('a database of an older version shrinks 4 MiB a second, down to 64 MiB of room', async () => {
    const clock = new ManualClock();
    const other = await scratchFolder('spool');
    await (await openAt(other.path, { clock })).close();
    const db = new Database(join(other.path, 'spool.sqlite'));
    db.exec('CREATE TABLE contents (content BLOB)');
    const insert = db.prepare('INSERT INTO contents VALUES (zeroblob(8000000))');
    for (let n = 0; n < 12; n += 1) insert.run();
    db.exec('DROP TABLE contents');
    db.close();
    const one = await openAt(other.path, { clock });
    for (let second = 0; second < 20; second += 1) {
      clock.advance(1_000);
      await one.counts();
    }
    await one.close();
    const { size } = await stat(join(other.path, 'spool.sqlite'));
    expect(size).toBeGreaterThan(50 * 1_048_576);
    expect(size).toBeLessThan(68 * 1_048_576);
    await other.remove();
  });
});
