/** `password`: a password for [mta.users], as the configuration may hold it. */
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { hashPassword, SALT_OCTETS } from '../../mta/intake/scrypt.ts';
import { CommandFailed, EXIT } from '../exit.ts';
import { printJson } from './print.ts';

export function addPasswordCommand(root: Command): void {
  root
    .command('password')
    .description('hash a password, read from standard input, for [mta.users]')
    .option('--json', 'machine-readable')
    .addHelpText('after', '\nExample:\n  printf \'%s\\n\' "$PASSWORD" | postilion password')
    .action(password);
}

/** @throws CommandFailed usage when there is none */
async function password({ json }: { readonly json?: boolean }): Promise<void> {
  const text = await readPassword();
  if (text === '') throw new CommandFailed(EXIT.usage, 'give the password on standard input');
  const hash = await hashPassword(text, randomBytes(SALT_OCTETS));
  if (json === true) printJson({ hash });
  else process.stdout.write(`${hash}\n`);
}

/** The first line; a terminal does not show what is typed. */
async function readPassword(): Promise<string> {
  const isTerminal = process.stdin.isTTY === true;
  if (isTerminal) process.stderr.write('Password: ');
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: isTerminal });
  try {
    for await (const line of lines) return line;
    return '';
  } finally {
    lines.close();
    if (isTerminal) process.stderr.write('\n');
  }
}
