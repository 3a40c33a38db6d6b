/** What a shell may complete, read off the tree of commands. */
import type { Argument, Command, Option } from 'commander';

/** What may follow an option or stand for an argument. */
export type Value =
  | { readonly kind: 'file' | 'folder' }
  /** Nothing that a shell could know. */
  | { readonly kind: 'free' }
  | { readonly kind: 'choice'; readonly choices: readonly string[] };

export interface OptionWord {
  /** With its dashes. */
  readonly long: string;
  /** As help has it: "--config <FILE>". */
  readonly flags: string;
  readonly about: string;
  /** null: a switch. */
  readonly value: Value | null;
}

export interface CommandWords {
  /** Names from the root down, the root's own left out: [] is the root, ["queue", "hold"]. */
  readonly path: readonly string[];
  readonly about: string;
  /** What follows the name: "[options] <ID>". */
  readonly usage: string;
  readonly subcommands: readonly { readonly name: string; readonly about: string }[];
  readonly options: readonly OptionWord[];
  /** Of its first argument; null when it takes none. */
  readonly argument: Value | null;
}

/** Every command, parents first. */
export function wordsOf(command: Command, path: readonly string[] = []): readonly CommandWords[] {
  const help = command.createHelp();
  const own: CommandWords = {
    path,
    about: command.description(),
    usage: command.usage(),
    subcommands: command.commands.map((each) => ({
      name: each.name(),
      about: each.description(),
    })),
    options: help.visibleOptions(command).flatMap(optionWord),
    argument: argumentValue(command.registeredArguments[0]),
  };
  return [own, ...command.commands.flatMap((child) => wordsOf(child, [...path, child.name()]))];
}

function optionWord(option: Option): readonly OptionWord[] {
  if (option.long === undefined) return [];
  const takesValue = option.required || option.optional;
  const value = takesValue ? valueAs(option.flags, option.argChoices) : null;
  return [{ long: option.long, flags: option.flags, about: option.description, value }];
}

const argumentValue = (argument: Argument | undefined): Value | null =>
  argument === undefined ? null : valueAs(`<${argument.name()}>`, argument.argChoices);

function valueAs(flags: string, choices: readonly string[] | undefined): Value {
  if (choices !== undefined) return { kind: 'choice', choices };
  if (flags.includes('<FILE>')) return { kind: 'file' };
  return { kind: flags.includes('<FOLDER>') ? 'folder' : 'free' };
}

/** Options that are followed by a value, wherever they are taken: a word after one is no command. */
export const valuedOptions = (all: readonly CommandWords[]): readonly string[] =>
  [
    ...new Set(
      all.flatMap(({ options }) =>
        options.filter(({ value }) => value !== null).map(({ long }) => long),
      ),
    ),
  ].sort();

/** "queue hold"; the root is "". */
export const pathText = ({ path }: CommandWords): string => path.join(' ');
