/** What each shell completes is every command and option there is. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { commandTree } from '../../../sidecar/command-tree.ts';
import { bashScript } from '../../../sidecar/completion/bash.ts';
import { fishScript } from '../../../sidecar/completion/fish.ts';
import { valuedOptions, wordsOf } from '../../../sidecar/completion/words.ts';
import { zshScript } from '../../../sidecar/completion/zsh.ts';
import { requirePeer } from '../../support/peers.ts';

const tree = commandTree();
const WORDS = wordsOf(tree);

interface Expected {
  readonly line: string;
  readonly words: readonly string[];
}

/** Straight from the tree: the line "postilion queue hold", and what may come after it. */
function everyCommand(command: Command, path: readonly string[] = ['postilion']): Expected[] {
  const own = [
    ...command.commands.map((child) => child.name()),
    ...command.options.map((option) => option.long!),
    '--help',
    ...(command.registeredArguments[0]?.argChoices ?? []),
  ];
  const children = command.commands.flatMap((child) =>
    everyCommand(child, [...path, child.name()]),
  );
  return [{ line: path.join(' '), words: own.toSorted() }, ...children];
}
const EXPECTED = everyCommand(tree);
const LINES = EXPECTED.map(({ line }) => line);

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postilion-completion-'));
  writeFileSync(join(folder, 'bash'), bashScript(WORDS));
  writeFileSync(join(folder, 'zsh'), zshScript(WORDS));
  writeFileSync(join(folder, 'fish'), fishScript(WORDS));
});
afterAll(() => rmSync(folder, { recursive: true }));

function shell(program: string, script: string, lines: readonly string[]): string[] {
  const options = program === 'bash' ? ['--norc'] : program === 'zsh' ? ['-f'] : ['--no-config'];
  const source = join(folder, program);
  const done = spawnSync(program, [...options, '-c', script, source, ...lines], {
    encoding: 'utf8',
    cwd: folder,
  });
  expect(done.stderr).toBe('');
  return done.stdout.split('\n');
}

/** Blocks of lines, each ended by "=": one for each line completed. */
function blocks(lines: readonly string[]): string[][] {
  const done: string[][] = [];
  let open: string[] = [];
  for (const line of lines) {
    if (line === '=') {
      done.push(open);
      open = [];
    } else if (line !== '') open.push(line);
  }
  return done;
}

/** In the last place of each line: what a person has typed of the word. */
const BASH = `
source "$0"
for line in "$@"; do
  typed=\${line##* }
  read -ra COMP_WORDS <<<"\${line% *}"
  COMP_WORDS+=("$typed")
  COMP_CWORD=$((\${#COMP_WORDS[@]} - 1))
  _postilion
  printf '%s\\n' "\${COMPREPLY[@]}" '='
done`;
const bash = (lines: readonly string[]) => blocks(shell('bash', BASH, lines));

const isOption = (word: string): boolean => word.startsWith('--');

/** Options where a dash has been typed; commands and choices where nothing has, and files do not come first. */
function expectEverything(complete: (lines: readonly string[]) => readonly string[][]): void {
  const words = complete(LINES.map((line) => `${line} `));
  const options = complete(LINES.map((line) => `${line} --`));
  for (const [index, expected] of EXPECTED.entries()) {
    expect(options[index]!.filter(isOption).toSorted()).toEqual(expected.words.filter(isOption));
    const plain = expected.words.filter((word) => !isOption(word));
    if (plain.length > 0)
      expect(words[index]!.filter((word) => !isOption(word)).toSorted()).toEqual(plain);
  }
}

test('bash: every command and option', () => expectEverything(bash));

test('the command prints the script', () => {
  const cli = fileURLToPath(new URL('../../../sidecar/cli.ts', import.meta.url));
  const done = spawnSync(process.execPath, [cli, 'completion', 'bash'], { encoding: 'utf8' });
  expect([done.status, done.stdout]).toEqual([0, bashScript(WORDS)]);
});

test('bash: what has been begun, values, and words after values', () => {
  expect(
    bash([
      'postilion queue h',
      'postilion up --log-level ',
      'postilion --se',
      'postilion cache top --by pa',
      'postilion queue list --domain queue --af',
      'postilion why --http 127.0.0.1:8025 --js',
      'postilion queue hold --domain ',
      'postilion up --config ba',
      'postilion cache warm zs',
      'postilion nonsense che',
      'postilion completion ',
    ]),
  ).toEqual([
    ['hold'],
    ['debug', 'info', 'warn', 'error', 'silent'],
    [],
    ['packets'],
    ['--after'],
    ['--json'],
    [],
    ['bash'],
    ['zsh'],
    ['check'],
    ['--help', 'bash', 'fish', 'zsh'],
  ]);
});

requirePeer('fish')('fish', () => {
  const FISH = `
source $argv[1]
for line in $argv[2..]
  complete -C $line | string replace -r '\\t.*' ''
  echo '='
end`;
  const fish = (lines: readonly string[]) => {
    const options = ['--no-config', '-c', FISH, join(folder, 'fish'), ...lines];
    const done = spawnSync('fish', options, { encoding: 'utf8', cwd: folder });
    expect(done.stderr).toBe('');
    return blocks(done.stdout.split('\n'));
  };

  test('every command and option', () => expectEverything(fish));

  test('values', () => {
    expect(fish(['postilion up --log-level ', 'postilion queue list --domain queue --af'])).toEqual(
      [['debug', 'error', 'info', 'silent', 'warn'], ['--after']],
    );
  });
});

requirePeer('zsh')('zsh', () => {
  // What the completion system of zsh would be given; it draws only on a terminal.
  const ZSH = `
compdef() { : }
_describe() { print -l -- \${\${(P)@[-1]}%%:*} }
_files() { : }
compadd() { shift; print -l -- "$@" }
source "$0"
for line in "$@"; do
  words=(\${(z)line} "")
  CURRENT=\${#words}
  _postilion
  print '='
done`;
  test('every command and option', () => {
    const completed = blocks(shell('zsh', ZSH, LINES));
    expect(completed.map((words) => words.toSorted())).toEqual(EXPECTED.map(({ words }) => words));
  });
  test('values', () => {
    expect(blocks(shell('zsh', ZSH, ['postilion up --log-level']))).toEqual([
      ['debug', 'info', 'warn', 'error', 'silent'],
    ]);
  });
});

describe('what the scripts rest on', () => {
  test('an option takes a value everywhere or nowhere', () => {
    const valued = new Set(valuedOptions(WORDS));
    const switches = WORDS.flatMap(({ options }) =>
      options.filter(({ value }) => value === null).map(({ long }) => long),
    );
    expect(switches.filter((long) => valued.has(long))).toEqual([]);
  });

  test('names need no quoting in a shell', () => {
    for (const { path, options } of WORDS) {
      for (const word of [...path, ...options.map(({ long }) => long)])
        expect(word).toMatch(/^[a-z0-9-]+$/);
    }
  });
});
