/** Completion for zsh, with what each word is for. */
import { at, completionBody, type Dialect } from './cases.ts';
import type { CommandWords, Value } from './words.ts';

/** @param all of wordsOf() */
export const zshScript = (all: readonly CommandWords[]): string => `\
#compdef postilion
# Completion of postilion for zsh: a file _postilion of it in a folder of $fpath, or
# source <(postilion completion zsh)

_postilion() {
  local at='' each='' is_value='' previous=\${words[CURRENT-1]}
  local -i index
  local -a commands options
${completionBody(all, ZSH)}
}
if [[ $funcstack[1] == _postilion ]]; then _postilion "$@"; else compdef _postilion postilion; fi
`;

function completing(value: Value): string {
  switch (value.kind) {
    case 'choice':
      return `compadd -- ${value.choices.join(' ')}`;
    case 'file':
      return '_files';
    case 'folder':
      return '_files -/';
    case 'free':
      return ':';
  }
}

/** In single quotes, where zsh knows no escape; a colon parts the word from what it is for. */
const candidate = (word: string, about: string): string =>
  `        '${word}:${about.replaceAll(':', '\\:').replaceAll("'", "'\\''")}'`;

function wordCase(words: CommandWords): readonly string[] {
  const { subcommands, options, argument } = words;
  return [
    `    '${at(words)}')`,
    ...described(
      'commands',
      subcommands.map(({ name, about }) => candidate(name, about)),
    ),
    ...described(
      'options',
      options.map(({ long, about }) => candidate(long, about)),
    ),
    ...(argument === null ? [] : [`      ${completing(argument)}`]),
    '      ;;',
  ];
}

/** Options are offered where a dash has been typed, or nothing else is to be had. */
function described(
  group: 'commands' | 'options',
  candidates: readonly string[],
): readonly string[] {
  if (candidates.length === 0) return [];
  const dashed = group === 'options' ? '-o ' : '';
  return [
    `      ${group}=(`,
    ...candidates,
    '      )',
    `      _describe ${dashed}${group} ${group}`,
  ];
}

const ZSH: Dialect = { words: 'words', first: 2, current: 'CURRENT', completing, wordCase };
