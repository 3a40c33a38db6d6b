/** The mta's HTTP: queue and reasons. */
import { expect, test } from 'vitest';
import { formatMessageId } from '../../../mta/envelope.ts';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { CONTEXT, fakeMta, SCRIPT, SURVEY, WAITING } from '../support/programs.ts';

const server = () => createMtaAdmin(fakeMta(), CONTEXT);
const KNOWN = formatMessageId(1_234_567_890);

test.each([
  [KNOWN, 200],
  [`${KNOWN}.0`, 200],
  [formatMessageId(1), 404],
  ['x', 400],
  [`${KNOWN}.`, 400],
  [`${KNOWN}.0.0`, 400],
  ['../queue', 400],
  ['<script>', 400],
])('message %j answers %i', async (id, status) => {
  const response = await server().inject({ url: `/v1/messages/${encodeURIComponent(id)}` });
  expect(response.statusCode).toBe(status);
  if (status === 200) expect(response.json()).toEqual({ recipients: [WAITING] });
});

test.each([
  ['', { domain: null, after: null, limit: 100 }],
  ['?limit=1000&domain=Example.ORG.', { domain: 'example.org', after: null, limit: 1000 }],
  ['?domain=%5B192.0.2.1%5D', { domain: '[192.0.2.1]', after: null, limit: 100 }],
  [`?after=${KNOWN}.3`, { domain: null, after: { message: 1_234_567_890, index: 3 }, limit: 100 }],
])('queue%s asks for %j', async (query, request) => {
  const mta = fakeMta();
  const response = await createMtaAdmin(mta, CONTEXT).inject({ url: `/v1/queue${query}` });
  expect(response.json()).toEqual({ recipients: [WAITING], next: null });
  expect(mta.asked).toEqual([request]);
});

test.each(['?limit=0', '?limit=1001', '?domain=a%20b', '?after=1', '?x=1'])(
  'queue%s is refused',
  async (query) => {
    expect((await server().inject({ url: `/v1/queue${query}` })).statusCode).toBe(400);
  },
);

test.each([
  ['Example.ORG.', 'example.org'],
  ['[192.0.2.1]', '[192.0.2.1]'],
  ['[IPv6:2001:DB8::1]', '[ipv6:2001:db8::1]'],
])('the route of %s is that of %s', async (written, domain) => {
  const response = await server().inject({ url: `/v1/route/${encodeURIComponent(written)}` });
  expect([response.statusCode, response.json()]).toEqual([200, { ...SURVEY, domain }]);
});

test.each(['a b', SCRIPT, '../status', 'a@b'])('the route of %j is refused', async (written) => {
  const response = await server().inject({ url: `/v1/route/${encodeURIComponent(written)}` });
  expect(response.statusCode).toBe(400);
});

test('delivery is suspended and resumed', async () => {
  const mta = fakeMta();
  const admin = createMtaAdmin(mta, CONTEXT);
  for (const verb of ['suspend', 'resume']) {
    const response = await admin.inject({ method: 'POST', url: `/v1/delivery/${verb}` });
    expect(response.json()).toEqual({ suspended: verb === 'suspend' });
  }
  expect(mta.verbs).toEqual(['suspend', 'resume']);
});

test('a full page names the next', async () => {
  const page = (await server().inject({ url: '/v1/queue?limit=1' })).json();
  expect(page.next).toBe(WAITING.id);
});

test('injection stands beside it, for clients of its own choice', async () => {
  const response = await server().inject({
    method: 'POST',
    url: '/v1/inject',
    remoteAddress: '192.0.2.1',
  });
  expect(response.json()).toEqual({ accepted: true });
});

test('injection is closed to pages of other origins, whatever it makes of errors', async () => {
  const response = await server().inject({
    method: 'POST',
    url: '/v1/inject',
    headers: { origin: 'https://evil.example' },
  });
  expect([response.statusCode, response.json().error.code]).toEqual([403, 'ADMIN_FOREIGN_ORIGIN']);
});
