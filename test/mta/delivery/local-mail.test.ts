/** Mail for a domain of our own: it waits, explained, until its taker has done with it; also across a restart. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Cleanup } from '../../support/cleanup.ts';
import { waitFor } from '../../support/process.ts';
import { type Folder, scratchFolder } from '../../support/scratch.ts';
import { createWorld } from '../world.ts';

const BOUNCES = 'bounces.sender.example';
let cleanup: Cleanup;
let spool: Folder;
beforeEach(async () => {
  cleanup = new Cleanup();
  spool = await scratchFolder('local-mail');
  cleanup.add(() => spool.remove());
});
afterEach(() => cleanup.run());

const open = () =>
  createWorld(
    { mail: {}, sinks: {}, mta: { spool: spool.path, feedback: { domains: [BOUNCES] } } },
    cleanup,
  );

test('while it cannot be kept it stays in the spool, why says so, and then it is taken', async () => {
  // A file stands where the folder for such mail should be.
  const obstacle = join(spool.path, 'unrecognised');
  await writeFile(obstacle, '');
  let home = await open();
  const [id] = await home.send([{ to: [`help@${BOUNCES}`, `also@${BOUNCES}`] }]);
  await waitFor(async () => (await home.why(id!))[0]?.wait.on === 'retry', 'the failure');
  for (const { attempts, wait } of await home.why(id!)) {
    expect(attempts).toBe(0);
    expect(wait.text).toMatch(/^it could not be read here, and is tried again: .*E(NOTDIR|EXIST)/);
  }
  home = await home.restart();
  expect((await home.why(id!)).length).toBe(2);
  expect((await home.mta.status()).outcomes).toMatchObject({ bounced: 0 });
  await rm(obstacle);
  await home.drained();
  const metrics = await home.mta.metrics.metrics();
  expect(metrics).toContain('postilion_mta_messages_total{outcome="taken"} 2');
});

test('a hundred messages at once, and one more each time the door is quiet', async () => {
  const home = await open();
  await home.send(Array.from({ length: 100 }, (_, at) => ({ to: [`x${at}@${BOUNCES}`] })));
  await home.drained();
  await home.send([{ to: [`last@${BOUNCES}`] }]);
  await home.drained();
  expect(await home.mta.metrics.metrics()).toContain('{outcome="taken"} 101');
  expect([...home.authority.questions.keys()].filter((name) => name.includes(BOUNCES))).toEqual([]);
});
