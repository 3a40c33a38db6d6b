/** What a person reads when a program cannot start. */
import { once } from 'node:events';
import { createServer } from 'node:net';
import { expect, test } from 'vitest';
import { startFailure } from '../../sidecar/start-failure.ts';

test('a port that is taken: by whom', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as { port: number };
  const late = createServer().listen(port, '127.0.0.1');
  const [error] = await once(late, 'error');
  expect(startFailure(error)).toMatch(
    new RegExp(
      `^127\\.0\\.0\\.1:${port}: address in use by .+ \\(process ${process.pid}\\); stop it, or listen elsewhere$`,
    ),
  );
  holder.close();
});

test('an address that is not ours', async () => {
  const server = createServer().listen(2525, '192.0.2.1');
  const [error] = await once(server, 'error');
  expect(startFailure(error)).toMatch(/^192\.0\.2\.1:2525: no interface of this machine/);
});

test('an error with a code speaks for itself; one without shows where it is from', () => {
  expect(startFailure(Object.assign(new Error('spool is full'), { code: 'X' }))).toBe(
    'spool is full',
  );
  expect(startFailure(new Error('oops'))).toMatch(/^Error: oops\n\s+at /);
});
