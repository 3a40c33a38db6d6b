import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import Database from 'better-sqlite3';
import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Spool } from '../../../mta/spool/spool.ts';
import { troubleOf } from '../../../mta/spool/trouble.ts';
import { ManualClock } from '../../support/clock.ts';
import { requirePeer } from '../../support/peers.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { addressesOf, leaseOf, listeningLog, openAt, START_MS, submission } from './fixture.ts';

const PROBE_MS = 1_000;
const APPENDER = fileURLToPath(new URL('./appender.ts', import.meta.url));

let folder: Folder;
let clock: ManualClock;
let spool: Spool | null;
beforeEach(async () => {
  folder = await scratchFolder('spool');
  clock = new ManualClock();
  spool = null;
});
afterEach(async () => {
  await spool?.close();
  await folder.remove();
});

const trouble = (name: string) => ({ code: 'MTA_SPOOL_UNAVAILABLE', trouble: name });

/** Lets a probe run; what is asked after it is answered after it. */
async function probe(one: Spool): Promise<void> {
  clock.advance(PROBE_MS);
  await one.counts().catch(() => undefined);
}

describe('at start', () => {
  test('a missing folder is made, for this user only', async () => {
    const path = join(folder.path, 'deep', 'spool');
    spool = await openAt(path);
    expect(spool.trouble()).toBeNull();
    expect((await stat(path)).mode & 0o777).toBe(0o700);
  });

  test('a folder that cannot be made is waited for', async () => {
    const blocker = join(folder.path, 'file');
    await writeFile(blocker, '');
    const path = join(blocker, 'spool');
    const log = listeningLog();
    spool = await openAt(path, { clock, log });
    expect(spool.trouble()).toMatchObject({ code: 'spool-not-writable', sinceMs: START_MS });
    await expect(spool.append(submission(['a@x.example']))).rejects.toMatchObject(
      trouble('not-writable'),
    );
    await probe(spool);
    expect(spool.trouble()?.sinceMs).toBe(START_MS);
    await rm(blocker);
    await probe(spool);
    expect(spool.trouble()).toBeNull();
    await spool.append(submission(['a@x.example']));
    expect(log.lines.map(({ level }) => level)).toEqual(['error', 'info']);
  });

  test('a spool in use by another process names it, and opens when that is gone', async () => {
    const holder = spawn(process.execPath, [APPENDER, folder.path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const closed = once(holder, 'close');
    await once(holder.stdout, 'data');
    holder.stdout.resume();
    spool = await openAt(folder.path, { clock });
    expect(spool.trouble()).toMatchObject({ code: 'spool-in-use' });
    expect(spool.trouble()?.text).toContain(`is in use by process ${holder.pid}`);
    holder.kill('SIGKILL');
    await closed;
    await probe(spool);
    expect(spool.trouble()).toBeNull();
    expect((await spool.counts()).messages).toBeGreaterThan(0);
  });

  test('a newer schema and a foreign database are left alone', async () => {
    for (const [pragma, text] of [
      ['application_id = 1349735280', 'has schema 99'],
      ['application_id = 7', 'is the database of another program'],
    ]) {
      const path = join(folder.path, text!.replaceAll(' ', '-'));
      await mkdir(path);
      const db = new Database(join(path, 'spool.sqlite'));
      db.exec('CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)');
      db.pragma(pragma!);
      db.pragma('user_version = 99');
      db.close();
      const one = await openAt(path, { clock });
      expect(one.trouble()).toMatchObject({ code: 'spool-incompatible' });
      expect(one.trouble()?.text).toContain(text);
      await one.close();
      const again = new Database(join(path, 'spool.sqlite'));
      expect(again.pragma('user_version', { simple: true })).toBe(99);
      expect(again.prepare('SELECT * FROM theirs').all()).toEqual([{ x: 1 }]);
      again.close();
    }
  });
});

describe('what failed', () => {
  const failed = (code: string, more: object = {}): Error =>
    Object.assign(new Error(code), { code, ...more });
  const call = { syscall: 'write' };

  test.each([
    [failed('SQLITE_IOERR_WRITE'), 'io'],
    [failed('SQLITE_FULL'), 'full'],
    [failed('ENOSPC', call), 'full'],
    [failed('EROFS', call), 'read-only'],
    // Under ulimit -f, and what no list foresees.
    [failed('EFBIG', call), 'io'],
    [failed('ENXIO', call), 'io'],
    [failed('ERR_OUT_OF_RANGE'), null],
    [new TypeError('a mistake'), null],
  ])('%s is %s', (error, trouble) => {
    expect(troubleOf(error)).toBe(trouble);
  });
});

describe('an i/o error', () => {
  /** From here on every write to the file fails: its descriptor is replaced by one for reading. */
  function breakWrites(path: string): void {
    const libc = koffi.load(null);
    const dup2 = libc.func('int dup2(int, int)') as (from: number, to: number) => number;
    const readOnly = openSync(path, 'r');
    for (const fd of readdirSync('/proc/self/fd').map(Number)) {
      if (fd === readOnly || linkOf(fd) !== path) continue;
      expect(dup2(readOnly, fd)).toBe(fd);
    }
    closeSync(readOnly);
  }

  function linkOf(fd: number): string {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return '';
    }
  }

  test('refuses, then opens the files again; leases and mail are still there', async () => {
    spool = await openAt(folder.path, { clock });
    const leased = await spool.append(submission(['a@x.example']));
    await spool.lease(leaseOf(['x.example']));
    const queued = await spool.append(submission(['b@x.example']));
    breakWrites(join(folder.path, 'segments', '0000000001.seg'));
    breakWrites(join(folder.path, 'spool.sqlite-wal'));
    await expect(spool.append(submission(['c@x.example']))).rejects.toMatchObject(trouble('io'));
    expect(spool.trouble()).toMatchObject({ code: 'spool-io' });
    await probe(spool);
    expect(spool.trouble()).toMatchObject({ code: 'spool-io' });
    await probe(spool);
    expect(spool.trouble()).toBeNull();
    await spool.append(submission(['d@x.example']));
    expect(await spool.inspect(leased)).toMatchObject([{ leased: true }]);
    expect(await spool.inspect(queued)).toMatchObject([{ leased: false }]);
    expect(addressesOf((await spool.lease(leaseOf(['x.example']))).messages)).toEqual([
      ['b@x.example'],
      ['d@x.example'],
    ]);
  });
});

describe('reserve', () => {
  test('below it nothing is appended, while leases and settlements go on', async () => {
    spool = await openAt(folder.path, { clock });
    const id = await spool.append(submission(['a@x.example']));
    await spool.close();
    spool = await openAt(folder.path, { clock, reserveBytes: Number.MAX_SAFE_INTEGER });
    expect(spool.trouble()).toMatchObject({ code: 'spool-reserve' });
    await expect(spool.append(submission(['a@x.example']))).rejects.toMatchObject(
      trouble('reserve'),
    );
    expect((await spool.lease(leaseOf(['x.example']))).messages.length).toBe(1);
    await spool.settle([{ key: { message: id, index: 0 }, kind: 'done' }], []);
    expect((await spool.counts()).messages).toBe(0);
  });
});

requirePeer('tmpfs')('a disk of its own', () => {
  const content = new Uint8Array(50_000);
  beforeEach(() => mount('-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', folder.path));
  afterEach(async () => {
    await spool?.close();
    spool = null;
    mount('-o', 'remount,rw', folder.path);
    expect(spawnSync('umount', [folder.path]).status).toBe(0);
  });

  function mount(...args: string[]): void {
    const { status, stderr } = spawnSync('mount', args, { encoding: 'utf8' });
    expect(`${status} ${stderr}`).toBe('0 ');
  }

  async function fillUp(one: Spool): Promise<number> {
    for (let n = 0; ; n += 1) {
      try {
        await one.append(submission([`${n}@x.example`], { content }));
      } catch (error) {
        expect(error).toMatchObject(trouble('full'));
        return n;
      }
    }
  }

  test('full: what was acknowledged stays, and mail is taken again when there is room', async () => {
    const ballast = join(folder.path, 'ballast');
    await writeFile(ballast, new Uint8Array(4_000_000));
    const log = listeningLog();
    spool = await openAt(folder.path, { clock, log });
    const kept = await fillUp(spool);
    expect(kept).toBeGreaterThan(20);
    expect(spool.trouble()).toMatchObject({ code: 'spool-full' });
    expect((await spool.counts()).messages).toBe(kept);
    await probe(spool);
    expect(spool.trouble()).toMatchObject({ code: 'spool-full' });

    await rm(ballast);
    await probe(spool);
    expect(spool.trouble()).toBeNull();
    await spool.append(submission(['late@x.example'], { content }));
    expect((await spool.lease(leaseOf(['x.example'], { messagesMax: 1000 }))).messages.length).toBe(
      kept + 1,
    );
    expect(log.lines.map(({ level }) => level)).toEqual(['error', 'info']);
  });

  test('full: a settlement that fails keeps its leases, and may be repeated', async () => {
    spool = await openAt(folder.path, { clock });
    await fillUp(spool);
    const { messages } = await spool.lease(leaseOf(['x.example'], { messagesMax: 1 }));
    const key = { message: messages[0]!.message, index: 0 };
    const before = await spool.counts();
    const notice = submission(['from@x.example'], { content: new Uint8Array(4_000_000) });
    await expect(spool.settle([{ key, kind: 'done' }], [notice])).rejects.toMatchObject(
      trouble('full'),
    );
    expect(await spool.counts()).toEqual(before);
    expect(await spool.inspect(key.message)).toMatchObject([{ leased: true }]);
    mount('-o', 'remount,size=32m', folder.path);
    expect((await spool.settle([{ key, kind: 'done' }], [notice])).length).toBe(1);
    expect(await spool.inspect(key.message)).toEqual([]);
  });

  test('full: a queue is opened on a full disk, and worked off when there is room', async () => {
    spool = await openAt(folder.path, { clock });
    for (let n = 0; n < 8; n += 1) {
      await spool.append(submission([`${n}@x.example`], { content }));
    }
    await spool.close();
    const ballast = join(folder.path, 'ballast');
    const fill = spawnSync('dd', ['if=/dev/zero', `of=${ballast}`, 'bs=4k'], { encoding: 'utf8' });
    expect(fill.stderr).toContain('No space left on device');

    spool = await openAt(folder.path, { clock });
    const { messages } = await spool.lease(leaseOf(['x.example']));
    expect(messages.length).toBe(8);
    const done = messages.map(
      ({ message }) => ({ key: { message, index: 0 }, kind: 'done' }) as const,
    );
    await expect(spool.settle(done, [])).rejects.toMatchObject(trouble('full'));
    await rm(ballast);
    await spool.settle(done, []);
    expect(await spool.counts()).toEqual({ messages: 0, queued: 0, leased: 0, quarantined: 0 });
    await probe(spool);
    expect(spool.trouble()).toBeNull();
  });

  test('read-only: waited for, and nothing is lost', async () => {
    spool = await openAt(folder.path, { clock });
    await spool.append(submission(['a@x.example']));
    await spool.close();
    mount('-o', 'remount,ro', folder.path);
    spool = await openAt(folder.path, { clock });
    expect(spool.trouble()).toMatchObject({ code: 'spool-read-only' });
    await expect(spool.append(submission(['b@x.example']))).rejects.toMatchObject(
      trouble('read-only'),
    );
    mount('-o', 'remount,rw', folder.path);
    await probe(spool);
    expect(spool.trouble()).toBeNull();
    await spool.append(submission(['b@x.example']));
    const { messages } = await spool.lease(leaseOf(['x.example']));
    expect(addressesOf(messages)).toEqual([['a@x.example'], ['b@x.example']]);
  });
});
