/** `suppression` on the command line, over a list in memory. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Suppressed } from '../../mta/running.ts';
import { createMtaAdmin } from '../../sidecar/admin/mta.ts';
import { listenAt } from '../../sidecar/admin/server.ts';
import { type Ran, runCommand } from '../support/cli.ts';
import { CONTEXT, fakeMta } from './support/programs.ts';

const TOKEN = 'a-token-for-tests-0123456789';
let entries: Suppressed[] = [];
const same = (entry: Suppressed, address: string, tenant: string): boolean =>
  entry.address === address && entry.tenant === tenant;
const book = {
  get size() {
    return entries.length;
  },
  page: () => entries,
  of: (address: string) => entries.filter((entry) => entry.address === address),
  async put(entry: Omit<Suppressed, 'sinceMs'>) {
    entries.push({ ...entry, sinceMs: Date.now() - 60_000 });
    return true;
  },
  async remove(address: string, tenant: string) {
    const before = entries.length;
    entries = entries.filter((entry) => !same(entry, address, tenant));
    return entries.length < before;
  },
};
const admin = createMtaAdmin({ ...fakeMta(), suppressions: book }, { ...CONTEXT, token: TOKEN });
const folder = mkdtempSync(join(tmpdir(), 'postilion-suppression-'));
const config = join(folder, 'p.toml');

beforeAll(async () => {
  const { port } = await listenAt(admin, { address: '127.0.0.1', port: 0 });
  const text = `[mta]\nhttp = "127.0.0.1:${port}"\nhostname = "mta.example.net"\n[admin]\ntoken = "${TOKEN}"\n`;
  writeFileSync(config, text);
});
afterAll(async () => {
  await admin.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  entries = [];
});

const postilion = (...words: string[]): Promise<Ran> =>
  runCommand(['suppression', ...words, '--config', config]);

test('added one by one and from a file, listed, and removed', async () => {
  expect((await postilion('list')).stdout).toBe('Nobody is suppressed.\n');
  const added = await postilion('add', 'Bob@B.example', '--tenant', 'acme', '--note', 'by phone');
  expect([added.code, added.stdout]).toEqual([0, '1 added.\n']);
  const file = join(folder, 'list');
  writeFileSync(file, '# unsubscribed\nann@a.example\r\n\n carol@c.example \n');
  expect((await postilion('add', '--file', file)).stdout).toBe('2 added.\n');
  expect((await postilion('list')).stdout).toBe(
    [
      'bob@b.example    acme         hand  1m 0s ago  by phone\n',
      'ann@a.example    all tenants  hand  1m 0s ago\n',
      'carol@c.example  all tenants  hand  1m 0s ago\n',
    ].join(''),
  );
  const { stdout } = await postilion('list', 'bob@b.example', '--json');
  expect(JSON.parse(stdout)).toMatchObject({ suppressions: [{ tenant: 'acme' }] });
  expect((await postilion('remove', 'bob@b.example', '--tenant', 'acme')).stdout).toBe(
    'Removed.\n',
  );
  expect(entries.map(({ address }) => address)).toEqual(['ann@a.example', 'carol@c.example']);
});

test.each([
  [['remove', 'nobody@b.example'], 1, 'the address is not on the list'],
  [['list', 'nobody@b.example'], 1, 'the address is not on the list'],
  [['add'], 2, 'name an address, or a --file of them'],
  [['add', 'nonsense'], 1, 'address without a domain'],
  [['add', '--file', '/nowhere/list'], 2, 'ENOENT'],
])('%j is refused', async (words, code, said) => {
  const ran = await postilion(...words);
  expect([ran.code, ran.stderr]).toEqual([code, expect.stringContaining(said)]);
  expect(entries).toEqual([]);
});
