/** What bash and zsh have in common: cases by the path of a command. */
import { type CommandWords, type Value, valuedOptions } from './words.ts';

/** A path is written with a space before each name, " queue hold"; the root is "". */
export const at = ({ path }: CommandWords): string => path.map((name) => ` ${name}`).join('');

/** Walks `each` of the words so far: `at` is then the command, `is_value` whether a value is next. */
export const walk = (all: readonly CommandWords[]): string => `\
    if [[ -n $is_value ]]; then
      is_value=''
      continue
    fi
    case $each in
      ${valuedOptions(all).join(' | ')}) is_value=yes ;;
      -*) ;;
      *)
        case "$at $each" in
${all
  .filter(({ path }) => path.length > 0)
  .map((words) => `          '${at(words)}') at='${at(words)}' ;;`)
  .join('\n')}
        esac
        ;;
    esac`;

/** A case for each option whose values are known. */
export const valueCases = (
  all: readonly CommandWords[],
  completing: (value: Value) => string,
): string =>
  all
    .flatMap((words) =>
      words.options.flatMap(({ long, value }) =>
        value === null || value.kind === 'free'
          ? []
          : [`      '${at(words)} ${long}') ${completing(value)} ;;`],
      ),
    )
    .join('\n');
