/** `completion`: what a shell needs to complete our commands and options. */
import { Argument, type Command } from 'commander';
import { bashScript } from '../completion/bash.ts';
import { fishScript } from '../completion/fish.ts';
import { type CommandWords, wordsOf } from '../completion/words.ts';
import { zshScript } from '../completion/zsh.ts';

const SCRIPTS = { bash: bashScript, fish: fishScript, zsh: zshScript } as const satisfies Readonly<
  Record<string, (all: readonly CommandWords[]) => string>
>;
type Shell = keyof typeof SCRIPTS;

export function addCompletionCommand(root: Command): void {
  root
    .command('completion')
    .description('print completion of commands and options for a shell')
    .addArgument(new Argument('<SHELL>', 'which').choices(Object.keys(SCRIPTS)))
    .addHelpText(
      'after',
      '\nExample:\n  postilion completion bash > /etc/bash_completion.d/postilion',
    )
    .action((shell: Shell) => {
      process.stdout.write(SCRIPTS[shell](wordsOf(root)));
    });
}
