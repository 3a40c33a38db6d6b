/** The log: what it keeps for whom, and what damage to it costs. A crash is a copy of the files of a spool at work. */
import { cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { formatMessageId, type MessageId } from '../../../mta/envelope.ts';
import { layOut, seal } from '../../../mta/spool/draft.ts';
import { RecordKind } from '../../../mta/spool/record.ts';
import type { Settlement, Spool } from '../../../mta/spool/spool.ts';
import { Cleanup } from '../../support/cleanup.ts';
import { ManualClock } from '../../support/clock.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { addressesOf, leaseOf, listeningLog, openAt, START_MS, submission } from './fixture.ts';

const SEGMENT = ['segments', '0000000001.seg'];
const cleanup = new Cleanup();
let folder: Folder;
let spool: Spool;
beforeEach(async () => {
  folder = await scratchFolder('spool');
  cleanup.add(() => folder.remove());
  spool = await openAt(folder.path);
  cleanup.add(() => spool.close());
});
afterEach(() => cleanup.run());

/** @returns the folder as a kill -9 would leave it now, to be spoiled and opened */
async function crashed(): Promise<{ path: string; open: typeof openCrashed }> {
  const copy = await scratchFolder('crashed');
  cleanup.add(() => copy.remove());
  await cp(folder.path, copy.path, { recursive: true });
  return { path: copy.path, open: openCrashed };
}

async function openCrashed(path: string) {
  const log = listeningLog();
  const other = await openAt(path, { log });
  cleanup.add(() => other.close());
  return { other, log };
}

/** Changes one octet of the first segment, at a text in it. */
async function flip(path: string, needle: string): Promise<void> {
  const file = join(path, ...SEGMENT);
  const octets = await readFile(file);
  const at = octets.indexOf(needle);
  expect(at).toBeGreaterThan(0);
  octets[at]! ^= 1;
  await writeFile(file, octets);
}

const done = (message: MessageId, index = 0): Settlement => ({
  key: { message, index },
  kind: 'done',
});
const rowsIn = (path: string): unknown => {
  const db = new Database(join(path, 'spool.sqlite'), { readonly: true });
  const rows = db.prepare('SELECT count(*) FROM recipients').pluck().get();
  db.close();
  return rows;
};
const all = { domain: null, after: null, limit: 100 };

describe('a message that is handed over', () => {
  test('is leased from birth, and gone without a row when it is done', async () => {
    const id = await spool.append(submission(['a@x.example', 'b@y.example']), true);
    expect(await spool.counts()).toEqual({ messages: 1, queued: 0, leased: 2, quarantined: 0 });
    expect((await spool.lease(leaseOf(['x.example']))).messages).toEqual([]);
    expect(await spool.leaseMessage({ message: id, index: null })).toBeNull();
    await spool.settle([done(id, 1)], []);
    expect(await spool.counts()).toEqual({ messages: 1, queued: 0, leased: 1, quarantined: 0 });
    await spool.settle([done(id, 0)], []);
    expect(await spool.counts()).toEqual({ messages: 0, queued: 0, leased: 0, quarantined: 0 });
    await spool.close();
    expect(rowsIn(folder.path)).toBe(0);
    expect(await readdir(join(folder.path, 'segments'))).toEqual([]);
  });

  test('is seen by whoever looks, as leased', async () => {
    const id = await spool.append(submission(['a@x.example']), true);
    expect(await spool.inspect(id)).toMatchObject([{ address: 'a@x.example', leased: true }]);
    await spool.settle([done(id)], []);
    expect(await spool.list(all)).toEqual([]);
  });

  test('waits with its reason once it is deferred, and is leased anew', async () => {
    const id = await spool.append(submission(['a@x.example', 'b@x.example']), true);
    const reason = { code: 'greylisted', text: '450 later', sinceMs: START_MS };
    const key = { message: id, index: 0 };
    const dueMs = START_MS + 60_000;
    await spool.settle([{ key, kind: 'deferred', dueMs, attempts: 1, reason }], []);
    expect(await spool.list(all)).toMatchObject([
      { index: 0, leased: false, attempts: 1, dueMs, reason },
      { index: 1, leased: true, attempts: 0 },
    ]);
    await spool.settle([{ key: { message: id, index: 1 }, kind: 'released' }], []);
    const { messages } = await spool.lease(leaseOf(['x.example'], { nowMs: dueMs }));
    expect(addressesOf(messages).flat().sort()).toEqual(['a@x.example', 'b@x.example']);
  });

  test('is queued after a crash, unless it was done', async () => {
    const [first, second] = [
      await spool.append(submission(['a@x.example', 'b@x.example']), true),
      await spool.append(submission(['c@x.example']), true),
    ];
    await spool.settle([done(first!, 0), done(second!)], []);
    const { path, open } = await crashed();
    const { other, log } = await open(path);
    expect(await other.list(all)).toMatchObject([{ address: 'b@x.example', leased: false }]);
    expect(log.lines).toEqual([]);
  });

  test('with a notice in place of it: both after a crash, or neither', async () => {
    const id = await spool.append(submission(['a@x.example']), true);
    const notice = submission(['from@sender.example.net'], { content: 'DSN\r\n' });
    await spool.settle([done(id)], [notice, notice]);
    const { path, open } = await crashed();
    const file = join(path, ...SEGMENT);
    const { length } = await readFile(file);
    const { other } = await open(path);
    const { messages } = await other.lease(leaseOf(['sender.example.net', 'x.example']));
    expect(addressesOf(messages)).toEqual([
      ['from@sender.example.net'],
      ['from@sender.example.net'],
    ]);
    expect(messages.map(({ content }) => Buffer.from(content).toString())).toEqual([
      'DSN\r\n',
      'DSN\r\n',
    ]);
    await spool.append(submission(['z@z.example']));
    const torn = await crashed();
    await truncate(join(torn.path, ...SEGMENT), length - 8);
    const { other: before } = await torn.open(torn.path);
    expect((await before.list(all)).map(({ address }) => address)).toEqual(['a@x.example']);
  });
});

describe('damage to what the index has not heard of', () => {
  const appendThree = async (): Promise<MessageId[]> => [
    await spool.append(submission(['1@x.example'], { content: 'content 1\r\n' })),
    await spool.append(submission(['2@x.example'], { content: 'content 2\r\n' }), true),
    await spool.append(submission(['3@x.example'], { content: 'content 3\r\n' })),
  ];

  test('an envelope: copied to quarantine, the others are kept', async () => {
    await appendThree();
    const { path, open } = await crashed();
    await flip(path, '2@x.example');
    const { other, log } = await open(path);
    const { messages } = await other.lease(leaseOf(['x.example']));
    expect(addressesOf(messages)).toEqual([['1@x.example'], ['3@x.example']]);
    const [name] = await readdir(join(path, 'quarantine'));
    expect(name).toMatch(/^segment-1-\d+$/);
    expect(await readFile(join(path, 'quarantine', name!), 'latin1')).toContain('content 2');
    expect(log.lines).toMatchObject([{ level: 'error', fields: { segment: 1 } }]);
  });

  test('a content: quarantined when its turn comes', async () => {
    const ids = await appendThree();
    const { path, open } = await crashed();
    await flip(path, 'content 2');
    const { other } = await open(path);
    const { messages } = await other.lease(leaseOf(['x.example']));
    expect(addressesOf(messages)).toEqual([['1@x.example'], ['3@x.example']]);
    expect((await readdir(join(path, 'quarantine'))).sort()).toEqual([
      `${formatMessageId(ids[1]!)}.eml`,
      `${formatMessageId(ids[1]!)}.json`,
    ]);
    expect((await other.counts()).quarantined).toBe(1);
  });

  test('a content that looks like a record is none', async () => {
    const fake = Buffer.alloc(1024);
    const meta = JSON.stringify({ ...submission(['evil@x.example']), content: undefined });
    const draft = layOut(fake, 0, meta, [Buffer.from('evil\r\n')]);
    seal(fake, draft, { kind: RecordKind.queued, id: 7, salt: 0, batchAt: 0 });
    // At every alignment.
    const content = Buffer.concat(
      Array.from({ length: 8 }, (_, pad) => Buffer.concat([Buffer.alloc(pad), fake])),
    );
    await spool.append(submission(['1@x.example'], { content }));
    await spool.append(submission(['2@x.example']));
    const { path, open } = await crashed();
    await flip(path, '1@x.example');
    const { other } = await open(path);
    expect((await other.list(all)).map(({ address }) => address)).toEqual(['2@x.example']);
  });

  test.each(['missing', 'cut off'])(
    'a segment that is %s: what the index knows of it goes to quarantine',
    async (how) => {
      const content = new Uint8Array(40_000_000);
      for (let n = 1; n <= 2; n += 1)
        await spool.append(submission([`${n}@x.example`], { content }));
      await spool.append(submission(['3@x.example']));
      await spool.close();
      expect((await readdir(join(folder.path, 'segments'))).length).toBe(2);
      const file = join(folder.path, ...SEGMENT);
      if (how === 'missing') await rm(file);
      else await truncate(file, 1_000);
      const { other, log } = await openCrashed(folder.path);
      spool = other;
      const { messages } = await other.lease(leaseOf(['x.example']));
      expect(addressesOf(messages)).toEqual([['3@x.example']]);
      expect(await other.counts()).toMatchObject({ messages: 1, leased: 1, quarantined: 2 });
      const damage = how === 'missing' ? 'content missing' : 'content unreadable';
      expect(log.lines).toMatchObject([{ fields: { damage } }, { fields: { damage } }]);
    },
  );
});

describe('a segment that little is wanted of', () => {
  test('does not wait for a message that was handed over and is never done', async () => {
    const stuck = await spool.append(submission(['stuck@x.example']), true);
    for (let n = 0; n < 10; n += 1) {
      const content = new Uint8Array(40_000_000);
      const id = await spool.append(submission(['a@y.example'], { content }), true);
      await spool.settle([done(id)], []);
    }
    await spool.counts();
    const files = await readdir(join(folder.path, 'segments'));
    expect(files.length).toBeLessThanOrEqual(4);
    await spool.settle([done(stuck)], []);
    expect(await spool.counts()).toEqual({ messages: 0, queued: 0, leased: 0, quarantined: 0 });
  });

  test('goes, and what is wanted of it is copied: messages, notices, and what was copied before', async () => {
    const clock = new ManualClock();
    const other = await scratchFolder('spool');
    cleanup.add(() => other.remove());
    let one = await openAt(other.path, { clock });
    const files = () => readdir(join(other.path, 'segments'));
    const pass = async (seconds: number) => {
      for (let second = 0; second < seconds; second += 1) {
        clock.advance(1_000);
        await one.counts();
      }
    };
    await one.append(submission(['stays@x.example'], { content: 'this one stays\r\n' }));
    const told = await one.append(submission(['told@y.example']), true);
    const notice = submission(['from@z.example'], { content: 'and this notice\r\n' });
    await one.settle([done(told)], [notice]);
    for (let round = 0; round < 3; round += 1) {
      const large = new Uint8Array(30_000_000);
      for (let n = 0; n < 3; n += 1) {
        const id = await one.append(submission(['goes@y.example'], { content: large }), true);
        await one.settle([done(id)], []);
      }
      await pass(40);
      // The one that is appended to, and the one before it for as long as the index may need it.
      if (round > 0) expect(await files()).not.toContain(`000000000${round}.seg`);
    }
    // Neither a crash nor a restart brings anything back.
    const copy = await scratchFolder('crashed');
    cleanup.add(() => copy.remove());
    await cp(other.path, copy.path, { recursive: true });
    await one.close();
    one = await openAt(other.path);
    cleanup.add(() => one.close());
    for (const opened of [one, (await openCrashed(copy.path)).other]) {
      const { messages } = await opened.lease(leaseOf(['x.example', 'y.example', 'z.example']));
      expect(messages.map(({ content }) => Buffer.from(content).toString())).toEqual([
        'this one stays\r\n',
        'and this notice\r\n',
      ]);
      expect(await opened.counts()).toMatchObject({ messages: 2, quarantined: 0 });
    }
  });
});

/** Power loss: the log as it is, and the index as the last checkpoint left it, when the spool was closed. */
test('a segment never bears the name of one that has gone, which the index has behind it', async () => {
  await spool.append(submission(['stays@x.example']));
  await spool.close();
  spool = await openAt(folder.path);
  const gone = await spool.append(submission(['gone@x.example']), true);
  await spool.settle([done(gone)], []);
  await spool.close();
  const durable = await crashed();
  spool = await openAt(folder.path);
  await spool.append(submission(['new@x.example']));
  const segments = join(durable.path, 'segments');
  await cp(join(folder.path, 'segments'), segments, { recursive: true });
  const { other } = await durable.open(durable.path);
  const rows = await other.list(all);
  expect(rows.map(({ address }) => address)).toEqual(['stays@x.example', 'new@x.example']);
});
