/**
 * What the documentation shows exists: commands with their options, npm scripts and benches, settings,
 * paths of the HTTP interfaces, and the files that links lead to.
 */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { parse } from 'smol-toml';
import { describe, expect, test } from 'vitest';
import packageJson from '../package.json' with { type: 'json' };
import { commandTree } from '../sidecar/command-tree.ts';
import { configSchema } from '../sidecar/config/schema.ts';
import { blocksOf } from './support/markdown.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
/** Decisions tell of their day, so what they name may be gone. */
const PAGES = globSync(['*.md', 'docs/**/*.md', 'deploy/**/*.md', 'bench/**/*.md'], { cwd: ROOT })
  .filter((page) => !page.startsWith('docs/decisions/'))
  .sort();
const SOURCES = globSync(['sidecar/**/*.ts', 'mta/**/*.ts', 'resolver/**/*.ts'], { cwd: ROOT })
  .map((file) => readFileSync(join(ROOT, file), 'utf8'))
  .join('\n');

const textOf = (page: string): string => readFileSync(join(ROOT, page), 'utf8');

/** Command lines of `postilion` in blocks and in the text, without what explains them behind three spaces. */
function commandLines(page: string): string[] {
  const inline = [...textOf(page).matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);
  return blocksOf(join(ROOT, page))
    .flatMap(({ text }) => text.replaceAll('\\\n', ' ').split('\n'))
    .concat(inline)
    .map((line) => line.split(/ {3,}|\s+#|\s+[|>&]|\d>/)[0]!)
    .filter((line) => /^(?:npx )?postilion [a-z]/.test(line))
    .map((line) => line.replace(/^(?:npx )?postilion /, '').trim());
}

/** @returns what is wrong with it, or null */
function faultOf(line: string): string | null {
  const words = line.match(/"[^"]*"|\S+/g) ?? [];
  let command: Command = commandTree();
  const options = new Set<string>();
  for (const word of words) {
    const inner = command.commands.find((one) => one.name() === word);
    if (inner !== undefined) command = inner;
    else if (word.startsWith('--')) options.add(word.split('=')[0]!);
    else if (command.commands.length > 0) return `no command "${word}"`;
  }
  const known = new Set(command.options.flatMap(({ long }) => long ?? []));
  const unknown = [...options].filter((option) => option !== '--help' && !known.has(option));
  return unknown.length === 0 ? null : `${command.name()} has no ${unknown.join(', ')}`;
}

test('faults of command lines are seen', () => {
  expect(['queue list --domain a.example', 'queue lsit', 'why 1 --sjon'].map(faultOf)).toEqual([
    null,
    'no command "lsit"',
    'why has no --sjon',
  ]);
});

describe.each(PAGES)('%s', (page) => {
  const text = textOf(page);

  test('commands and their options exist', () => {
    const faults = commandLines(page).map((line) => [line, faultOf(line)]);
    expect(faults.filter(([, fault]) => fault !== null)).toEqual([]);
  });

  test('settings are taken', () => {
    for (const block of blocksOf(join(ROOT, page))) {
      if (block.language !== 'toml' || block.notRun !== null) continue;
      const { success, error } = configSchema.safeParse(parse(block.text));
      expect([`${page}:${block.line}`, success, error?.issues]).toEqual([
        `${page}:${block.line}`,
        true,
        undefined,
      ]);
    }
  });

  test('npm scripts and benches exist', () => {
    const named = [...text.replaceAll(/\s+/g, ' ').matchAll(/npm run ([\w-]+)(?: -- ([\w/-]+))?/g)];
    const missing = named.filter(([, script = '', bench]) => {
      if (!Object.hasOwn(packageJson.scripts, script)) return true;
      if (script !== 'bench' || bench === undefined) return false;
      if (/^(list|demo|NAME|-.*)$/.test(bench)) return false;
      const file = bench.startsWith('micro/') ? bench : `scenarios/${bench}`;
      return !existsSync(join(ROOT, 'bench', `${file}.ts`));
    });
    expect(missing.map(([whole]) => whole)).toEqual([]);
  });

  test('paths of HTTP exist', () => {
    const paths = [...text.matchAll(/\/(?:api\/)?(?:v1|inject)\/[a-z]+/g)].map(([path]) => path);
    expect([...new Set(paths)].filter((path) => !SOURCES.includes(path))).toEqual([]);
  });

  test('links lead somewhere', () => {
    const links = [...text.matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g)].map(([, target]) => target!);
    const relative = links.filter((link) => !/^[a-z]+:/.test(link));
    const missing = relative.filter((link) => !existsSync(join(ROOT, dirname(page), link)));
    expect(missing).toEqual([]);
  });
});
