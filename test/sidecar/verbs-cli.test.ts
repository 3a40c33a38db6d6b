/** Every verb on the command line: what is asked of the mta, what a person and a script read, dry runs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { formatMessageId } from '../../mta/envelope.ts';
import { createMtaAdmin } from '../../sidecar/admin/mta.ts';
import { listenAt } from '../../sidecar/admin/server.ts';
import { type Ran, runCommand } from '../support/cli.ts';
import { CONTEXT, fakeMta, WAITING } from './support/programs.ts';

const TOKEN = 'a-token-for-tests-0123456789';
const mta = fakeMta();
const admin = createMtaAdmin(mta, { ...CONTEXT, token: TOKEN });
const folder = mkdtempSync(join(tmpdir(), 'postilion-verbs-'));
const config = join(folder, 'p.toml');
let http: string;

beforeAll(async () => {
  http = `127.0.0.1:${(await listenAt(admin, { address: '127.0.0.1', port: 0 })).port}`;
  const text = `[mta]\nhttp = "${http}"\nhostname = "mta.example.net"\n[admin]\ntoken = "${TOKEN}"\n`;
  writeFileSync(config, text);
});
afterAll(async () => {
  await admin.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => void mta.verbs.splice(0));

/** The token is in the file. */
const postilion = (line: string): Promise<Ran> =>
  runCommand([...line.split(' '), '--config', config]);

const ID = WAITING.id;
const MESSAGE = formatMessageId(1_234_567_890);
const SELECTED = '{"ids":[{"message":1234567890,"index":null}]}';

test.each([
  [`queue hold ${MESSAGE} --note odd`, `hold ${SELECTED} false odd`],
  ['queue release --domain example.net', 'release {"domain":"example.net"} false '],
  ['queue retry --tenant acme --end-rests', 'retry {"tenant":"acme"} false  ending rests'],
  [`queue bounce ${MESSAGE}`, `bounce ${SELECTED} false `],
  ['queue delete --campaign spring', 'delete {"campaign":"spring"} false '],
  [`queue reroute ${MESSAGE} --to relay:2525`, `reroute ${SELECTED} false  to relay:2525`],
  ['queue reroute --domain example.net --to mx', 'reroute {"domain":"example.net"} false  to null'],
  ['suspend', 'suspend'],
  ['resume', 'resume'],
  ['suspend --scope domain example.net', 'suspend domain example.net'],
  ['suspend --scope site mx~abcd', 'suspend site mx~abcd'],
  ['resume --scope tenant acme', 'resume tenant acme'],
  ['resume --scope campaign spring', 'resume campaign spring'],
  [
    'reroute example.net --to relay.example.com:2525',
    'reroute domain example.net relay.example.com:2525',
  ],
  ['reroute mx~abcd --scope site --to mx', 'reroute site mx~abcd null'],
  ['drain --within 0s', 'drain'],
])('%s', async (line, asked) => {
  const { code, stdout } = await postilion(line);
  // One message remains of a drain.
  expect(code).toBe(line.startsWith('drain') ? 1 : 0);
  expect(stdout).not.toBe('');
  expect(mta.verbs).toEqual([asked]);
});

test.each([
  [
    'queue hold',
    { verb: 'hold', dryRun: true, matched: 1, busy: 0, done: 0, more: false, ids: [ID] },
  ],
  ['queue release', { verb: 'release', dryRun: true }],
  ['queue retry', { verb: 'retry', dryRun: true }],
  ['queue bounce', { verb: 'bounce', dryRun: true }],
  ['queue delete', { verb: 'delete', dryRun: true }],
  ['queue reroute --to relay', { verb: 'reroute', dryRun: true }],
])('%s --dry-run --json changes nothing', async (line, report) => {
  const { code, stdout } = await postilion(`${line} --domain example.net --dry-run --json`);
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject(report);
  expect(mta.verbs).toEqual([expect.stringMatching(/^\w+ \{"domain":"example.net"\} true /)]);
});

test.each([
  ['suspend', { dryRun: true, suspended: true }],
  ['resume', { dryRun: true, suspended: false }],
  [
    'suspend --scope tenant acme',
    { dryRun: true, suspensions: [{ scope: 'tenant', name: 'acme' }] },
  ],
  ['resume --scope tenant acme', { dryRun: true, suspensions: [] }],
  [
    'reroute example.net --to relay:25',
    { dryRun: true, reroutes: [{ scope: 'domain', name: 'example.net', to: 'relay:25' }] },
  ],
  [
    'drain',
    {
      dryRun: true,
      messages: 1,
      queued: 1,
      leased: 0,
      remains: [{ on: 'retry', recipients: 1, id: ID, text: WAITING.wait.text }],
    },
  ],
])('%s --dry-run --json asks for nothing', async (line, answer) => {
  const { code, stdout } = await postilion(`${line} --dry-run --json`);
  expect([code, JSON.parse(stdout)]).toEqual([0, answer]);
  expect(mta.verbs).toEqual([]);
});

test.each([
  ['queue list', { next: null }],
  [`queue show ${MESSAGE}`, { header: 'Subject: s\r\n' }],
  [`why ${MESSAGE}`, { recipients: [expect.objectContaining({ id: ID, nextHop: null })] }],
  ['queue counts', { messages: 1, queued: 1, leased: 0, quarantined: 0 }],
])('%s --json', async (line, answer) => {
  const { code, stdout } = await postilion(`${line} --json`);
  expect([code, JSON.parse(stdout)]).toEqual([0, expect.objectContaining(answer)]);
});

test.each([
  ['queue reroute --domain example.net', 2, "required option '--to <HOP>'"],
  ['queue hold', 1, 'name either ids, or any of domain, tenant and campaign'],
  ['reroute example.net --to a/b', 1, 'not a next hop; write HOST, HOST:PORT, or mx'],
  ['suspend example.net', 2, 'give NAME and --scope together'],
  ['queue hold --domain example.net --end-rests', 2, "unknown option '--end-rests'"],
])('%s is refused', async (line, code, words) => {
  const ran = await postilion(line);
  expect([ran.code, ran.stderr]).toEqual([code, expect.stringContaining(words)]);
  expect(mta.verbs).toEqual([]);
});

test('drain tells what remains, and why', async () => {
  const { stdout } = await postilion('drain --within 0s');
  expect(stdout.split('\n').slice(0, 2)).toEqual([
    '1 messages remain: 1 recipients queued, 0 in delivery. See them with: postilion queue list',
    'WAITS FOR  RECIPIENTS  SUCH AS        WHY',
  ]);
  expect(stdout).toContain(`retry      1           ${ID}  450`);
});

test('without the token nothing is done, and reading goes on', async () => {
  const refused = await runCommand(['queue', 'hold', MESSAGE, '--http', http]);
  expect([refused.code, refused.stderr]).toEqual([1, 'this needs the token of admin.token']);
  expect((await runCommand(['queue', 'list', '--http', http])).code).toBe(0);
  expect(mta.verbs).toEqual([]);
});
