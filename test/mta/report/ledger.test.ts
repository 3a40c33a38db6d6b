import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Ledger } from '../../../mta/report/ledger.ts';
import { silentLog } from '../../../runtime/log.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';

let folder: Folder;
let path: string;
beforeEach(async () => {
  folder = await scratchFolder('ledger');
  path = join(folder.path, 'deeper', 'ledger.sqlite');
});
afterEach(() => folder.remove());

const schema = ['CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, n INTEGER NOT NULL)'];
const open = (): Promise<Ledger> => Ledger.open({ path, schema, nowMs: 17, log: silentLog });
const ADD = 'INSERT INTO t VALUES (?, ?)';
const all = (ledger: Ledger) => ledger.all<{ k: string; n: number }>('SELECT * FROM t ORDER BY k');

test('what run() resolved is read at once, and after a restart', async () => {
  const ledger = await open();
  expect(await Promise.all([ledger.run(ADD, 'a', 1), ledger.run(ADD, 'b', 2)])).toEqual([1, 1]);
  expect(all(ledger)).toEqual([
    { k: 'a', n: 1 },
    { k: 'b', n: 2 },
  ]);
  expect(await ledger.run('DELETE FROM t WHERE n < 9')).toBe(2);
  const last = ledger.run(ADD, 'c', 3);
  await ledger.close();
  expect(await last).toBe(1);
  const again = await open();
  expect(again.get('SELECT n FROM t WHERE k = ?', 'c')).toEqual({ n: 3 });
  expect(again.get('SELECT n FROM t WHERE k = ?', 'd')).toBeUndefined();
  await again.close();
});

test('a statement that fails takes its batch with it, and the next batch goes on', async () => {
  const ledger = await open();
  await ledger.run(ADD, 'a', 1);
  const batch = [ledger.run(ADD, 'b', 1), ledger.run(ADD, 'a', 2)];
  expect((await Promise.allSettled(batch)).map(({ status }) => status)).toEqual([
    'rejected',
    'rejected',
  ]);
  await expect(ledger.run(ADD, 'a', 3)).rejects.toMatchObject({ code: 'MTA_LEDGER_UNAVAILABLE' });
  expect(all(ledger)).toEqual([{ k: 'a', n: 1 }]);
  await ledger.run(ADD, 'b', 4);
  await ledger.close();
  await expect(ledger.run(ADD, 'c', 1)).rejects.toMatchObject({ code: 'MTA_LEDGER_UNAVAILABLE' });
});

test('more than one batch, in order', async () => {
  const ledger = await open();
  await ledger.run(ADD, 'a', 0);
  const steps = Array.from({ length: 2_500 }, (_, at) =>
    ledger.run('UPDATE t SET n = ? WHERE n = ?', at + 1, at),
  );
  expect(new Set(await Promise.all(steps))).toEqual(new Set([1]));
  expect(all(ledger)).toEqual([{ k: 'a', n: 2_500 }]);
  await ledger.close();
});

test('a file that is no database is put aside', async () => {
  await (await open()).close();
  await writeFile(path, 'not a database at all, and long enough to be looked at. '.repeat(20));
  const ledger = await open();
  expect(all(ledger)).toEqual([]);
  await ledger.close();
  expect(await readdir(join(folder.path, 'deeper'))).toContain('ledger.sqlite.damaged-17');
});

test('a folder that cannot be used is said', async () => {
  await writeFile(join(folder.path, 'file'), '');
  path = join(folder.path, 'file', 'ledger.sqlite');
  await expect(open()).rejects.toThrow(/ENOTDIR|EEXIST/);
});
