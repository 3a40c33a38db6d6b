/**
 * docs/reference/, written from the schema and the metrics that the programs themselves use. Run this
 * file to write it anew; a test holds what is committed equal to what would be written.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Registry } from 'prom-client';
import { startMta } from '../mta/main.ts';
import { startResolver } from '../resolver/main.ts';
import { systemClock } from '../runtime/clock.ts';
import { silentLog } from '../runtime/log.ts';
import { cryptoRandom } from '../runtime/random.ts';
import { configSchema, listSettings, type Setting } from './config/schema.ts';

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

Under \`postilion up\`, \`mta.dns\` follows \`resolver.listen\` unless it is set.

This page is written by \`npm run reference\` from the schema; edit \`resolver/config.ts\`,
\`mta/config.ts\` or \`sidecar/config/schema.ts\` instead.
`;

const METRICS_HEAD = `# Metrics

Prometheus text at \`/metrics\` of each program's HTTP address: \`resolver.admin\` and \`mta.http\`. Units are
seconds and bytes; counters end in \`_total\`. No label takes its values from clients or from mail, so the
number of series does not grow with traffic.

This page is written by \`npm run reference\` from the programs.
`;

export function configurationReference(): string {
  const tables = Map.groupBy(listSettings(), ({ path }) => path.slice(0, -1).join('.'));
  const parts = [...tables].map(
    ([table, settings]) =>
      `\n## [${table}]\n\n| Key | Type | Default | |\n|---|---|---|---|\n${settings.map(settingRow).join('')}`,
  );
  return CONFIGURATION_HEAD + parts.join('');
}

function settingRow(setting: Setting): string {
  const { path, defaultText, description } = setting;
  const text = defaultText === null ? '' : `\`${defaultText}\``;
  return tableRow([`\`${path.at(-1)}\``, typeText(setting), text, description]);
}

const tableRow = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;

function typeText({ type, choices, minimum, maximum }: Setting): string {
  if (choices.length > 0) return choices.map((choice) => `\`"${choice}"\``).join(', ');
  if (minimum !== null && maximum !== null) return `${type}, ${minimum} to ${maximum}`;
  return minimum === null ? type : `${type}, at least ${minimum}`;
}

/** Starts both programs on ports of the system's choice, since only they know their metrics. */
export async function metricsReference(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'postilion-reference-'));
  const config = configSchema.parse({
    resolver: { listen: ['127.0.0.1:0'], upstreams: ['127.0.0.1:9'] },
    mta: {
      smtp: [],
      spool: folder,
      dns: '127.0.0.1:9',
      hostname: 'mta.example.net',
      spool_reserve: 0,
    },
    log: {},
  });
  const deps = { clock: systemClock(), random: cryptoRandom(), log: silentLog };
  const resolver = await startResolver(config.resolver, deps);
  const mta = await startMta(config.mta, deps);
  const parts = [
    METRICS_HEAD,
    metricsTable('Resolver', resolver.metrics),
    metricsTable('Mta', mta.metrics),
  ];
  await Promise.all([resolver.stop(), mta.stop()]);
  rmSync(folder, { recursive: true });
  return parts.join('\n');
}

/** What prom-client keeps of a metric, whatever its kind. */
interface Described {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly labelNames: readonly string[];
}

function metricsTable(title: string, registry: Registry): string {
  const metrics = registry.getMetricsAsArray() as unknown as readonly Described[];
  const rows = metrics.map(({ name, type, labelNames, help }) =>
    tableRow([
      `\`${name}\``,
      type,
      (labelNames ?? []).map((label) => `\`${label}\``).join(', '),
      help,
    ]),
  );
  return `## ${title}\n\n| Name | Type | Labels | |\n|---|---|---|---|\n${rows.join('')}`;
}

if (import.meta.main) {
  const folder = new URL('../docs/reference/', import.meta.url);
  writeFileSync(new URL('configuration.md', folder), configurationReference());
  writeFileSync(new URL('metrics.md', folder), await metricsReference());
}
