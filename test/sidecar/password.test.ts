import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { parseScrypt, verifyScrypt } from '../../mta/intake/scrypt.ts';

const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));
const password = (input: string, ...args: readonly string[]): string =>
  execFileSync(process.execPath, [CLI, 'password', ...args], { input, encoding: 'utf8' });

test.each([['pass word\n'], ['pass word'], ['pass word\r\nsecond line\n']])(
  'of %j makes a hash that holds for it, each time another',
  async (input) => {
    const first = password(input).trimEnd();
    const { hash: second } = JSON.parse(password(input, '--json')) as { hash: string };
    expect(first).not.toBe(second);
    for (const hash of [first, second]) {
      expect(await verifyScrypt(parseScrypt(hash)!, 'pass word')).toBe(true);
    }
  },
);

test('no password is a mistake of usage', () => {
  expect(() => password('')).toThrow(expect.objectContaining({ status: 2 }));
});
