import { readFileSync } from 'node:fs';

const manifest: unknown = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
);

/** As package.json has it. */
export const VERSION = String((manifest as { readonly version: unknown }).version);
