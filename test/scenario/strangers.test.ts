/**
 * Clients that are not on loopback: a network namespace with an address of its own, from which dig asks.
 * What they may ask, how much, and with which cookie; loopback is spared all of it.
 */
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { stringify } from 'smol-toml';
import { expect, onTestFinished, test } from 'vitest';
import { Cleanup } from '../support/cleanup.ts';
import { requirePeer } from '../support/peers.ts';
import { startProcess } from '../support/process.ts';
import { scratchFolder } from '../support/scratch.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const READY_TIMEOUT_MS = 10_000;
/** Of a documentation network (RFC 5737); it exists only in the namespace. */
const STRANGER = '198.51.100.7';
/** The namespace is of nobody else, so its ports are free. */
const PORT = 5353;

interface Namespace {
  /** Of 198.51.100.7, to the resolver at the same address. @returns what dig prints */
  dig(...args: readonly string[]): string;
  digFromLoopback(...args: readonly string[]): string;
}

async function start(settings: object): Promise<Namespace> {
  const cleanup = new Cleanup();
  onTestFinished(() => cleanup.run());
  const folder = await scratchFolder('strangers');
  cleanup.add(() => folder.remove());
  const config = join(folder.path, 'postilion.toml');
  const resolver = {
    listen: [`${STRANGER}:${PORT}`, `127.0.0.1:${PORT}`],
    upstreams: ['127.0.0.1:5300'],
    admin: '127.0.0.1:8053',
    local: [{ name: 'mail.example', type: 'A', data: '192.0.2.25' }],
    ...settings,
  };
  await writeFile(config, stringify({ resolver }));
  const script = [
    'ip link set lo up',
    `ip address add ${STRANGER}/32 dev lo`,
    `exec ${process.execPath} sidecar/cli.ts resolver --config ${config}`,
  ].join(' && ');
  const server = cleanup.stop(
    startProcess('unshare', ['--net', 'sh', '-c', script], { cwd: ROOT }),
  );
  await server.waitForOutput(/ready in/, READY_TIMEOUT_MS);
  const enter = (from: string, args: readonly string[]): string => {
    const where = [
      '-t',
      String(server.pid),
      '-n',
      'dig',
      '-b',
      from,
      `@${from}`,
      '-p',
      String(PORT),
    ];
    const quick = ['+tries=1', '+time=2'];
    return spawnSync('nsenter', [...where, ...quick, ...args], { encoding: 'utf8' }).stdout;
  };
  return {
    dig: (...args) => enter(STRANGER, args),
    digFromLoopback: (...args) => enter('127.0.0.1', args),
  };
}

requirePeer(
  'dig',
  'root',
  'private-network',
)('clients of another network', () => {
  test('are refused unless resolver.allow names them', async () => {
    const namespace = await start({});
    expect(namespace.dig('mail.example')).toMatch(/status: REFUSED[\s\S]*resolver\.allow/);
    expect(namespace.digFromLoopback('mail.example', '+short')).toBe('192.0.2.25\n');
  });

  test('over rate_limit they are told to come by TCP, and are answered there', async () => {
    const namespace = await start({ allow: ['127.0.0.0/8', `${STRANGER}/32`], rate_limit: 1 });
    const answers = Array.from({ length: 4 }, () => namespace.dig('mail.example', '+ignore'));
    // A bucket of two fills with one a second.
    expect(answers[0]).toMatch(/status: NOERROR[\s\S]*192\.0\.2\.25/);
    expect(answers[3]).toMatch(/flags: qr tc[\s\S]*resolver\.rate_limit/);
    for (let n = 0; n < 4; n += 1) {
      expect(namespace.digFromLoopback('mail.example', '+short')).toBe('192.0.2.25\n');
    }
  });

  test('with require_cookies they must bring ours over UDP', async () => {
    const namespace = await start({
      allow: ['127.0.0.0/8', `${STRANGER}/32`],
      require_cookies: true,
    });
    const bad = namespace.dig('mail.example', '+cookie=0102030405060708', '+nobadcookie');
    expect(bad).toContain('status: BADCOOKIE');
    expect(namespace.dig('mail.example', '+nocookie', '+ignore')).toMatch(/flags: qr tc/);
    // dig repeats BADCOOKIE with the cookie that it was given.
    expect(namespace.dig('mail.example', '+badcookie', '+short')).toBe('192.0.2.25\n');
    const plain = namespace.digFromLoopback('mail.example', '+nocookie', '+short');
    expect(plain).toBe('192.0.2.25\n');
  });
});
