/** Where an upgrade finds what it starts. */
import { mkdirSync, realpathSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ownRelease, releaseAt } from '../../sidecar/release.ts';
import { scratchFolder } from '../support/scratch.ts';

test('a link in the path is followed anew each time', async () => {
  const folder = await scratchFolder('release');
  const at = (path: string): string => join(realpathSync(folder.path), path);
  for (const version of ['1', '2']) {
    mkdirSync(at(`${version}/sidecar`), { recursive: true });
    writeFileSync(at(`${version}/sidecar/cli.ts`), '');
  }
  symlinkSync(at('1'), at('current'));
  expect(releaseAt(at('current/sidecar/cli.ts')).module).toBe(at('1/sidecar/child.ts'));
  symlinkSync(at('2'), at('next'));
  renameSync(at('next'), at('current'));
  expect(releaseAt(at('current/sidecar/cli.ts')).module).toBe(at('2/sidecar/child.ts'));
  await folder.remove();
});

test('an entry that is gone is an error that says so', () => {
  expect(() => releaseAt('/nowhere/sidecar/cli.ts')).toThrow(/ENOENT.*nowhere/);
});

test('the version that runs is found, with its own Node', () => {
  const cli = new URL('../../sidecar/cli.ts', import.meta.url);
  expect(releaseAt(cli.pathname).module).toBe(ownRelease().module);
  expect(realpathSync(releaseAt(cli.pathname).execPath)).toBe(realpathSync(process.execPath));
});
