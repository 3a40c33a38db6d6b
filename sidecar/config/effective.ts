/**
 * The configuration in effect, as TOML that gives the same when read again but for secrets, which
 * are never shown; each value with its origin.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'smol-toml';
import { type KeyPath, lineOf, locateKeys } from './lines.ts';
import type { Loaded } from './load.ts';
import { listSettings } from './schema.ts';
import { isSecret } from './secrets.ts';

export interface EffectiveSetting {
  readonly path: readonly string[];
  /** As in TOML; null when it is unset and has no default. */
  readonly text: string | null;
  readonly origin: 'default' | 'file' | 'derived';
  /** Of the file, from 1; null for other origins. */
  readonly line: number | null;
}

const HIDDEN = '(hidden)';

/** In the order of the schema. */
export function effectiveSettings({
  raw,
  file,
}: Pick<Loaded, 'raw' | 'file'>): readonly EffectiveSetting[] {
  const source = file === null ? '' : readFileSync(file, 'utf8');
  const written: unknown = parse(source);
  const lines = locateKeys(source);
  return listSettings().map(({ path, defaultText }) => {
    const value = valueAt(raw, path);
    if (value === undefined) return { path, text: defaultText, origin: 'default', line: null };
    const text = tomlText(disclosed(value, path));
    // An empty host name is written, and yet derived.
    const isWritten = Object.is(valueAt(written, path), value) || typeof value === 'object';
    if (!isWritten) return { path, text, origin: 'derived', line: null };
    return { path, text, origin: 'file', line: lineOf(lines, path) };
  });
}

export function effectiveToml(settings: readonly EffectiveSetting[], file: string | null): string {
  const tables = Map.groupBy(settings, ({ path }) => path.slice(0, -1).join('.'));
  return [...tables]
    .map(([table, rows]) => `[${table}]\n${rows.map((row) => rowText(row, file)).join('')}`)
    .join('\n');
}

function rowText({ path, text, origin, line }: EffectiveSetting, file: string | null): string {
  const key = path.at(-1)!;
  if (text === null) return `# ${key} is unset\n`;
  return `${key} = ${text}  # ${line === null ? origin : `${file}:${line}`}\n`;
}

const isTable = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function disclosed(value: unknown, path: KeyPath): unknown {
  if (Array.isArray(value)) return value.map((each, index) => disclosed(each, [...path, index]));
  if (!isTable(value)) return isSecret(path) ? HIDDEN : value;
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [key, disclosed(each, [...path, key])]),
  );
}

function valueAt(root: unknown, path: readonly string[]): unknown {
  let value = root;
  for (const key of path)
    value = isTable(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value;
}

/** On one line: JSON's strings and numbers are TOML's too. */
function tomlText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlText).join(', ')}]`;
  if (!isTable(value)) return JSON.stringify(value);
  const pairs = Object.entries(value).map(
    ([key, each]) => `${JSON.stringify(key)} = ${tomlText(each)}`,
  );
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
}
