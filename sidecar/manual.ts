/** The manual page postilion(1), written from the tree of commands: what `--help` says, in one place. */

import type { commandTree } from './command-tree.ts';
import { pathText, wordsOf } from './completion/words.ts';
import { EXIT } from './exit.ts';
import { VERSION } from './version.ts';

/** @returns roff for man(7) */
export function manualPage(tree: ReturnType<typeof commandTree>): string {
  const all = wordsOf(tree);
  const [root] = all;
  const leaves = all.filter(({ path, subcommands }) => path.length > 0 && subcommands.length === 0);
  return [
    `.TH POSTILION 1 "" "Postilion ${VERSION}" "User Commands"`,
    '.SH NAME',
    'postilion \\- caching DNS resolver and outbound MTA beside a mail server',
    '.SH SYNOPSIS',
    ...leaves.flatMap((words) => ['.B', escaped(`postilion ${pathText(words)}`), '[...]', '.br']),
    '.SH DESCRIPTION',
    escaped(root!.about),
    '.SH COMMANDS',
    ...leaves.flatMap(({ path, about, usage, options }) => [
      `.SS ${escaped(`postilion ${path.join(' ')} ${usage}`)}`,
      escaped(sentence(about)),
      ...options
        .filter(({ long }) => long !== '--help')
        .flatMap((option) => ['.TP', `.B ${escaped(option.flags)}`, escaped(option.about)]),
    ]),
    '.SH FILES',
    '.TP',
    '.I /etc/postilion/postilion.toml',
    'Configuration of the services of the Debian package.',
    '.TP',
    '.I ./postilion.toml',
    'Read when no --config is given.',
    '.SH EXIT STATUS',
    ...[
      [EXIT.ok, 'done'],
      [EXIT.failed, 'it was tried and did not work'],
      [EXIT.usage, 'bad flags, arguments or configuration'],
      [EXIT.notRunning, 'the command asks a running program, and none answers'],
    ].flatMap(([code, meaning]) => ['.TP', `.B ${code}`, String(meaning)]),
    '',
  ].join('\n');
}

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`;

/** A backslash, a hyphen, and a dot or quote at the start of a line mean something to roff. */
const escaped = (text: string): string =>
  text.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^[.']/, '\\&$&');
