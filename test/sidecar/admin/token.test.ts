/** Changes ask for the token where one is configured, by whichever route and program. */
import { describe, expect, test } from 'vitest';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../../sidecar/admin/resolver.ts';
import { CONTEXT, fakeMta, fakeResolver } from '../support/programs.ts';

const TOKEN = 'correct-horse-battery-staple';
const context = { ...CONTEXT, token: TOKEN };

describe.each(['mta', 'resolver'] as const)('the %s', (name) => {
  const server = () =>
    name === 'mta'
      ? createMtaAdmin(fakeMta(), context)
      : createResolverAdmin(fakeResolver(), context);
  const [url, payload] =
    name === 'mta' ? ['/v1/delivery/suspend', {}] : ['/v1/cache/flush', { all: true }];

  test.each([
    ['none', undefined, 401, 'ADMIN_TOKEN'],
    ['a wrong one', `Bearer ${TOKEN}x`, 401, 'ADMIN_TOKEN'],
    ['part of it', `Bearer ${TOKEN.slice(0, -1)}`, 401, 'ADMIN_TOKEN'],
    ['an empty one', 'Bearer ', 401, 'ADMIN_TOKEN'],
    ['another scheme', `Basic ${Buffer.from(`x:${TOKEN}`).toString('base64')}`, 401, 'ADMIN_TOKEN'],
    ['two of them', `Bearer ${TOKEN} ${TOKEN}`, 401, 'ADMIN_TOKEN'],
    ['a very long one', `Bearer ${'x'.repeat(8_000)}`, 401, 'ADMIN_TOKEN'],
    ['the right one', `Bearer ${TOKEN}`, 200, undefined],
    ['the right one, as others write the scheme', `bearer ${TOKEN}`, 200, undefined],
  ])('%s', async (_what, authorization, status, code) => {
    const headers = authorization === undefined ? {} : { authorization };
    const response = await server().inject({ method: 'POST', url, payload, headers });
    expect([response.statusCode, response.json().error?.code]).toEqual([status, code]);
    if (status === 401) expect(response.headers['www-authenticate']).toMatch(/^Bearer/);
  });

  test('a token in the address counts for nothing', async () => {
    const response = await server().inject({
      method: 'POST',
      url: `${url}?token=${TOKEN}`,
      payload,
    });
    expect(response.statusCode).toBe(401);
  });

  test('reading asks for none', async () => {
    for (const path of ['/', '/v1/status', '/v1/state', '/metrics', '/v1/dashboard/frame']) {
      expect([path, (await server().inject({ url: path })).statusCode]).toEqual([path, 200]);
    }
  });
});

test('mail comes in without it: injection has keys of its own', async () => {
  const admin = createMtaAdmin(fakeMta(), context);
  const response = await admin.inject({ method: 'POST', url: '/v1/inject' });
  expect(response.statusCode).toBe(200);
});

describe('what the page may do', () => {
  const act = (payload: object, headers: object = {}, token = TOKEN) => {
    const mta = fakeMta();
    const admin = createMtaAdmin(mta, { ...CONTEXT, token });
    return admin
      .inject({
        method: 'POST',
        url: '/v1/dashboard/act',
        payload,
        headers: { authorization: `Bearer ${TOKEN}`, ...headers },
      })
      .then((response) => ({ response, verbs: mta.verbs }));
  };

  test.each([
    [{ action: 'suspend-all' }, 'suspend'],
    [{ action: 'resume-all' }, 'resume'],
    [{ action: 'suspend', scope: 'site', name: 'mx.example~abcd' }, 'suspend site mx.example~abcd'],
    [{ action: 'resume', scope: 'domain', name: 'Example.NET.' }, 'resume domain example.net'],
    [{ action: 'retry-domain', domain: 'example.net' }, 'retry {"domain":"example.net"} false '],
    [
      { action: 'retry', id: '1hzk3v8q2m0', dry_run: true },
      expect.stringMatching(/^retry \{"ids":.* true $/),
    ],
  ])('%j', async (order, verb) => {
    const { response, verbs } = await act(order);
    expect([response.statusCode, verbs]).toEqual([200, [verb]]);
  });

  test('the other program is asked on its behalf, and may be away', async () => {
    const { response } = await act({ action: 'flush', name: 'example.net' });
    expect([response.statusCode, response.json().error]).toEqual([
      502,
      { code: 'ADMIN_NO_ANSWER', message: 'nothing answers at 127.0.0.1:1' },
    ]);
  });

  test.each([
    [{}],
    [{ action: 'delete-everything' }],
    [{ action: 'suspend', scope: 'planet', name: 'earth' }],
    [{ action: 'suspend', scope: 'domain', name: '<script>' }],
    [{ action: 'suspend', scope: 'domain', name: 'x'.repeat(400) }],
    [{ action: 'retry', id: '../../etc/passwd' }],
    [{ action: 'flush-all', extra: 1 }],
    [[]],
  ])('%j is refused, and nothing done', async (order) => {
    const { response, verbs } = await act(order);
    expect([response.statusCode, verbs]).toEqual([400, []]);
  });

  test('without the token nothing, and without one configured nothing either', async () => {
    const order = { action: 'suspend-all' };
    const wrong = await act(order, { authorization: 'Bearer wrong-wrong-wrong-wrong' });
    expect([wrong.response.statusCode, wrong.verbs]).toEqual([401, []]);
    const none = await act(order, {}, '');
    expect([none.response.statusCode, none.response.json().error.code, none.verbs]).toEqual([
      403,
      'ADMIN_NO_TOKEN',
      [],
    ]);
  });

  test('not for the page of another site', async () => {
    const headers = { origin: 'https://evil.example', host: '127.0.0.1:8025' };
    const { response, verbs } = await act({ action: 'suspend-all' }, headers);
    expect([response.statusCode, verbs]).toEqual([403, []]);
  });
});
