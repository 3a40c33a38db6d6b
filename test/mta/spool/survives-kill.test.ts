import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { openAt } from './fixture.ts';

const APPENDER = fileURLToPath(new URL('./appender.ts', import.meta.url));
/** Acknowledgements after which each life ends; another number of commits is under way each time. */
const LIVES = [1, 50, 333, 1000];

let folder: Folder;
beforeEach(async () => {
  folder = await scratchFolder('spool');
});
afterEach(() => folder.remove());

/** Runs an appender until it has acknowledged so much, then kills it. @returns the ids it printed */
async function appendUntilKilled(acknowledged: number): Promise<number[]> {
  const child = spawn(process.execPath, [APPENDER, folder.path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let printed = '';
  let lines = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    printed += chunk.toString('latin1');
    lines = printed.split('\n').length - 1;
    if (lines >= acknowledged) child.kill('SIGKILL');
  });
  const [code, signal] = await closed;
  expect([code, signal]).toEqual([null, 'SIGKILL']);
  return printed.split('\n').slice(0, -1).map(Number);
}

test('every acknowledged message is there after kill -9, with its content', async () => {
  const acknowledged: number[] = [];
  for (const life of LIVES) acknowledged.push(...(await appendUntilKilled(life)));
  expect(new Set(acknowledged).size).toBe(acknowledged.length);

  const spool = await openAt(folder.path);
  const domains = Array.from({ length: 20 }, (_, n) => `d${n}.example`);
  const found = new Map<number, number>();
  for (;;) {
    const { messages } = await spool.lease({
      domains,
      nowMs: Number.MAX_SAFE_INTEGER,
      messagesMax: 500,
      bytesMax: 100_000_000,
      recipientsMax: 1,
    });
    if (messages.length === 0) break;
    for (const { message, content } of messages) found.set(message, content.length);
  }
  expect(acknowledged.filter((id) => found.get(id) !== 10_240)).toEqual([]);
  // More may be there: committed, and killed before that was said.
  const counts = await spool.counts();
  expect(counts).toEqual({ messages: found.size, queued: 0, leased: found.size, quarantined: 0 });
  await spool.close();
});
