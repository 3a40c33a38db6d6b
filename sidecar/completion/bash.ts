/** Completion for bash 4 and later. */
import { at, valueCases, walk } from './cases.ts';
import { type CommandWords, pathText, type Value } from './words.ts';

/** @param all of wordsOf() */
export const bashScript = (all: readonly CommandWords[]): string => `\
# Completion of postilion for bash: eval "$(postilion completion bash)", or a file of it in
# /usr/share/bash-completion/completions/postilion

_postilion() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD - 1]}
  local at='' each='' is_value='' index
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    each=\${COMP_WORDS[index]}
${walk(all)}
  done
  if [[ -n $is_value ]]; then
    case "$at $previous" in
${valueCases(all, completing)}
    esac
    return
  fi
  case "$at" in
${wordCases(all)}
  esac
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

function wordCases(all: readonly CommandWords[]): string {
  return all
    .map((words) => {
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
      return [`    '${at(words)}') # ${pathText(words) || 'the root'}`, ...lines, '      ;;'].join(
        '\n',
      );
    })
    .join('\n');
}
