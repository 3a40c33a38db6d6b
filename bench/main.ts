/**
 * `npm run bench -- list | NAME [options] [--json]`: runs one file of scenarios/ or micro/, or the demo,
 * in a process of its own.
 */
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

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
  const comment = /^\/\*\*([\s\S]*?)\*\//.exec(readFileSync(file, 'utf8'))?.[1] ?? '';
  const [paragraph = ''] = comment
    .replaceAll(/^\s*\* ?/gm, '')
    .trim()
    .split('\n\n');
  return paragraph.replaceAll(/\s+/g, ' ');
}

function list(): void {
  for (const [name, file] of benches()) process.stdout.write(`${name}\n    ${about(file)}\n`);
}

function run(name: string, args: readonly string[]): void {
  const file = benches().get(name);
  if (file === undefined) {
    process.stderr.write(`no bench is called "${name}"; npm run bench -- list shows them\n`);
    process.exitCode = 1;
    return;
  }
  const child = spawn(process.execPath, [file, ...args], { stdio: 'inherit' });
  child.on('exit', (code) => {
    process.exitCode = code ?? 1;
  });
}

const [name = 'list', ...args] = process.argv.slice(2);
if (name === 'list') list();
else run(name, args);
