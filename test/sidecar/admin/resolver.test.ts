/** The resolver's HTTP: what it tells, and what it refuses. */
import { expect, test } from 'vitest';
import { createResolverAdmin } from '../../../sidecar/admin/resolver.ts';
import { CONTEXT, fakeResolver, SCRIPT } from '../support/programs.ts';

const server = () => createResolverAdmin(fakeResolver(), CONTEXT);

test.each([
  ['example.net', 200],
  ['Example.NET.', 200],
  ['_dmarc.example.net', 200],
  ['net', 200],
  ['a..b', 400],
  ['.', 400],
  ['exa mple.net', 400],
  ['bücher.example', 400],
  [SCRIPT, 400],
  ['../status', 400],
  [`${'a'.repeat(64)}.net`, 400],
  [`${'a.'.repeat(127)}a`, 400],
  ['\0', 400],
])('explain %j answers %i', async (domain, status) => {
  const url = `/v1/explain/${encodeURIComponent(domain)}`;
  const response = await server().inject({ url });
  expect(response.statusCode).toBe(status);
  if (status === 200) expect(response.json()).toMatchObject({ domain });
  else expect(response.json().error.code).toBe('ADMIN_BAD_REQUEST');
});

test.each([
  ['', 200],
  ['?limit=1', 200],
  ['?limit=0', 400],
  ['?limit=10001', 400],
  ['?limit=1.5', 400],
  ['?limit=x', 400],
  ['?limt=1', 400],
  ['?limit=1&limit=2', 400],
])('cache%s answers %i', async (query, status) => {
  expect((await server().inject({ url: `/v1/cache${query}` })).statusCode).toBe(status);
});

test('names of strangers are JSON strings, and nothing makes the answer a page', async () => {
  const response = await server().inject({ url: '/v1/cache' });
  expect(response.headers['content-type']).toBe('application/json; charset=utf-8');
  expect(response.headers['x-content-type-options']).toBe('nosniff');
  expect(response.json().responses[0].name).toBe(`${SCRIPT}0.example.`);
});

test.each([
  [{ name: 'example.net' }, 200],
  [{ suffix: 'example.net' }, 200],
  [{ all: true }, 200],
  [{ all: false }, 400],
  [{}, 400],
  [{ name: 'a.example', all: true }, 400],
  [{ name: 'a b' }, 400],
  [[], 400],
])('flush %j answers %i', async (payload, status) => {
  const resolver = fakeResolver();
  const response = await createResolverAdmin(resolver, CONTEXT).inject({
    method: 'POST',
    url: '/v1/cache/flush',
    payload,
  });
  expect(response.statusCode).toBe(status);
  expect(resolver.flushed).toEqual(status === 200 ? [payload] : []);
});

test('status adds up the metrics', async () => {
  const status = (await server().inject({ url: '/v1/status' })).json();
  expect(status).toMatchObject({
    program: 'resolver',
    unready: null,
    listen: ['127.0.0.1:5335'],
    answers: { hot: 3, upstream: 1 },
    queries: 0,
  });
});

test("readiness is the program's, and health is not", async () => {
  const resolver = fakeResolver();
  const admin = createResolverAdmin(resolver, CONTEXT);
  expect((await admin.inject({ url: '/readyz' })).statusCode).toBe(200);
  resolver.unready = 'no upstream answers';
  const response = await admin.inject({ url: '/readyz' });
  expect([response.statusCode, response.json()]).toEqual([
    503,
    { ready: false, reason: 'no upstream answers' },
  ]);
  expect((await admin.inject({ url: '/healthz' })).statusCode).toBe(200);
});

test('metrics are Prometheus text', async () => {
  const response = await server().inject({ url: '/metrics' });
  expect(response.headers['content-type']).toContain('text/plain; version=0.0.4');
  expect(response.body).toContain('postilion_dns_answers_total{source="hot"} 3');
});
