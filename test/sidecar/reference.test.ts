import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configurationReference, metricsReference } from '../../sidecar/reference.ts';

const committed = (name: string) =>
  readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), 'utf8');

/** "npm run reference" writes both anew. */
test('docs/reference/configuration.md is what the schema says', () => {
  expect(committed('configuration.md')).toBe(configurationReference());
});

test('docs/reference/metrics.md is what the programs export', async () => {
  expect(committed('metrics.md')).toBe(await metricsReference());
});
