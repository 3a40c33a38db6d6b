import { readdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatMessageId } from '../../../mta/envelope.ts';
import type { Spool } from '../../../mta/spool/spool.ts';
import { ManualClock } from '../../support/clock.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { addressesOf, leaseOf, listeningLog, openAt, START_MS, submission } from './fixture.ts';

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

const file = (...names: string[]) => join(folder.path, ...names);

const SEGMENT = ['segments', '0000000001.seg'];

/** Changes one octet of the first segment, at the given offset from a text in it. */
async function flip(needle: string, offset = 0): Promise<void> {
  const octets = await readFile(file(...SEGMENT));
  const at = octets.indexOf(needle);
  expect(at).toBeGreaterThan(0);
  octets[at + offset]! ^= 1;
  await writeFile(file(...SEGMENT), octets);
}

describe('a flipped octet in a content', () => {
  test.each([
    { size: 'small', content: (n: number) => `needle ${n}\r\n` },
    { size: 'large', content: (n: number) => `needle ${n}\r\n`.padEnd(40_000, 'x') },
  ])('quarantines that message ($size), and delivers the others', async ({ content }) => {
    const ids: number[] = [];
    for (let n = 0; n < 3; n += 1) {
      ids.push(
        await spool.append(
          submission([`${n}@x.example`, `${n}@y.example`], { content: content(n) }),
        ),
      );
    }
    await spool.close();
    await flip('needle 1');
    const log = listeningLog();
    spool = await openAt(folder.path, { log });
    const lease = await spool.lease(leaseOf(['x.example']));
    expect(addressesOf(lease.messages)).toEqual([['0@x.example'], ['2@x.example']]);
    expect(lease.nextDueMs.get('x.example')).toBeNull();
    expect(await spool.counts()).toEqual({ messages: 2, queued: 2, leased: 2, quarantined: 1 });
    expect(addressesOf((await spool.lease(leaseOf(['y.example']))).messages)).toEqual([
      ['0@y.example'],
      ['2@y.example'],
    ]);

    const id = formatMessageId(ids[1]!);
    expect((await readFile(file('quarantine', `${id}.eml`), 'latin1')).slice(1)).toBe(
      content(1).slice(1),
    );
    expect(JSON.parse(await readFile(file('quarantine', `${id}.json`), 'utf8'))).toMatchObject({
      id,
      damage: 'checksum mismatch',
      foundAtMs: START_MS,
      head: { reverse_path: 'from@sender.example.net', origin: 'test' },
      recipients: [
        { n: 0, address: '1@x.example', domain: 'x.example' },
        { n: 1, address: '1@y.example', domain: 'y.example' },
      ],
    });
    expect(log.lines).toMatchObject([
      { level: 'error', fields: { message: ids[1], damage: 'checksum mismatch', recipients: 2 } },
    ]);
  });

  test('one that cannot be moved to quarantine is held, and costs the others nothing', async () => {
    const id = await spool.append(submission(['a@x.example'], { content: 'needle\r\n' }));
    await spool.append(submission(['b@x.example']));
    await spool.close();
    await flip('needle');
    await writeFile(file('quarantine'), 'a file is in the way');
    const log = listeningLog();
    spool = await openAt(folder.path, { log });
    const lease = await spool.lease(leaseOf(['x.example']));
    expect(addressesOf(lease.messages)).toEqual([['b@x.example']]);
    expect(lease.nextDueMs.get('x.example')).toBeNull();
    expect((await spool.inspect(id)).length).toBe(1);
    expect(log.lines.map(({ level }) => level)).toEqual(['error']);
  });
});

describe('a database that is none any more', () => {
  test.each([
    { damage: 'garbage', spoil: () => writeFile(file('spool.sqlite'), 'no database'.repeat(999)) },
    { damage: 'a truncated file', spoil: () => truncate(file('spool.sqlite'), 16_384) },
    {
      damage: 'an empty file beside a log',
      spoil: async () => {
        await writeFile(file('spool.sqlite'), '');
        await writeFile(file('spool.sqlite-wal'), 'log');
      },
    },
  ])('$damage is moved to quarantine, and a new one made from the log', async ({ spoil }) => {
    await spool.append(submission(['a@x.example']));
    await spool.close();
    await spoil();
    const spoiled = await readFile(file('spool.sqlite'));
    const log = listeningLog();
    spool = await openAt(folder.path, { log, clock: new ManualClock() });
    expect(spool.trouble()).toBeNull();
    expect((await spool.counts()).messages).toBe(1);
    await spool.append(submission(['b@x.example']));
    expect(addressesOf((await spool.lease(leaseOf(['x.example']))).messages)).toEqual([
      ['a@x.example'],
      ['b@x.example'],
    ]);
    const target = 'spool.sqlite-20270115T080000.000Z';
    expect(await readdir(file('quarantine'))).toEqual([target]);
    expect((await readFile(file('quarantine', target, 'spool.sqlite'))).equals(spoiled)).toBe(true);
    expect(log.lines).toMatchObject([
      { level: 'error', fields: { target: file('quarantine', target) } },
    ]);
  });

  test('one that is found damaged at work is made anew from the log', async () => {
    const count = 200;
    for (let n = 0; n < count; n += 1) {
      await spool.append(submission([`${n}@x.example`], { content: `Subject: ${n}\r\n\r\n` }));
    }
    await spool.close();
    const clock = new ManualClock();
    const log = listeningLog();
    spool = await openAt(folder.path, { clock, log });
    const first = await spool.lease(leaseOf(['x.example'], { messagesMax: 1 }));
    const done = { message: first.messages[0]!.message, index: 0 };
    await spool.close();
    // All of it that is not needed to open it.
    const { size } = await stat(file('spool.sqlite'));
    const octets = await readFile(file('spool.sqlite'));
    octets.fill(0xff, size / 2);
    await writeFile(file('spool.sqlite'), octets);
    spool = await openAt(folder.path, { clock, log });
    await expect(spool.lease(leaseOf(['x.example'], { messagesMax: count }))).rejects.toMatchObject(
      { code: 'MTA_SPOOL_UNAVAILABLE' },
    );
    expect(spool.trouble()).toMatchObject({ code: 'spool-corrupt' });
    clock.advance(1_000);
    await spool.counts();
    expect(spool.trouble()).toBeNull();
    const { messages } = await spool.lease(leaseOf(['x.example'], { messagesMax: count }));
    expect(messages.length).toBe(count);
    await spool.settle([{ key: done, kind: 'done' }], []);
    expect(await spool.counts()).toMatchObject({ messages: count - 1, queued: 0 });
  });
});
