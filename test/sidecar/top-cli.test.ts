/** `top` on the command line: of either program, as text and as JSON, and with nobody there. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createMtaAdmin } from '../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../sidecar/admin/resolver.ts';
import { listenAt } from '../../sidecar/admin/server.ts';
import { runCommand } from '../support/cli.ts';
import { CONTEXT, fakeMta, fakeResolver, SCRIPT } from './support/programs.ts';

const servers = {
  http: createMtaAdmin(fakeMta(), CONTEXT),
  admin: createResolverAdmin(fakeResolver(), CONTEXT),
};
const addresses = { http: '', admin: '' };
/** Nobody listens there. */
const NOWHERE = '127.0.0.1:1';

beforeAll(async () => {
  for (const flag of ['http', 'admin'] as const) {
    const { port } = await listenAt(servers[flag], { address: '127.0.0.1', port: 0 });
    addresses[flag] = `127.0.0.1:${port}`;
  }
});
afterAll(async () => {
  await Promise.all(Object.values(servers).map((server) => server.close()));
});

test('of the mta, once, since its output is no terminal', async () => {
  const { code, stdout } = await runCommand(['top', '--http', addresses.http]);
  expect(code).toBe(0);
  expect(stdout).toContain('No resolver runs beside this one.');
  expect(stdout).toContain(`${SCRIPT}@exam`);
  expect(stdout).not.toContain('\u001b');
});

test('of the resolver, where no mta answers', async () => {
  const line = ['top', '--once', '--http', NOWHERE, '--admin', addresses.admin];
  const { code, stdout } = await runCommand(line);
  expect(code).toBe(0);
  expect(stdout).toContain('No mta runs beside this one.');
  expect(stdout).toContain(`${SCRIPT}.example.`);
});

test('as JSON: the frame of the dashboard', async () => {
  const { stdout } = await runCommand(['top', '--json', '--http', addresses.http]);
  const { tick, state } = JSON.parse(stdout);
  expect(tick.verdicts.dns.text).toBe('No resolver runs beside this one.');
  expect([state.self, state.mail.queued]).toEqual(['mta', 1]);
});

test('with nobody there', async () => {
  const { code, stderr } = await runCommand(['top', '--http', NOWHERE, '--admin', NOWHERE]);
  expect([code, stderr]).toEqual([3, expect.stringContaining('no resolver answers')]);
});
