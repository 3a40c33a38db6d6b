/** The command line as a person or a script meets it: words, JSON and exit codes. */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMtaAdmin } from '../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../sidecar/admin/resolver.ts';
import { listenAt } from '../../sidecar/admin/server.ts';
import { CONTEXT, fakeMta, fakeResolver, WAITING } from './support/programs.ts';

const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs in a folder without postilion.toml. */
const postilion = (...args: readonly string[]): Promise<Ran> =>
  new Promise((resolve) => {
    execFile(process.execPath, [CLI, ...args], { cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-cli-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe('help', () => {
  test('lists every command, examples and exit codes', async () => {
    const { code, stdout } = await postilion('--help');
    expect(code).toBe(0);
    for (const command of [
      'up',
      'resolver',
      'mta',
      'check',
      'status',
      'explain',
      'cache',
      'why',
      'queue',
      'route',
      'doctor',
    ]) {
      expect(stdout).toMatch(new RegExp(`^  ${command} `, 'm'));
    }
    expect(stdout).toContain(
      'Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 nothing',
    );
  });

  test.each([['up'], ['why'], ['cache', 'flush']])('of %s has an example', async (...command) => {
    const { code, stdout } = await postilion(...command, '--help');
    expect([code, stdout.includes(`Example:\n  postilion ${command.join(' ')}`)]).toEqual([
      0,
      true,
    ]);
  });

  test("--version is the package's", async () => {
    expect(await postilion('--version')).toEqual({ code: 0, stdout: '0.1.0\n', stderr: '' });
  });
});

describe('bad usage exits 2 and says what to do', () => {
  test.each([
    [[], /Usage: postilion/],
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['check', '--confg', 'x'], /unknown option '--confg'\n\(Did you mean --config\?\)/],
    [['why'], /missing required argument 'ID'/],
    [['cache', 'flush'], /one of --name, --suffix, --type or --all/],
    [['cache', 'dump', '--limit', '-1'], /Write a whole number/],
    [['mta', '--set', 'delivery=1'], /Write it as table\.key=value/],
    [['mta', '--set', 'mta.delivery.prot=1'], /--set mta\.delivery\.prot: .*did you mean "port"\?/],
    [
      ['resolver', '--listen', 'nowhere'],
      /--listen: resolver\.listen\[0\]: "nowhere" is not an address/,
    ],
    [['status', '--admin', 'x'], /--admin: "x" is not an address/],
  ])('%j', async (args, words) => {
    const { code, stderr } = await postilion(...args);
    expect(stderr).toMatch(words);
    expect(code).toBe(2);
  });
});

describe('check', () => {
  test('a good file', async () => {
    const file = join(folder, 'good.toml');
    writeFileSync(file, '[mta]\nhostname = "mx.example.net"');
    const { code, stdout } = await postilion('check', '--config', file);
    expect(code).toBe(0);
    expect(stdout.split('\n')).toEqual([
      `${file}: valid`,
      '  resolver  answers DNS at 127.0.0.1:5335, forwards to the nameservers of /etc/resolv.conf',
      '  mta       takes mail at 127.0.0.1:2525 as mx.example.net, queues in ./spool, asks 127.0.0.1:5335',
      '',
    ]);
  });

  test('a bad file: every error with its line, in words and in JSON', async () => {
    const file = join(folder, 'bad.toml');
    writeFileSync(file, '[resolver]\nlisen = []\n[mta]\nspol = "x"\n');
    const lines = [
      `${file}:2: resolver.lisen: unknown key; did you mean "listen"?`,
      `${file}:4: mta.spol: unknown key; did you mean "spool"?`,
    ];
    expect(await postilion('check', '--config', file)).toEqual({
      code: 2,
      stdout: '',
      stderr: `${lines.join('\n')}\n`,
    });
    const { code, stdout } = await postilion('check', '--config', file, '--json');
    expect([code, JSON.parse(stdout)]).toEqual([2, { valid: false, errors: lines, warnings: [] }]);
  });
});

describe('asking what runs', () => {
  const resolver = createResolverAdmin(fakeResolver(), CONTEXT);
  const mta = createMtaAdmin(fakeMta(), CONTEXT);
  let admin: string;
  let http: string;
  beforeAll(async () => {
    admin = `127.0.0.1:${(await listenAt(resolver, { address: '127.0.0.1', port: 0 })).port}`;
    http = `127.0.0.1:${(await listenAt(mta, { address: '127.0.0.1', port: 0 })).port}`;
  });
  afterAll(() => Promise.all([resolver.close(), mta.close()]));

  test('status', async () => {
    const { code, stdout } = await postilion('status', '--admin', admin, '--http', http);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^resolver +ready, up .*, at 127\.0\.0\.1:5335$/m);
    expect(stdout).toMatch(/^ {2}queries +0, 75\.0 % answered without asking$/m);
    expect(stdout).toMatch(/^mta +ready, up .*, as mta\.example\.net$/m);
  });

  test('status of one program alone is no failure', async () => {
    const { code, stdout } = await postilion('status', '--admin', admin, '--http', '127.0.0.1:1');
    expect([code, stdout.includes('no mta answers at 127.0.0.1:1')]).toEqual([0, true]);
  });

  test('explain, in JSON', async () => {
    const { stdout } = await postilion('explain', 'example.net', '--admin', admin, '--json');
    expect(JSON.parse(stdout)).toMatchObject({ domain: 'example.net', cached: [] });
  });

  test("a refusal is the program's own sentence", async () => {
    const { code, stderr } = await postilion('explain', 'a..b', '--admin', admin);
    expect([code, stderr.startsWith('postilion: domain: not a domain name')]).toEqual([1, true]);
  });

  test('cache flush', async () => {
    const ran = await postilion('cache', 'flush', '--all', '--admin', admin);
    expect(ran).toEqual({ code: 0, stdout: '7 entries dropped\n', stderr: '' });
  });

  test('queue list, and no control character of a stranger reaches the terminal', async () => {
    const { code, stdout } = await postilion('queue', 'list', '--http', http);
    expect([code, stdout.includes(WAITING.id)]).toEqual([0, true]);
    expect(stdout).not.toContain('\x1b');
    expect(stdout).toContain('450 ·[31m');
  });

  test('route: hosts by rank, and why one is of no use', async () => {
    const { code, stdout } = await postilion('route', 'Example.org', '--http', http);
    expect([code, stdout.split('\n')]).toEqual([
      0,
      [
        'example.org  route: mail goes to the MX hosts',
        '  rank 1     mx1.example.net  192.0.2.1, 2001:db8::1',
        '  rank 2     mx2.example.net  looking up mx2.example.net: SERVFAIL',
        '  site       mx1.example.net+1~k3f9, port 25',
        '  id         1:25:opportunistic::mx1.example.net/mx2.example.net',
        '  TLS        opportunistic',
        '  DNS        DNSSEC vouches for the MX',
        '  limit      connections 20  (community limits of google)',
        '  limit      retry 1m 5m  (mta.delivery, mta.retry)',
        '  known for  1m 30s',
        '',
      ],
    ]);
  });

  test('why: one that is not there', async () => {
    const { code, stderr } = await postilion('why', '00000000001', '--http', http);
    expect([code, stderr]).toEqual([
      1,
      'postilion: not in the queue: delivered, returned or never accepted\n',
    ]);
  });
});

describe('nobody to ask', () => {
  let stranger: Server;
  afterAll(() => stranger.close());

  test('exits 3 and says how to start one', async () => {
    const { code, stderr } = await postilion('queue', 'counts', '--http', '127.0.0.1:1');
    expect(code).toBe(3);
    expect(stderr).toBe(
      'postilion: no mta answers at 127.0.0.1:1; start one with "postilion up", or say where it is with --http or --config\n',
    );
  });

  test('somebody else has the port', async () => {
    stranger = createServer((_request, response) => response.writeHead(404).end('<h1>Hello'));
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve));
    const { port } = stranger.address() as { port: number };
    const { code, stderr } = await postilion(
      'status',
      '--admin',
      `127.0.0.1:${port}`,
      '--http',
      '127.0.0.1:1',
    );
    expect([code, stderr]).toEqual([
      1,
      `postilion: 127.0.0.1:${port} answered 404; is this Postilion?\n`,
    ]);
  });
});
