/**
 * From a TOML file and command-line flags to a checked configuration. Everything that is wrong is
 * reported at once; nothing wrong is ever repaired silently.
 *
 * Precedence: flags, then the file, then defaults.
 */
import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { parse, TomlError } from 'smol-toml';
import { GENERAL_LIMITS } from '../../mta/config.ts';
import { RESOLVER_PORT } from '../../resolver/config.ts';
import { formatEndpoint, parseEndpoint } from '../../runtime/settings.ts';
import { checkConfig, type Role, reachable } from './checks.ts';
import { type KeyPath, locateKeys } from './lines.ts';
import { ConfigInvalid, formatProblems, type Origin, problemsOf } from './problems.ts';
import { type Config, configSchema, type RawConfig } from './schema.ts';

/** Read when no --config is given and it exists. */
export const DEFAULT_FILE = 'postilion.toml';

/** A value from the command line. */
export interface Override {
  readonly flag: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

export interface LoadRequest {
  /** null: {@link DEFAULT_FILE} when it exists, else defaults. */
  readonly file: string | null;
  readonly overrides: readonly Override[];
  readonly role: Role;
}

export interface Loaded {
  readonly config: Config;
  /** What was written, flags and derived values included: gives the same config when parsed again. */
  readonly raw: RawConfig;
  readonly file: string | null;
  /** One line each, as errors are written. */
  readonly warnings: readonly string[];
}

/** @throws ConfigInvalid with every error found */
export function loadConfig(request: LoadRequest): Loaded {
  const file = request.file ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : null);
  const source = file === null ? '' : readSource(file);
  const raw = parseSource(source, file);
  for (const { path, value } of request.overrides) assign(raw, path, value);
  if (request.role === 'up') deriveDns(raw);
  deriveHostname(raw);

  const origin: Origin = { file, lines: locateKeys(source), flags: request.overrides };
  const parsed = configSchema.safeParse(raw);
  if (!parsed.success) {
    throw new ConfigInvalid(formatProblems(problemsOf(parsed.error.issues, raw), origin));
  }
  const findings = checkConfig(parsed.data, request.role, file);
  if (findings.errors.length > 0) throw new ConfigInvalid(formatProblems(findings.errors, origin));
  const config = withWritten(parsed.data, raw);
  return { config, raw, file, warnings: formatProblems(findings.warnings, origin) };
}

/** Parses what a parent process has checked already. */
export const parseChecked = (raw: RawConfig): Config => withWritten(configSchema.parse(raw), raw);

/** Which general limits were written, since these outrank what comes with the program. */
function withWritten(config: Config, raw: RawConfig): Config {
  const written = Object.entries(GENERAL_LIMITS)
    .filter(([, path]) => valueAt(raw, ['mta', ...path]) !== undefined)
    .map(([name]) => name);
  return { ...config, mta: { ...config.mta, written: new Set(written) } };
}

function readSource(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new ConfigInvalid([`${file}: cannot be read: ${code}`]);
  }
}

type Table = Record<string, unknown>;

function parseSource(source: string, file: string | null): Table {
  try {
    return parse(source);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const reason = error.message.split('\n')[0]!.replace('Invalid TOML document: ', '');
    const excerpt = error.codeblock.trimEnd().split('\n');
    const indented = excerpt.map((line) => `    ${line}`).join('\n');
    throw new ConfigInvalid([`${file}:${error.line}: not TOML: ${reason}\n${indented}`]);
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A table that the file wrote as something else is left alone: the schema will say so. */
function assign(root: Table, path: readonly string[], value: unknown): void {
  let table = root;
  for (const key of path.slice(0, -1)) {
    const child = Object.hasOwn(table, key) ? table[key] : undefined;
    const next = child ?? Object.create(null);
    if (!isTable(next)) return;
    table[key] = next;
    table = next;
  }
  table[path.at(-1)!] = value;
}

/** Under `up`, the mta asks the resolver that is started beside it unless told otherwise. */
function deriveDns(raw: Table): void {
  const listen = valueAt(raw, ['resolver', 'listen']);
  if (!Array.isArray(listen) || valueAt(raw, ['mta', 'dns']) !== undefined) return;
  const first = typeof listen[0] === 'string' ? parseEndpoint(listen[0], RESOLVER_PORT) : null;
  if (first !== null) assign(raw, ['mta', 'dns'], formatEndpoint(reachable(first)));
}

function deriveHostname(raw: Table): void {
  if ((valueAt(raw, ['mta', 'hostname']) ?? '') === '')
    assign(raw, ['mta', 'hostname'], hostname());
}

function valueAt(root: Readonly<Table>, path: KeyPath): unknown {
  let value: unknown = root;
  for (const key of path)
    value = isTable(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return value;
}
