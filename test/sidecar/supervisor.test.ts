/** Real children that crash, refuse and hang, and what the supervisor makes of it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Clock, systemClock } from '../../runtime/clock.ts';
import { type Log, silentLog } from '../../runtime/log.ts';
import { StartFailed } from '../../sidecar/process.ts';
import { restartDelayMs } from '../../sidecar/supervised.ts';
import { Supervisor } from '../../sidecar/supervisor.ts';
import { ManualClock } from '../support/clock.ts';

const CRASHED = 'child ended unexpectedly; it is restarted';
const module = fileURLToPath(new URL('support/child.ts', import.meta.url));

let folder: string;
let supervisor: Supervisor;
let lines: { readonly fields: object; readonly message: string }[];
let watchers: (() => void)[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-supervisor-'));
  lines = [];
  watchers = [];
});

afterEach(async () => {
  supervisor.kill();
  await supervisor.stop();
  rmSync(folder, { recursive: true });
});

interface Given {
  readonly stopTimeoutMs?: number;
  readonly clock?: Clock;
}

/** @param steps what the child does the first time, the second time, … */
function supervise(
  steps: readonly string[],
  { stopTimeoutMs = 10_000, clock = systemClock() }: Given = {},
): Supervisor {
  const [script, journal] = [join(folder, 'script'), join(folder, 'journal')];
  writeFileSync(script, steps.join('\n'));
  writeFileSync(journal, '');
  const note = (fields: object, message: string) => {
    lines.push({ fields, message });
    for (const wake of watchers) wake();
  };
  const log: Log = { ...silentLog, info: note, error: note };
  const specs = [{ name: 'mta', module, stopTimeoutMs, raw: { script, journal } }] as const;
  const succeed = async () => Promise.reject(new StartFailed('there is nothing to upgrade to'));
  supervisor = new Supervisor(specs, { version: '1.0.0', succeed, clock, log });
  return supervisor;
}

async function logged(message: string, times = 1): Promise<void> {
  while (lines.filter((line) => line.message === message).length < times) {
    await new Promise<void>((resolve) => watchers.push(resolve));
  }
}

/** What the children did, without their process ids. */
const journal = () =>
  readFileSync(join(folder, 'journal'), 'utf8').trim().replaceAll(/ \d+ /g, ' ').split('\n');

test('starts, reports where, and stops', async () => {
  const addresses = await supervise(['serve']).start();
  expect(addresses.get('mta')?.http).toMatch(/^127\.0\.0\.1:\d+$/);
  await supervisor.stop();
  expect(journal()).toEqual(['mta serve', 'mta stopped']);
  expect(lines).toEqual([]);
});

test('a child that refuses to start ends the start with its own words', async () => {
  await expect(supervise(['refuse']).start()).rejects.toMatchObject({
    code: 'SIDECAR_START_FAILED',
    message: 'mta: the address 127.0.0.1:1 is in use',
  });
  expect(journal()).toEqual(['mta refuse']);
});

test('a child that dies before it is ready is not tried again', async () => {
  await expect(supervise(['die']).start()).rejects.toMatchObject({
    message: 'mta: ended with exit code 7 before it was ready',
  });
  expect(journal()).toEqual(['mta die']);
});

test('a child that crashes later is restarted, also when that fails at first', async () => {
  const clock = new ManualClock();
  const addresses = await supervise(['serve', 'die', 'refuse', 'serve'], { clock }).start();
  const pid = Number(addresses.get('mta')!.http.split(':')[1]);
  process.kill(pid, 'SIGKILL');
  for (const [index, waitMs] of [250, 500, 1000].entries()) {
    await logged(CRASHED, index + 1);
    clock.advance(waitMs);
  }
  await logged('child is up again');
  expect(journal()).toEqual(['mta serve', 'mta die', 'mta refuse', 'mta serve']);
  expect(
    lines.filter(({ fields }) => 'restartInMs' in fields).map(({ fields }) => fields),
  ).toMatchObject([
    { child: 'mta', signal: 'SIGKILL', exitCode: null, restartInMs: 250 },
    { child: 'mta', signal: null, exitCode: 7, restartInMs: 500 },
    { child: 'mta', signal: null, exitCode: 1, restartInMs: 1000 },
  ]);
});

test('waits between restarts double up to half a minute', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 9, 1000].map(restartDelayMs)).toEqual([
    250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000,
  ]);
});

test('a child that does not stop is killed after its time', async () => {
  await supervise(['hang'], { stopTimeoutMs: 200 }).start();
  await supervisor.stop();
  expect(lines).toEqual([
    { fields: { child: 'mta', waitedMs: 200 }, message: 'did not stop in time; killed' },
  ]);
});

test('nothing is restarted once it is stopping', async () => {
  const clock = new ManualClock();
  const addresses = await supervise(['serve', 'serve'], { clock }).start();
  process.kill(Number(addresses.get('mta')!.http.split(':')[1]), 'SIGKILL');
  await logged(CRASHED);
  expect(clock.timers).toBe(1);
  await supervisor.stop();
  expect(clock.timers).toBe(0);
  expect(journal()).toEqual(['mta serve']);
});
