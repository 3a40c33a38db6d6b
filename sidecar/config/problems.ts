/**
 * What is wrong with a configuration, in words: zod's issues become sentences that name the value
 * found, what to write instead, and where.
 */
import type { z } from 'zod';
import { nearest } from '../../runtime/suggest.ts';
import { type KeyPath, lineOf } from './lines.ts';
import { listSettings } from './schema.ts';
import { isSecret } from './secrets.ts';

export interface Problem {
  readonly path: KeyPath;
  readonly message: string;
}

/** Problems with where they stand, sorted by line. Nothing was started. */
export class ConfigInvalid extends Error {
  override readonly name = 'ConfigInvalid';
  readonly code = 'CONFIG_INVALID';
  readonly lines: readonly string[];
  constructor(lines: readonly string[]) {
    super(lines.join('\n'));
    this.lines = lines;
  }
}

/** Where values came from. */
export interface Origin {
  /** null when there is no file and defaults hold. */
  readonly file: string | null;
  readonly lines: ReadonlyMap<string, number>;
  /** Command-line flags that replaced values, such as "--listen", and what they replaced. */
  readonly flags: readonly { readonly flag: string; readonly path: KeyPath }[];
}

/** @returns one line a problem, "FILE:LINE: KEY: MESSAGE", in the order of the file */
export function formatProblems(problems: readonly Problem[], origin: Origin): readonly string[] {
  return problems
    .map((problem) => ({ problem, line: lineOf(origin.lines, problem.path) ?? 0 }))
    .sort((a, b) => a.line - b.line)
    .map(({ problem, line }) => `${whereText(problem.path, line, origin)}${keyText(problem)}`);
}

function whereText(path: KeyPath, line: number, origin: Origin): string {
  const flag = origin.flags.find((each) => each.path.every((key, index) => key === path[index]));
  if (flag !== undefined) return `${flag.flag}: `;
  if (origin.file === null) return '';
  return line === 0 ? `${origin.file}: ` : `${origin.file}:${line}: `;
}

function keyText({ path, message }: Problem): string {
  return path.length === 0 ? message : `${formatPath(path)}: ${message}`;
}

/** resolver.listen[0] */
export const formatPath = (path: KeyPath): string =>
  path.reduce<string>(
    (text, key) =>
      typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`,
    '',
  );

/** @param raw the document the issues are about */
export function problemsOf(issues: readonly z.core.$ZodIssue[], raw: unknown): readonly Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)));
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({ path: [...path, key], message: unknownKey(path, key) }));
    }
    const value = valueAt(raw, path);
    const shown = isSecret(path) && !isTable(value) ? HIDDEN : value;
    return [{ path, message: sentence(issue, shown) }];
  });
}

function unknownKey(parent: readonly (string | number)[], key: string): string {
  const settings = listSettings();
  const siblings = new Set<string>();
  for (const { path } of settings) {
    if (parent.every((name, index) => name === path[index])) siblings.add(path[parent.length]!);
  }
  const near = nearest(key, siblings);
  if (near !== null) return `unknown key; did you mean "${near}"?`;
  const elsewhere = settings.find(({ path }) => path.at(-1) === key);
  if (elsewhere !== undefined) {
    return `unknown key here; "${key}" belongs under [${elsewhere.path.slice(0, -1).join('.')}]`;
  }
  const known = [...siblings].map((name) => `"${name}"`).join(', ');
  return `unknown key; known here are ${known}`;
}

function sentence(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case 'invalid_type':
      return `expected ${nounOf(issue.expected)}, not ${show(value)}${wrapHint(issue.expected, value)}`;
    case 'invalid_value':
      return notOneOf(issue.values, value);
    case 'invalid_union':
      return `expected ${issue.errors.map(expectation).join(' or ')}, not ${show(value)}`;
    case 'too_small':
      return bound(issue.origin, 'at least', Number(issue.minimum), value);
    case 'too_big':
      return bound(issue.origin, 'at most', Number(issue.maximum), value);
    default:
      return issue.message;
  }
}

function expectation(issues: readonly z.core.$ZodIssue[]): string {
  const [issue] = issues;
  if (issue?.code === 'invalid_type') return nounOf(issue.expected);
  if (issue?.code === 'invalid_value') return issue.values.map((value) => show(value)).join(' or ');
  if (issue?.code === 'too_small') return `a number of at least ${issue.minimum}`;
  if (issue?.code === 'too_big') return `a number of at most ${issue.maximum}`;
  return 'another value';
}

function notOneOf(values: readonly unknown[], value: unknown): string {
  const choices = values.map((choice) => show(choice)).join(', ');
  const near = typeof value === 'string' ? nearest(value, values.map(String)) : null;
  const hint = near === null ? '' : `; did you mean "${near}"?`;
  return `${show(value)} is not one of ${choices}${hint}`;
}

function bound(origin: string, relation: string, limit: number, value: unknown): string {
  if (origin === 'string')
    return limit === 1 ? 'must not be empty' : `must be ${relation} ${limit} characters`;
  if (origin === 'array') return `needs ${relation} ${limit} ${limit === 1 ? 'entry' : 'entries'}`;
  return `must be ${relation} ${limit}, not ${show(value)}`;
}

const NOUNS: Readonly<Record<string, string>> = {
  array: 'a list',
  int: 'a whole number',
  number: 'a number',
  object: 'a table',
  record: 'a table',
  string: 'a string in quotes',
};

const nounOf = (expected: string): string => NOUNS[expected] ?? expected;

function wrapHint(expected: string, value: unknown): string {
  if (expected === 'array' && typeof value === 'string') return `; write [${show(value)}]`;
  if (expected === 'string' && typeof value === 'number') return `; write "${value}"`;
  return '';
}

const SHOWN_LENGTH_MAX = 80;

/** Stands in a sentence for a value that nobody is to read there. */
const HIDDEN = Symbol('hidden');

const isTable = (value: unknown): boolean => typeof value === 'object' && value !== null;

function show(value: unknown): string {
  if (value === HIDDEN) return 'what is there';
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Date) return 'a date';
  if (typeof value === 'object') return 'a table';
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN_LENGTH_MAX ? `${text.slice(0, SHOWN_LENGTH_MAX)}…` : text;
}

function valueAt(raw: unknown, path: KeyPath): unknown {
  let value = raw;
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    value = (value as Record<string | number, unknown>)[key];
  }
  return value;
}
