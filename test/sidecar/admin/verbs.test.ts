/** HTTP of the operators' verbs: what is asked of the mta, and what is refused before that. */
import { expect, test } from 'vitest';
import { formatMessageId } from '../../../mta/envelope.ts';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { CONTEXT, fakeMta } from '../support/programs.ts';

const ID = formatMessageId(1_234_567_890);
const post = (mta: ReturnType<typeof fakeMta>, url: string, payload: object, headers = {}) =>
  createMtaAdmin(mta, CONTEXT).inject({ method: 'POST', url, payload, headers });

test.each([
  [
    '/v1/queue/hold',
    { ids: [`${ID}.2`], note: 'odd' },
    'hold {"ids":[{"message":1234567890,"index":2}]} false odd',
  ],
  [
    '/v1/queue/retry',
    { domain: 'Example.NET.', dry_run: true },
    'retry {"domain":"example.net"} true ',
  ],
  [
    '/v1/queue/retry',
    { tenant: 'acme', end_rests: true },
    'retry {"tenant":"acme"} false  ending rests',
  ],
  [
    '/v1/queue/delete',
    { campaign: 'c', tenant: 't' },
    'delete {"tenant":"t","campaign":"c"} false ',
  ],
  [
    '/v1/suspensions/suspend',
    { scope: 'domain', name: 'Example.net' },
    'suspend domain example.net',
  ],
  ['/v1/suspensions/resume', { scope: 'tenant', name: 'acme' }, 'resume tenant acme'],
  [
    '/v1/queue/reroute',
    { domain: 'example.net', to: 'Relay.example.com:2525' },
    'reroute {"domain":"example.net"} false  to relay.example.com:2525',
  ],
  [
    '/v1/queue/reroute',
    { ids: [ID], to: 'mx' },
    'reroute {"ids":[{"message":1234567890,"index":null}]} false  to null',
  ],
  [
    '/v1/reroutes',
    { scope: 'domain', name: 'Example.net', to: '192.0.2.1' },
    'reroute domain example.net [192.0.2.1]',
  ],
  ['/v1/reroutes', { scope: 'site', name: 'mx~abcd', to: 'mx' }, 'reroute site mx~abcd null'],
  ['/v1/drain', {}, 'drain'],
])('%s with %j asks %j', async (url, payload, asked) => {
  const mta = fakeMta();
  expect((await post(mta, url, payload)).statusCode).toBe(200);
  expect(mta.verbs).toEqual([asked]);
});

test.each([
  ['/v1/suspensions/suspend', { scope: 'domain', name: 'example.net', dry_run: true }],
  ['/v1/suspensions/resume', { scope: 'site', name: 'x', dry_run: true }],
  ['/v1/reroutes', { scope: 'domain', name: 'example.net', to: 'relay', dry_run: true }],
  ['/v1/drain', { dry_run: true }],
])('%s with %j does nothing', async (url, payload) => {
  const mta = fakeMta();
  expect((await post(mta, url, payload)).json()).toMatchObject({ dryRun: true });
  expect(mta.verbs).toEqual([]);
});

test.each([
  ['/v1/queue/hold', {}],
  ['/v1/queue/hold', { ids: [ID], domain: 'example.net' }],
  ['/v1/queue/hold', { ids: ['x'] }],
  ['/v1/queue/hold', { ids: [ID], note: 'a\nb' }],
  ['/v1/queue/burn', { ids: [ID] }],
  ['/v1/queue/reroute', { ids: [ID] }],
  ['/v1/queue/reroute', { ids: [ID], to: 'a b' }],
  ['/v1/queue/hold', { ids: [ID], to: 'relay' }],
  ['/v1/queue/hold', { ids: [ID], end_rests: true }],
  ['/v1/reroutes', { scope: 'tenant', name: 'acme', to: 'relay' }],
  ['/v1/reroutes', { scope: 'domain', name: 'example.net' }],
  ['/v1/reroutes', { scope: 'domain', name: 'example.net', to: 'relay:0' }],
  ['/v1/queue/hold', { tenant: 'a b' }],
  ['/v1/suspensions/suspend', { scope: 'world', name: 'x' }],
  ['/v1/suspensions/suspend', { scope: 'domain', name: 'a b' }],
  ['/v1/suspensions/suspend', { scope: 'tenant', name: '' }],
])('%s with %j is refused', async (url, payload) => {
  const mta = fakeMta();
  expect((await post(mta, url, payload)).statusCode).toBe(400);
  expect(mta.verbs).toEqual([]);
});

test('a page of another origin may do none of it', async () => {
  const mta = fakeMta();
  const answer = await post(
    mta,
    '/v1/queue/hold',
    { ids: [ID] },
    { origin: 'http://evil.example' },
  );
  expect([answer.statusCode, mta.verbs]).toEqual([403, []]);
});

test('show', async () => {
  const answer = await createMtaAdmin(fakeMta(), CONTEXT).inject({
    url: `/v1/messages/${ID}/header`,
  });
  expect(answer.json()).toMatchObject({
    header: 'Subject: s\r\n',
    recipients: [{ change: 'time' }],
  });
});
