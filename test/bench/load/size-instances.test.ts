/** The table of instance types that comes with the finder, and what is no table. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { EXAMPLES, readInstances } from '../../../bench/load/size-instances.ts';
import { scratchFolder } from '../../support/scratch.ts';

it('says that its prices are examples, and of which day', async () => {
  const { areExamples, asOf, instances } = await readInstances(EXAMPLES);
  expect([areExamples, asOf]).toEqual([true, '2026-11-24']);
  expect(instances[0]).toEqual({
    name: '2 vCPU, 4 GiB',
    processors: 2,
    memoryGiB: 4,
    pricePerHour: 0.08,
    speed: 1,
  });
});

it('takes another file, and refuses what it does not know', async () => {
  const folder = await scratchFolder('instances');
  onTestFinished(() => folder.remove());
  const file = join(folder.path, 'mine.toml');
  const table = (more: string): string =>
    `currency = "EUR"\nas_of = 2026-01-02\n[[instance]]\nname = "a"\nprocessors = 1\nmemory_gib = 0.5\nprice_per_hour = 1\n${more}`;
  await writeFile(file, table('speed = 0.5\n'));
  expect(await readInstances(file)).toMatchObject({
    areExamples: false,
    asOf: '2026-01-02',
    instances: [{ speed: 0.5 }],
  });
  await writeFile(file, table('price_per_day = 1\n'));
  await expect(readInstances(file)).rejects.toThrow(/price_per_day/);
});
