/**
 * docs/reference/, written from the schema that the programs themselves obey. Run this file to
 * write it anew; a test holds what is committed equal to what would be written.
 */
import { writeFileSync } from 'node:fs';
import { listSettings, type Setting } from './config/schema.ts';

const CONFIGURATION_HEAD = `# Configuration

One TOML file holds everything; every key has a default, so an empty file is a valid one. It is read
from \`--config FILE\`, else from \`postilion.toml\` in the working directory when that exists. Flags
outrank the file. \`postilion check --config FILE\` says everything that is wrong with a file, with
lines and suggestions; an unknown key is an error.

- **Durations** are strings such as \`"500ms"\`, \`"30s"\`, \`"1h30m"\`, \`"3d"\`, or \`"0"\`.
- **Addresses** are strings such as \`"127.0.0.1:5335"\` or \`"[::1]:5335"\`; without a port, the default
  port of the key holds.
- **Networks** are strings such as \`"10.0.0.0/8"\` or \`"::1"\`.
- **Files and folders** are relative to the working directory.

This page is written by \`npm run reference\` from the schema; edit \`resolver/config.ts\`,
\`mta/config.ts\` or \`sidecar/config/schema.ts\` instead.
`;

export function configurationReference(): string {
  const tables = Map.groupBy(listSettings(), ({ path }) => path.slice(0, -1).join('.'));
  const parts = [...tables].map(
    ([table, settings]) =>
      `\n## [${table}]\n\n| Key | Type | Default | |\n|---|---|---|---|\n${settings.map(row).join('')}`,
  );
  return CONFIGURATION_HEAD + parts.join('');
}

function row(setting: Setting): string {
  const { path, defaultText, description } = setting;
  const cells = [`\`${path.at(-1)}\``, typeText(setting), defaultCell(defaultText), description];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
}

const defaultCell = (text: string | null): string => (text === null ? '' : `\`${text}\``);

function typeText({ type, choices, minimum, maximum }: Setting): string {
  if (choices.length > 0) return choices.map((choice) => `\`"${choice}"\``).join(', ');
  if (minimum !== null && maximum !== null) return `${type}, ${minimum} to ${maximum}`;
  return minimum === null ? type : `${type}, at least ${minimum}`;
}

if (import.meta.main) {
  const folder = new URL('../docs/reference/', import.meta.url);
  writeFileSync(new URL('configuration.md', folder), configurationReference());
}
