/** What bash and zsh have in common: from the words so far to what may come next. */
import { type CommandWords, type Value, valuedOptions } from './words.ts';

/** Where the two differ. */
export interface Dialect {
  /** The array of the words so far, the index of the first after our name, and that of the one to complete. */
  readonly words: string;
  readonly first: number;
  readonly current: string;
  /** A command that offers such values. */
  completing(value: Value): string;
  /** The lines of the case of a command: what may come after it. */
  wordCase(words: CommandWords): readonly string[];
}

/** A path is written with a space before each name, " queue hold"; the root is "". */
export const at = ({ path }: CommandWords): string => path.map((name) => ` ${name}`).join('');

/** The function's body: it has `at`, `each` and `is_value`, all empty, and `previous` and `index`. */
export const completionBody = (
  all: readonly CommandWords[],
  { words, first, current, completing, wordCase }: Dialect,
): string => `\
  for ((index = ${first}; index < ${current}; index++)); do
    each=\${${words}[index]}
${walk(all)}
  done
  if [[ -n $is_value ]]; then
    case "$at $previous" in
${valueCases(all, completing)}
    esac
    return
  fi
  case "$at" in
${all.flatMap((command) => wordCase(command)).join('\n')}
  esac`;

/** Walks `each` of the words so far: `at` is then the command, `is_value` whether a value is next. */
const walk = (all: readonly CommandWords[]): string => `\
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
const valueCases = (all: readonly CommandWords[], completing: (value: Value) => string): string =>
  all
    .flatMap((words) =>
      words.options.flatMap(({ long, value }) =>
        value === null || value.kind === 'free'
          ? []
          : [`      '${at(words)} ${long}') ${completing(value)} ;;`],
      ),
    )
    .join('\n');
