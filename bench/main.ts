/**
 * `npm run bench -- list | NAME... [options] [--json]`: runs files of scenarios/ or micro/, or the demo, one
 * after another, each in a process of its own and with the same options. Each explains itself with --help.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { headerOf } from './load/options.ts';

const FOLDERS = ['scenarios', 'micro'] as const;
const here = fileURLToPath(new URL('.', import.meta.url));

/** Name → file; what a file is about stands in its first comment. */
function benches(): Map<string, string> {
  const found = new Map([['demo', `${here}demo/main.ts`]]);
  for (const folder of FOLDERS) {
    for (const file of readdirSync(`${here}${folder}`).sort()) {
      if (!file.endsWith('.ts')) continue;
      const name = file.slice(0, -'.ts'.length);
      found.set(folder === 'micro' ? `micro/${name}` : name, `${here}${folder}/${file}`);
    }
  }
  return found;
}

function about(file: string): string {
  const [paragraph = ''] = headerOf(file).split('\n\n');
  return paragraph.replaceAll(/\s+/g, ' ');
}

function list(): void {
  for (const [name, file] of benches()) process.stdout.write(`${name}\n    ${about(file)}\n`);
}

/** @returns the exit code; a run ended by a signal counts as failed */
function run(file: string, args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [file, ...args], { stdio: 'inherit' });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 1));
  });
}

/** The words up to the first option that name a bench; the first must. */
function split(words: readonly string[]): { files: string[]; args: string[] } {
  const known = benches();
  const end = words.findIndex((word) => !known.has(word));
  const names = end === -1 ? words : words.slice(0, end);
  return { files: names.map((name) => known.get(name)!), args: words.slice(names.length) };
}

const words = process.argv.slice(2);
if (words.length === 0 || words[0] === 'list') list();
else {
  const { files, args } = split(words);
  if (files.length === 0) {
    process.stderr.write(
      `no bench is called "${words[0]}"; npm run bench -- list shows them, NAME --help what one takes\n`,
    );
    process.exitCode = 1;
  }
  for (const file of files)
    process.exitCode = Math.max(await run(file, args), Number(process.exitCode ?? 0));
}
