/** Completion for bash 4 and later. */
import { at, completionBody, type Dialect } from './cases.ts';
import { type CommandWords, pathText, type Value } from './words.ts';

/** @param all of wordsOf() */
export const bashScript = (all: readonly CommandWords[]): string => `\
# Completion of postilion for bash: eval "$(postilion completion bash)", or a file of it in
# /usr/share/bash-completion/completions/postilion

_postilion() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local at='' each='' is_value='' index
  COMPREPLY=()
${completionBody(all, BASH)}
}
complete -F _postilion postilion
`;

function completing(value: Value): string {
  switch (value.kind) {
    case 'choice':
      return `mapfile -t COMPREPLY < <(compgen -W '${value.choices.join(' ')}' -- "$word")`;
    case 'file':
      return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$word")';
    case 'folder':
      return 'compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$word")';
    case 'free':
      return ':';
  }
}

function wordCase(words: CommandWords): readonly string[] {
  const { subcommands, options, argument } = words;
  const files = argument?.kind === 'file' || argument?.kind === 'folder';
  const choices = [
    ...subcommands.map(({ name }) => name),
    ...options.map(({ long }) => long),
    ...(argument?.kind === 'choice' ? argument.choices : []),
  ];
  const list = completing({ kind: 'choice', choices });
  const lines = files
    ? [`      if [[ $word == -* ]]; then ${list}`, `      else ${completing(argument)}; fi`]
    : [`      ${list}`];
  return [`    '${at(words)}') # ${pathText(words) || 'the root'}`, ...lines, '      ;;'];
}

const BASH: Dialect = {
  words: 'COMP_WORDS',
  first: 1,
  current: 'COMP_CWORD',
  completing,
  wordCase,
};
