/** The resolver as a user starts it, killed without warning: it comes back warm from its snapshot. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { startPostilion } from '../../bench/load/postilion.ts';
import { TYPE } from '../../resolver/wire/constants.ts';
import { Cleanup } from '../support/cleanup.ts';
import { answers, FakeUpstream } from '../support/fake-upstream.ts';
import { waitFor } from '../support/process.ts';
import { askUdp, brief, question, UdpClient } from '../support/resolver.ts';
import { scratchFolder } from '../support/scratch.ts';

const NAMES = 1_000;
let cleanup: Cleanup;
beforeEach(() => {
  cleanup = new Cleanup();
});
afterEach(() => cleanup.run());

test('kill -9: of a thousand names hardly any is asked upstream again', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers(3_600)));
  const folder = await scratchFolder('restart');
  cleanup.add(() => folder.remove());
  const snapshot = join(folder.path, 'cache.snapshot');
  const resolver = cleanup.stop(
    await startPostilion({
      program: 'resolver',
      upstream: upstream.endpoint,
      resolver: { snapshot, snapshot_every: '1s', bundles: 'off' },
    }),
  );
  /** @returns packets upstream that it took */
  const askAll = async (): Promise<number> => {
    const before = upstream.asked.length;
    const client = new UdpClient(resolver.dns);
    for (let name = 0; name < NAMES; name += 1) {
      client.send(question(`n${name}.example`, TYPE.A, { id: name }));
      if (name % 20 === 19) await client.answer(name + 1);
    }
    client.close();
    return upstream.asked.length - before;
  };
  const cold = await askAll();
  const askedAtMs = Date.now();
  await waitFor(() => {
    const saved = statSync(snapshot, { throwIfNoEntry: false });
    // One that began when all was asked.
    return saved !== undefined && saved.mtimeMs > askedAtMs + 1_000;
  }, 'a snapshot');
  await resolver.kill();
  await resolver.restart();
  const warm = await askAll();
  expect(cold).toBeGreaterThanOrEqual(NAMES);
  expect(warm).toBeLessThanOrEqual(cold / 20);
}, 30_000);

test('an upgrade is warm: the old resolver saves what it knows, and leaves the file to the new one', async () => {
  const upstream = cleanup.stop(await FakeUpstream.start(answers(3_600)));
  const folder = await scratchFolder('restart');
  cleanup.add(() => folder.remove());
  const snapshot = join(folder.path, 'cache.snapshot');
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'up',
      upstream: upstream.endpoint,
      resolver: { snapshot, bundles: 'off' },
      upgrade: { probation: '200ms' },
    }),
  );
  const ask = async (name: string): Promise<void> => {
    expect(brief(await askUdp(postilion.dns, question(name, TYPE.A)))).toBe('NOERROR 1');
  };
  await ask('before.example');
  for (const name of ['first.example', 'second.example']) {
    expect(await postilion.upgrade()).toMatchObject({ state: 'done' });
    await ask('before.example');
    await ask(name);
  }
  expect(upstream.asked).toHaveLength(3);
  postilion.process().signal('SIGTERM');
  await postilion.process().exited;
  await postilion.restart();
  for (const name of ['before', 'first', 'second']) await ask(`${name}.example`);
  expect(upstream.asked).toHaveLength(3);
}, 120_000);
