import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UnreadMail } from '../../../../mta/report/inbound/unread.ts';
import { type Folder, scratchFolder } from '../../../support/scratch.ts';

let folder: Folder;
beforeEach(async () => {
  folder = await scratchFolder('unread');
});
afterEach(() => folder.remove());

const ten = (letter: string): Buffer => Buffer.from(letter.repeat(10));

test('the newest stay within the bound, over a restart too; one alone always', async () => {
  const path = join(folder.path, 'unrecognised');
  const before = new UnreadMail(path, 25);
  const kept = await Promise.all(['a', 'b', 'c'].map((name) => before.keep(name, ten(name))));
  expect(kept).toEqual(['a', 'b', 'c'].map((name) => join(path, `${name}.eml`)));
  expect((await readdir(path)).sort()).toEqual(['b.eml', 'c.eml']);
  const after = new UnreadMail(path, 25);
  await after.keep('d', ten('d'));
  expect((await readdir(path)).sort()).toEqual(['c.eml', 'd.eml']);
  expect(await readFile(join(path, 'd.eml'), 'utf8')).toBe('dddddddddd');
  await after.keep('e', Buffer.alloc(100));
  expect(await readdir(path)).toEqual(['e.eml']);
});
