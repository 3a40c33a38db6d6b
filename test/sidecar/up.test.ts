/** `up` as a person starts it: both programs, their crashes, and the ways to stop. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { childrenOf, type RunningProcess, startProcess, waitFor } from '../support/process.ts';
import { freePort } from '../support/scratch.ts';

const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));

let folder: string;
let config: string;
let addresses: { dns: string; admin: string; smtp: string; http: string };
let started: RunningProcess[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-up-'));
  config = join(folder, 'postilion.toml');
  started = [];
  const address = async () => `127.0.0.1:${await freePort()}`;
  addresses = {
    dns: await address(),
    admin: await address(),
    smtp: await address(),
    http: await address(),
  };
  writeFileSync(
    config,
    `[resolver]
listen = ["${addresses.dns}"]
upstreams = ["127.0.0.1:9"]
admin = "${addresses.admin}"
[mta]
smtp = ["${addresses.smtp}"]
http = "${addresses.http}"
spool = "${folder}/spool"
hostname = "mta.example.net"
drain = "1s"
`,
  );
});

afterEach(async () => {
  for (const each of started) await each.stop();
  rmSync(folder, { recursive: true });
});

function up(): RunningProcess {
  const running = startProcess(process.execPath, [CLI, 'up', '--config', config], { cwd: folder });
  started.push(running);
  return running;
}

/** A resolver whose upstream is silent is alive, though not ready. */
const isAlive = async (address: string): Promise<boolean> =>
  fetch(`http://${address}/healthz`).then(
    ({ ok }) => ok,
    () => false,
  );

test('is ready soon, tells where, and SIGTERM ends it with nothing left', async () => {
  const running = up();
  const [, seconds] = await running.waitForOutput(/resolver \+ mta ready in ([\d.]+) s/);
  await running.waitForOutput(/Ctrl-C stops/);
  console.log(`ready in ${seconds} s`);
  for (const address of Object.values(addresses)) expect(running.output()).toContain(address);
  const page = await fetch(`http://${addresses.http}/`);
  expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8');
  const frame = await fetch(`http://${addresses.http}/v1/dashboard/frame`);
  const { state } = (await frame.json()) as { state: { dns: { listen: string[] } } };
  expect(state.dns.listen).toEqual([addresses.dns]);

  const children = childrenOf(running.pid);
  expect(children).toHaveLength(2);
  running.signal('SIGTERM');
  expect(await running.exited).toEqual({ code: 0, signal: null });
  expect(children.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]);
});

test('Ctrl-C reaches the whole group, and only the supervisor obeys', async () => {
  const running = up();
  await running.waitForOutput(/Ctrl-C stops/);
  const children = childrenOf(running.pid);
  for (const pid of children) process.kill(pid, 'SIGINT');
  expect([await isAlive(addresses.http), await isAlive(addresses.admin)]).toEqual([true, true]);
  for (const pid of [...children, running.pid]) process.kill(pid, 'SIGINT');
  expect(await running.exited).toEqual({ code: 0, signal: null });
  expect(running.output()).not.toMatch(/rror/);
});

test('a program that crashes comes back, and the other never notices', async () => {
  const running = up();
  await running.waitForOutput(/Ctrl-C stops/);
  const [first] = childrenOf(running.pid);
  process.kill(first!, 'SIGKILL');
  await running.waitForOutput(/child is up again/);
  expect(running.output()).toMatch(/"signal":"SIGKILL".*"restartInMs":250/);
  await waitFor(
    async () => (await isAlive(addresses.http)) && (await isAlive(addresses.admin)),
    () => 'both to be up again',
  );
});

test('a program whose supervisor is gone stops by itself', async () => {
  const running = up();
  await running.waitForOutput(/Ctrl-C stops/);
  const children = childrenOf(running.pid);
  running.signal('SIGKILL');
  await running.exited;
  await waitFor(
    async () => children.every((pid) => !existsSync(`/proc/${pid}`)),
    () => 'the children to end',
  );
});

test.each(['dns', 'admin', 'smtp', 'http'] as const)(
  'the %s address is in use: nothing is started, and it says by whom',
  async (which) => {
    const [address, port] = addresses[which].split(':');
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(Number(port), address, resolve));
    const running = up();
    expect(await running.exited).toEqual({ code: 1, signal: null });
    expect(running.output()).toMatch(
      new RegExp(`${addresses[which]}\\D.* in use by .+ \\(process ${process.pid}\\)`),
    );
    expect(running.output()).not.toContain('restarted');
    holder.close();
  },
);

test('stopping while still starting', async () => {
  const running = up();
  await waitFor(
    async () => childrenOf(running.pid).length === 2,
    () => 'the children to be forked',
  );
  running.signal('SIGTERM');
  expect(await running.exited).toEqual({ code: 0, signal: null });
});
