/** One program goes from one process to another, with real processes that fail at every step. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { StartFailed } from '../../sidecar/process.ts';
import type { ProgramName, UpgradeStatus } from '../../sidecar/protocol.ts';
import { Supervised } from '../../sidecar/supervised.ts';
import { type Succession, Upgrade } from '../../sidecar/upgrade.ts';
import { ManualClock } from '../support/clock.ts';
import { waitFor } from '../support/process.ts';

const module = fileURLToPath(new URL('support/child.ts', import.meta.url));
const STOP_TIMEOUT_MS = 10_000;
const YIELD_MARGIN_MS = 15_000;

let folder: string;
let child: Supervised;
let statuses: UpgradeStatus[];
let settled: boolean[];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-upgrade-'));
  statuses = [];
  settled = [];
});

afterEach(async () => {
  child.kill();
  await child.stop();
  rmSync(folder, { recursive: true });
});

interface Given {
  readonly name?: ProgramName;
  readonly probationMs?: number;
  readonly readyTimeoutMs?: number;
  readonly succeed?: () => Promise<Succession>;
  readonly clock?: ManualClock;
}

/** @param steps of the old process, then of its successors */
async function begin(steps: readonly string[], given: Given = {}): Promise<Upgrade> {
  const { name = 'mta', probationMs = 200, readyTimeoutMs = 20_000, clock = systemClock() } = given;
  const raw = { script: join(folder, 'script'), journal: join(folder, 'journal') };
  writeFileSync(raw.script, steps.join('\n'));
  writeFileSync(raw.journal, '');
  const overlaps = name === 'resolver';
  const spec = { name, module, stopTimeoutMs: STOP_TIMEOUT_MS, raw, overlaps };
  child = new Supervised(spec, clock, silentLog);
  await child.start();
  const settle = (taken: boolean) => void settled.push(taken);
  const succession = { version: '2.0.0', specs: [spec], readyTimeoutMs, probationMs, settle };
  return new Upgrade({
    children: [child],
    number: 1,
    from: '1.0.0',
    succeed: given.succeed ?? (async () => succession),
    clock,
    log: silentLog,
    onStatus: (status) => void statuses.push(status),
  });
}

const lines = (): string[] => readFileSync(join(folder, 'journal'), 'utf8').trim().split('\n');

/** What the processes did, the first being "a", the next "b". */
function journal(): string[] {
  const pids = [...new Set(lines().map((line) => line.split(' ')[1]!))];
  return lines().map((line) => {
    const [, pid, ...what] = line.split(' ');
    return `${'abc'[pids.indexOf(pid!)]} ${what.join(' ')}`;
  });
}

const outcome = () => {
  const { state, reason, to } = statuses.at(-1)!;
  return { state, reason, to, settled };
};

const GONE_ON = ['a serve', 'b prepares to serve', 'a yields', 'b goes', 'a stopped'];

test('the old mta lets go before the new one works, and waits until its probation is over', async () => {
  const upgrade = await begin(['serve', 'serve']);
  expect(await upgrade.run()).toBe('2.0.0');
  expect(journal()).toEqual(GONE_ON);
  expect([...new Set(statuses.map(({ state }) => state))]).toEqual([
    'preparing',
    'handing-over',
    'probation',
    'done',
  ]);
  expect(outcome()).toEqual({ state: 'done', reason: null, to: '2.0.0', settled: [true] });
});

test('the new resolver works before the old one lets go', async () => {
  const upgrade = await begin(['serve', 'serve'], { name: 'resolver' });
  expect(await upgrade.run()).toBe('2.0.0');
  expect(journal()).toEqual(['a serve', 'b prepares to serve', 'b goes', 'a yields', 'a stopped']);
});

test('what has taken over is restarted when it crashes, as the one before was', async () => {
  const upgrade = await begin(['serve', 'serve', 'serve']);
  await upgrade.run();
  process.kill(Number(lines().at(-2)!.split(' ')[1]), 'SIGKILL');
  await waitFor(() => journal().at(-1) === 'c serve', 'the third');
});

test('a version that cannot be started at all touches nothing', async () => {
  const upgrade = await begin(['serve'], {
    succeed: async () => Promise.reject(new StartFailed('postilion.toml:3: unknown key "smpt"')),
  });
  expect(await upgrade.run()).toBeNull();
  expect(journal()).toEqual(['a serve']);
  expect(outcome()).toEqual({
    state: 'refused',
    reason: 'postilion.toml:3: unknown key "smpt"',
    to: null,
    settled: [],
  });
});

test('one that cannot be loaded touches nothing', async () => {
  const upgrade = await begin(['serve', 'unloadable']);
  expect(await upgrade.run()).toBeNull();
  expect(journal()).toEqual(['a serve', 'b prepares to unloadable']);
  expect(outcome()).toMatchObject({
    state: 'refused',
    reason: 'mta: ended with exit code 9 before it was ready',
    settled: [false],
  });
});

test.each([
  ['refuse', 'mta: the address 127.0.0.1:1 is in use'],
  ['die', 'mta: ended with exit code 7 before it was ready'],
  ['brief', 'mta: ended with exit code 8 during its probation'],
])('one that fails when it is to work (%s): the old one goes on', async (step, reason) => {
  const upgrade = await begin(['serve', step], { probationMs: 10_000 });
  expect(await upgrade.run()).toBeNull();
  expect(outcome()).toMatchObject({ state: 'rolled-back', reason, settled: [false] });
  expect(journal()).toEqual(['a serve', `b prepares to ${step}`, 'a yields', 'b goes', 'a goes']);
});

test('one that is not ready in time: the old one goes on', async () => {
  const upgrade = await begin(['serve', 'silent'], { readyTimeoutMs: 3_000 });
  expect(await upgrade.run()).toBeNull();
  expect(outcome().reason).toBe('the new version was not ready within 3 s');
  expect(journal()).toEqual([
    'a serve',
    'b prepares to silent',
    'a yields',
    'b goes',
    'b yields',
    'b stopped',
    'a goes',
  ]);
});

test('a resolver that is not ready in time leaves the old one as it is', async () => {
  const upgrade = await begin(['serve', 'silent'], { name: 'resolver', readyTimeoutMs: 3_000 });
  expect(await upgrade.run()).toBeNull();
  expect(outcome()).toMatchObject({ state: 'refused' });
  expect(journal()).not.toContain('a yields');
});

test('an old one that does not let go is killed, and another of its kind started where the new one fails', async () => {
  const clock = new ManualClock();
  const upgrade = await begin(['stubborn', 'die', 'serve'], { clock });
  const ended = upgrade.run();
  await waitFor(() => statuses.at(-1)?.state === 'handing-over', 'the old one to be asked');
  clock.advance(STOP_TIMEOUT_MS + YIELD_MARGIN_MS);
  expect(await ended).toBeNull();
  expect(journal()).toEqual(['a stubborn', 'b prepares to die', 'b goes', 'c serve']);
});

test('all is stopped amid an upgrade: both end, and nothing is started again', async () => {
  const upgrade = await begin(['serve', 'serve'], { probationMs: 60_000 });
  const ended = upgrade.run();
  await waitFor(() => statuses.at(-1)?.state === 'probation', 'its probation');
  upgrade.abandon();
  await child.stop();
  expect(await ended).toBeNull();
  expect(journal().slice(-2).sort()).toEqual(['a stopped', 'b stopped']);
});
