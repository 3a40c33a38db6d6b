import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configurationReference } from '../../sidecar/reference.ts';

const committed = (name: string) =>
  readFileSync(new URL(`../../docs/reference/${name}`, import.meta.url), 'utf8');

test('docs/reference is what the schema says; "npm run reference" writes it', () => {
  expect(committed('configuration.md')).toBe(configurationReference());
});
