/** Completion for fish, with what each word is for. */
import { type CommandWords, pathText, type Value, valuedOptions } from './words.ts';

/** @param all of wordsOf() */
export const fishScript = (all: readonly CommandWords[]): string => `\
# Completion of postilion for fish: postilion completion fish | source, or a file of it in
# ~/.config/fish/completions/postilion.fish

function __postilion_at --argument-names path
  set -l at
  set -l is_value
  for each in (commandline -opc)[2..]
    if test -n "$is_value"
      set is_value
      continue
    end
    switch $each
      case ${valuedOptions(all).join(' ')}
        set is_value yes
      case '-*'
      case '*'
        if contains -- (string join ' ' $at $each) ${all
          .filter(({ path }) => path.length > 0)
          .map((words) => `'${pathText(words)}'`)
          .join(' ')}
          set at $at $each
        end
    end
  end
  test "$at" = "$path"
end

complete -c postilion -f
${all.flatMap(linesOf).join('\n')}
`;

const quoted = (text: string): string =>
  `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;

function linesOf(words: CommandWords): readonly string[] {
  const here = `complete -c postilion -n ${quoted(`__postilion_at ${quoted(pathText(words))}`)}`;
  return [
    ...words.subcommands.map(({ name, about }) => `${here} -a ${name} -d ${quoted(about)}`),
    ...words.options.map(
      ({ long, about, value }) =>
        `${here} -l ${long.replace(/^--/, '')}${value === null ? '' : ` -x${valueText(value)}`} -d ${quoted(about)}`,
    ),
    ...(words.argument === null || words.argument.kind === 'free'
      ? []
      : [`${here}${valueText(words.argument)}`]),
  ];
}

function valueText(value: Value): string {
  switch (value.kind) {
    case 'choice':
      return ` -a ${quoted(value.choices.join(' '))}`;
    case 'file':
      return " -a '(__fish_complete_path (commandline -ct))'";
    case 'folder':
      return " -a '(__fish_complete_directories (commandline -ct))'";
    case 'free':
      return '';
  }
}
