/** The rules of the house as tests: who imports whom, and who may read clock, environment, randomness. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Room → rooms whose files it may import besides its own. The longest matching room owns a file. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  runtime: [],
  'resolver/wire': [],
  'resolver/cache': ['resolver/wire', 'runtime'],
  'resolver/upstream': ['resolver/wire', 'runtime'],
  // Fronts answer from the answer table themselves; all else of the cache is the service's.
  'resolver/listen': ['resolver', 'resolver/cache', 'resolver/wire', 'runtime'],
  'resolver/bundle': ['resolver/wire', 'resolver/cache', 'runtime'],
  'resolver/guard': ['resolver/wire', 'resolver/cache', 'runtime'],
  resolver: [
    'resolver/wire',
    'resolver/cache',
    'resolver/upstream',
    'resolver/listen',
    'resolver/bundle',
    'resolver/guard',
    'runtime',
  ],
  'mta/smtp': ['mta', 'runtime'],
  'mta/spool': ['mta', 'runtime'],
  'mta/sign': ['mta', 'runtime'],
  'mta/plan': ['mta', 'resolver/wire', 'runtime'],
  'mta/intake': ['mta', 'runtime'],
  'mta/report': ['mta', 'runtime'],
  mta: [
    'mta/intake',
    'mta/spool',
    'mta/plan',
    'mta/smtp',
    'mta/sign',
    'mta/report',
    'runtime',
    'resolver/wire',
  ],
  sidecar: ['resolver', 'resolver/wire', 'mta', 'mta/intake', 'mta/spool', 'runtime'],
  deploy: ['sidecar', 'mta/spool', 'runtime'],
  bench: ['*'],
  test: ['*'],
};

/** What only `main` files, the sidecar and runtime may touch. */
const AMBIENT =
  /\b(Date\.now|performance\.now|Math\.random|process\.env|setTimeout|setInterval|new Date\(\)|randomBytes|randomInt|randomUUID|hrtime)\b/;
const MAY_BE_AMBIENT = /^(runtime|sidecar|deploy|bench|test)\/|^(resolver|mta)\/main\.ts$/;

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.ts'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\n')
  .filter((file) => /^(runtime|resolver|mta|sidecar|deploy|bench|test)\//.test(file));

const roomOf = (file: string): string =>
  Object.keys(MAY_IMPORT)
    .filter((room) => file.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0] ?? 'nowhere';

const codeOf = (file: string): string =>
  readFileSync(join(root, file), 'utf8')
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/(^|\s)\/\/.*$/gm, '');

function importsOf(file: string): string[] {
  const specifiers = [
    ...codeOf(file).matchAll(/\b(?:from|import\(|import)\s*'(\.[^']+)'|new URL\('(\.[^']+\.ts)'/g),
  ];
  return specifiers.map((match) =>
    relative(root, join(root, dirname(file), match[1] ?? match[2]!)),
  );
}

describe('rules', () => {
  test('the tree has files', () => expect(files.length).toBeGreaterThan(5));

  test.each(files)('%s imports only what its room may', (file) => {
    const room = roomOf(file);
    const allowed = MAY_IMPORT[room] ?? [];
    const trespasses = importsOf(file).filter((target) => {
      const targetRoom = roomOf(target);
      return !allowed.includes('*') && targetRoom !== room && !allowed.includes(targetRoom);
    });
    expect(trespasses).toEqual([]);
  });

  test.each(files.filter((file) => !MAY_BE_AMBIENT.test(file)))(
    '%s is handed clock, randomness and environment',
    (file) => {
      expect(codeOf(file).match(AMBIENT)?.[0]).toBeUndefined();
    },
  );

  test('threads are started in one place, which keeps V8 from a race', () => {
    const startsThreads = /import \{[^}]*\bWorker\b[^}]*\} from 'node:worker_threads'/;
    expect(files.filter((file) => startsThreads.test(codeOf(file)))).toEqual(['runtime/thread.ts']);
  });

  test('wire does no I/O', () => {
    for (const file of files.filter((name) => name.startsWith('resolver/wire/'))) {
      expect(codeOf(file)).not.toMatch(/from 'node:/);
    }
  });
});
