/** What every admin server refuses, over inject and over real sockets. */
import { once } from 'node:events';
import { connect } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../../sidecar/admin/resolver.ts';
import { listenAt } from '../../../sidecar/admin/server.ts';
import { CONTEXT, fakeMta, fakeResolver } from '../support/programs.ts';

const resolverAdmin = () => createResolverAdmin(fakeResolver(), CONTEXT);

describe('a browser acting for another page', () => {
  const host = '127.0.0.1:8053';
  test.each([
    ['no browser', undefined, host, 200],
    ['our own page', 'http://127.0.0.1:8053', host, 200],
    ['our own page by name', 'http://mta.example.net:8053', 'mta.example.net:8053', 200],
    ['our own page on localhost', 'http://localhost:8053', 'localhost:8053', 200],
    ['our own page over IPv6', 'http://[::1]:8053', '[::1]:8053', 200],
    ['another site', 'https://evil.example', host, 403],
    ['another port', 'http://127.0.0.1:9999', host, 403],
    ['a name rebound to us', 'http://evil.example:8053', 'evil.example:8053', 403],
    ['an opaque origin', 'null', host, 403],
  ])('%s: %s', async (_who, origin, hostHeader, status) => {
    const response = await resolverAdmin().inject({
      method: 'POST',
      url: '/v1/cache/flush',
      headers: { host: hostHeader, ...(origin === undefined ? {} : { origin }) },
      payload: { all: true },
    });
    expect(response.statusCode).toBe(status);
    if (status === 403) expect(response.json().error.code).toBe('ADMIN_FOREIGN_ORIGIN');
  });

  test.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])(
    'a form of type %s is not read',
    async (type) => {
      const response = await resolverAdmin().inject({
        method: 'POST',
        url: '/v1/cache/flush',
        headers: { 'content-type': type },
        payload: '{"all":true}',
      });
      expect(response.statusCode).toBe(415);
    },
  );
});

test.each([
  ['GET', '/v1/cache/flush', 405, 'POST'],
  ['POST', '/metrics', 405, 'GET'],
  ['DELETE', '/v1/status', 405, 'GET'],
  ['POST', '/v1/explain/example.net', 405, 'GET'],
  ['GET', '/nowhere', 404, undefined],
  ['PROPFIND', '/', 405, 'GET'],
  ['PROPFIND', '/nowhere', 404, undefined],
] as const)('%s %s answers %i', async (method, url, status, allow) => {
  const response = await resolverAdmin().inject({ method: method as 'GET', url });
  expect([response.statusCode, response.headers.allow]).toEqual([status, allow]);
  expect(response.json().error.code).toMatch(/^ADMIN_/);
});

test.each(['{', '"x"', '', `{"name":"${'a'.repeat(20_000)}"}`])(
  'a body that is no request, or too long, is a 4xx',
  async (payload) => {
    const response = await resolverAdmin().inject({
      method: 'POST',
      url: '/v1/cache/flush',
      headers: { 'content-type': 'application/json' },
      payload,
    });
    expect([400, 413]).toContain(response.statusCode);
    expect(typeof response.json().error.message).toBe('string');
  },
);

test.each([
  ['/v1/status', 403],
  ['/v1/queue', 403],
  ['/', 403],
  ['/metrics', 200],
  ['/healthz', 200],
  ['/readyz', 200],
])('a client outside "allow" gets %s: %i', async (url, status) => {
  const admin = createMtaAdmin(fakeMta(), CONTEXT);
  expect((await admin.inject({ url, remoteAddress: '192.0.2.1' })).statusCode).toBe(status);
  expect((await admin.inject({ url, remoteAddress: '127.0.0.9' })).statusCode).toBe(200);
});

test('a target that is no URL is refused like the rest', async () => {
  const response = await resolverAdmin().inject({ url: '/%c0%ae%c0%ae/' });
  expect([response.statusCode, response.json().error.code]).toEqual([400, 'FST_ERR_BAD_URL']);
  expect(response.headers['content-security-policy']).toBeDefined();
});

test('an error inside is logged, and not shown', async () => {
  const mta = { ...fakeMta(), queue: () => Promise.reject(new Error('secret path /x/y')) };
  const logged: object[] = [];
  const log = { ...CONTEXT.log, error: (fields: object) => void logged.push(fields) };
  const response = await createMtaAdmin(mta, { ...CONTEXT, log }).inject({ url: '/v1/queue' });
  expect([response.statusCode, response.body.includes('secret')]).toEqual([500, false]);
  expect(logged).toHaveLength(1);
});

describe('over a socket', () => {
  let admin: FastifyInstance;
  let port = 0;
  beforeAll(async () => {
    admin = createMtaAdmin(fakeMta(), CONTEXT);
    port = (await listenAt(admin, { address: '127.0.0.1', port: 0 })).port;
  });
  afterAll(() => admin.close());

  async function statusOf(requestTarget: string): Promise<number> {
    const socket = connect(port, '127.0.0.1');
    socket.write(`GET ${requestTarget} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    await once(socket, 'close');
    return Number(Buffer.concat(chunks).toString('latin1').split(' ')[1]);
  }

  test.each([
    '/../package.json',
    '/dashboard/app.js/../../cli.ts',
    '/dashboard/../package.json',
    '/dashboard/preact.mjs',
    '/dashboard/%2e%2e/hub.ts',
    '/node_modules/preact/package.json',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..%2f..%2fetc%2fpasswd',
    '//etc/passwd',
    '/dashboard/index.html',
    '/.git/config',
    '/%00',
    '/%c0%ae%c0%ae/',
    '/\\..\\..\\x',
  ])('%s names nothing', async (target) => {
    expect([400, 404]).toContain(await statusOf(target));
  });

  test('the page itself is there', async () => expect(await statusOf('/')).toBe(200));
});

test('a stream of events does not keep a server from closing', async () => {
  const server = resolverAdmin();
  const { address, port } = await listenAt(server, { address: '127.0.0.1', port: 0 });
  const { body, status } = await fetch(`http://${address}:${port}/v1/events`);
  expect(status).toBe(200);
  await server.close();
  await expect(new Response(body).text()).rejects.toThrow('terminated');
});
