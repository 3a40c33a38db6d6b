/** Who reads the output goes away: a command ends without a word, what serves goes on. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { LogLines } from '../../sidecar/log.ts';
import { childrenOf, type RunningProcess, startProcess, waitFor } from '../support/process.ts';
import { freePort } from '../support/scratch.ts';

const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));
const POSTILION = `${process.execPath} ${CLI}`;

let folder: string;
let started: RunningProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-readers-'));
  started = [];
});
afterEach(async () => {
  for (const each of started) await each.stop();
  rmSync(folder, { recursive: true });
});

describe('a command whose reader has gone', () => {
  // Descriptor 3 is a pipe whose reader has ended before the command begins.
  const AFTER_READER = 'exec 3> >(:); wait $!';

  test.each([
    ['queue --help'],
    ['config show --effective'],
    ['check'],
    ['completion bash'],
    ['--version'],
  ])('%s: quiet, with the status of SIGPIPE', (command) => {
    const script = `${AFTER_READER}; ${POSTILION} ${command} >&3`;
    const { status, stderr } = spawnSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8' });
    expect([status, stderr]).toEqual([141, '']);
  });

  test('its errors too', () => {
    const script = `${AFTER_READER}; ${POSTILION} frobnicate 2>&3`;
    expect(spawnSync('bash', ['-c', script], { cwd: folder }).status).toBe(141);
  });

  test('a full disk is told', () => {
    const script = `${POSTILION} completion bash > /dev/full`;
    const { status, stderr } = spawnSync('bash', ['-c', script], { cwd: folder, encoding: 'utf8' });
    expect([status, stderr]).toEqual([
      1,
      'postilion: the output could not be written: ENOSPC: no space left on device, write\n',
    ]);
  });
});

describe('what serves goes on', () => {
  let http: string;
  let admin: string;
  const upWith = async (redirection: string): Promise<RunningProcess> => {
    const address = async () => `127.0.0.1:${await freePort()}`;
    [http, admin] = [await address(), await address()];
    const config = join(folder, 'postilion.toml');
    writeFileSync(
      config,
      `[resolver]
listen = ["${await address()}"]
upstreams = ["127.0.0.1:9"]
admin = "${admin}"
[mta]
smtp = ["${await address()}"]
http = "${http}"
spool = "${folder}/spool"
hostname = "mta.example.net"
drain = "1s"
`,
    );
    const script = `${redirection}; exec ${POSTILION} up --config ${config} >&3 2>&3`;
    const running = startProcess('bash', ['-c', script], { cwd: folder });
    started.push(running);
    return running;
  };
  const isWell = (address: string): Promise<boolean> =>
    fetch(`http://${address}/healthz`).then(
      ({ ok }) => ok,
      () => false,
    );
  test.each([
    // In the background of a subshell the reader is no child of what becomes the supervisor.
    ['its reader has read one line', 'mkfifo pipe; (head -n 1 < pipe &); exec 3> pipe'],
    ['nobody ever reads', 'mkfifo pipe; (: < pipe &); exec 3> pipe'],
    ['its disk is full', 'exec 3> /dev/full'],
  ])('%s', async (_name, redirection) => {
    const running = await upWith(redirection);
    const areWell = async () => (await isWell(http)) && (await isWell(admin));
    await waitFor(areWell, 'both programs');
    // Each program logs, and so does the supervisor, of a child that ends.
    const before = childrenOf(running.pid);
    expect(before).toHaveLength(2);
    running.signal('SIGHUP');
    for (const pid of before) process.kill(pid, 'SIGKILL');
    await waitFor(async () => {
      const now = childrenOf(running.pid);
      return now.length === 2 && now.every((pid) => !before.includes(pid)) && (await areWell());
    }, 'both programs anew');
    running.signal('SIGTERM');
    expect(await running.exited).toEqual({ code: 0, signal: null });
  });
});

describe('lines of a log', () => {
  test('a reader that stalls loses lines, and is told how many', () => {
    const fifo = join(folder, 'log');
    execFileSync('mkfifo', [fifo]);
    const reading = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const writing = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    const lines = new LogLines(writing);
    const told: number[] = [];
    lines.onAgain = (lost) => told.push(lost);
    const line = `${'x'.repeat(4095)}\n`;
    // A pipe holds 64 KiB.
    for (let n = 0; n < 20; n += 1) lines.write(line);
    expect(told).toEqual([]);
    expect(readSync(reading, Buffer.alloc(65_536))).toBe(65_536);
    lines.write(line);
    lines.write(line);
    expect(told).toEqual([4]);
    expect(readSync(reading, Buffer.alloc(65_536))).toBe(2 * 4096);
    closeSync(reading);
    lines.write(line);
    closeSync(writing);
  });

  test('a line that was torn ends before the next begins', () => {
    const fifo = join(folder, 'log');
    execFileSync('mkfifo', [fifo]);
    const reading = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
    const writing = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
    const lines = new LogLines(writing);
    lines.write(`${'x'.repeat(70_000)}\n`);
    readSync(reading, Buffer.alloc(65_536));
    lines.write('next\n');
    const rest = Buffer.alloc(100);
    expect(rest.toString('utf8', 0, readSync(reading, rest))).toBe('\nnext\n');
    closeSync(reading);
    closeSync(writing);
  });
});
