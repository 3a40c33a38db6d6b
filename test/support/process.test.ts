import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { type RunningProcess, runProcess, startProcess } from './process.ts';

const started: RunningProcess[] = [];
const node = (script: string): RunningProcess => {
  const child = startProcess(process.execPath, ['-e', script]);
  started.push(child);
  return child;
};
afterEach(async () => {
  for (const child of started.splice(0)) await child.stop();
});

/** A zombie that nobody has reaped yet does not run. */
const runs = (pid: number): boolean => {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
};

test('stop ends the grandchildren too', async () => {
  const child = node(
    `const { pid } = require('node:child_process').spawn('sleep', ['60']);
     console.log('grandchild ' + pid); setInterval(() => {}, 1000)`,
  );
  const [, grandchild] = await child.waitForOutput(/grandchild (\d+)\n/);
  expect(runs(Number(grandchild))).toBe(true);
  expect(await child.stop()).toEqual({ code: null, signal: 'SIGTERM' });
  expect(runs(Number(grandchild))).toBe(false);
});

test('waiting for output fails with what was written when the process ends first', async () => {
  const child = node(`console.log('half'); process.exitCode = 3`);
  await expect(child.waitForOutput(/whole/)).rejects.toThrow('half');
  expect(await child.exited).toEqual({ code: 3, signal: null });
});

test('a program that is not there is an error', async () => {
  await expect(runProcess('/no/such/program', [])).rejects.toThrow('/no/such/program');
});

test('a program that does not end is stopped in time', async () => {
  await expect(runProcess('sleep', ['60'], { timeoutMs: 50 })).rejects.toThrow(
    'ran longer than 50 ms',
  );
});
