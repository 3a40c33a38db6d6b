/** docs/reference/rfc.md keeps its word: the tests that it names exist, and what we cite is there. */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const root = new URL('..', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');

const page = read('docs/reference/rfc.md');
const rows = [...page.matchAll(/^\| (\d+) \| (§[\d.]+)? ?\| (.+) \| `(.+)`: (.+) \|$/gm)].map(
  ([, rfc, section, claim, file, name]) => ({
    what: `RFC ${rfc} ${section ?? ''} ${claim}`,
    rfc: rfc!,
    file: file!,
    name: name!,
  }),
);

test('every row is read', () => {
  const lines = page.split('\n').filter((line) => /^\| \d/.test(line));
  expect(rows.length).toBe(lines.length);
  expect(rows.length).toBeGreaterThan(50);
});

test.each(rows)('$what', ({ file, name }) => {
  expect(existsSync(new URL(file, root))).toBe(true);
  const quotes = ["'", '`', '"'];
  const source = read(file);
  expect(quotes.some((quote) => source.includes(`${quote}${name}${quote}`))).toBe(true);
});

test('every RFC that the resolver cites is on the page', () => {
  const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', 'resolver'], {
    cwd: fileURLToPath(root),
    encoding: 'utf8',
  });
  const cited = new Set(
    files
      .trim()
      .split('\n')
      .flatMap((file) => [...read(file).matchAll(/RFC (\d{3,5})/g)].map(([, rfc]) => rfc!)),
  );
  const aside = /alone: ([\d,\s]+)\./.exec(page)?.[1]?.match(/\d+/g) ?? [];
  const named = new Set([...rows.map(({ rfc }) => rfc), ...aside]);
  expect([...cited].filter((rfc) => !named.has(rfc))).toEqual([]);
});
