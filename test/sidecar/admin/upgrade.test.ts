/** Upgrades and reloads over HTTP: asked for, told of, refused. */
import { expect, test } from 'vitest';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../../sidecar/admin/resolver.ts';
import type { UpgradeStatus } from '../../../sidecar/protocol.ts';
import { CONTEXT, fakeMta, fakeResolver } from '../support/programs.ts';

const STATUS: UpgradeStatus = {
  number: 1,
  state: 'probation',
  from: '1.0.0',
  to: '2.0.0',
  reason: null,
  startedAtMs: 1_700_000_000_000,
  endedAtMs: null,
  finishMs: 10,
  openMs: 20,
};

test.each([
  ['resolver', (context: typeof CONTEXT) => createResolverAdmin(fakeResolver(), context)],
  ['mta', (context: typeof CONTEXT) => createMtaAdmin(fakeMta(), context)],
])('%s: the supervisor is asked, and its word passed on', async (_name, make) => {
  const asked: string[] = [];
  const supervision = {
    status: () => (asked.length === 0 ? null : STATUS),
    upgrade: () => void asked.push('upgrade'),
  };
  const admin = make({ ...CONTEXT, supervision });
  const before = await admin.inject({ method: 'GET', url: '/v1/upgrade' });
  expect(before.json()).toEqual({ upgrade: null });
  const answer = await admin.inject({ method: 'POST', url: '/v1/upgrade' });
  expect([answer.statusCode, answer.json()]).toEqual([202, { upgrade: STATUS }]);
  expect(asked).toEqual(['upgrade']);
  await admin.close();
});

test('a program that nobody supervises says so', async () => {
  const admin = createMtaAdmin(fakeMta(), CONTEXT);
  const answer = await admin.inject({ method: 'POST', url: '/v1/upgrade' });
  expect([answer.statusCode, answer.json().error.code]).toEqual([409, 'ADMIN_NOT_SUPERVISED']);
  await admin.close();
});

test('a reload answers with what has changed, or with why nothing has', async () => {
  const reply = { changed: ['mta.max_age'], difference: ['mta.max_age: "5d" → "4d"'] };
  const admin = createMtaAdmin(fakeMta(), { ...CONTEXT, reload: async () => reply });
  const answer = await admin.inject({ method: 'POST', url: '/v1/reload' });
  expect([answer.statusCode, answer.json()]).toEqual([200, reply]);
  await admin.close();
  const fault = Object.assign(new Error('unknown key'), { code: 'CONFIG_INVALID' });
  const broken = createMtaAdmin(fakeMta(), {
    ...CONTEXT,
    reload: () => Promise.reject(fault),
  });
  const refusal = await broken.inject({ method: 'POST', url: '/v1/reload' });
  expect([refusal.statusCode, refusal.json()]).toEqual([
    409,
    { error: { code: 'ADMIN_RELOAD', message: 'unknown key' } },
  ]);
  await broken.close();
});
