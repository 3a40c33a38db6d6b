import { request } from 'node:http';
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { formatMessageId } from '../../../mta/envelope.ts';
import { IntakeBusy, SpoolUnavailable } from '../../../mta/errors.ts';
import { injectionApi } from '../../../mta/intake/http.ts';
import { FIRST_ID, NOWHERE, PATIENCE, RawClient, type Rig, rig, textOf } from './harness.ts';

const ID = formatMessageId(FIRST_ID);
const servers: FastifyInstance[] = [];

async function start(
  settings: Parameters<typeof rig>[0] = {},
): Promise<Rig & { fastify: FastifyInstance }> {
  const made = rig(settings);
  const fastify = Fastify();
  servers.push(fastify);
  await injectionApi(fastify, made.intake);
  return Object.assign(made, { fastify });
}

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const postJson = (
  fastify: FastifyInstance,
  payload: object,
  headers: Record<string, string> = {},
) => fastify.inject({ method: 'POST', url: '/v1/messages', headers, payload });

const postRaw = (fastify: FastifyInstance, query: string, payload: string | Buffer) =>
  fastify.inject({
    method: 'POST',
    url: `/v1/messages?${query}`,
    headers: { 'content-type': 'message/rfc822' },
    payload,
  });

const GOOD = { from: 'a@example.com', to: ['b@example.net'], text: 'hello' };

describe('structured messages', () => {
  test('become MIME; the answer names each recipient', async () => {
    const { fastify, accepted, intake } = await start();
    const answer = await postJson(fastify, {
      from: 'Ann Onym <a@example.com>',
      to: ['b@example.net', '"Chris, Jr." <c@example.org>'],
      subject: 'Grüße',
      text: 'one\ntwo\r\n.\rthree',
      html: '<p>one</p>',
      headers: { 'X-Campaign': '7', 'List-Unsubscribe': '<https://example.com/u>' },
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      id: ID,
      durability: 'fsync',
      recipients: [
        { address: 'b@example.net', id: `${ID}.0` },
        { address: 'c@example.org', id: `${ID}.1` },
      ],
    });
    const text = textOf(accepted[0]!);
    expect(text).toMatch(
      /^Received: from \[127\.0\.0\.1\]\r\n\tby mta\.example\.net with HTTP;\r\n\t/,
    );
    expect(text).toContain('\r\nFrom: Ann Onym <a@example.com>\r\n');
    expect(text).toContain('\r\nTo: b@example.net, "Chris, Jr." <c@example.org>\r\n');
    expect(text).toContain('\r\nSubject: =?UTF-8?');
    expect(text).toContain('\r\nX-Campaign: 7\r\n');
    expect(text).toContain('\r\none\r\ntwo\r\n.\r\nthree\r\n');
    expect(text.match(/^Message-ID: <[a-z0-9.]+@mta\.example\.net>\r$/gm)).toHaveLength(1);
    expect(text.match(/^Date: .* \+0000\r$/gm)).toHaveLength(1);
    expect(text).toMatch(/\r\n$/);
    expect(text.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(accepted[0]!.envelope).toMatchObject({
      reversePath: 'a@example.com',
      body: '7bit',
      smtpUtf8: false,
    });
    expect(intake.held.held).toBe(0);
    expect(intake.counters.accepted).toEqual({ smtp: 0, http: 1 });
  });

  test('raw in JSON keeps its header; LF becomes CRLF, the last line is completed', async () => {
    const { fastify, accepted } = await start();
    const answer = await postJson(fastify, {
      from: '',
      to: 'b@example.net',
      raw: 'Subject: ü\nDate: x\n\nü\rend',
    });
    expect(answer.statusCode).toBe(200);
    expect(Buffer.from(accepted[0]!.content).toString('utf8')).toMatch(
      /\r\nSubject: ü\r\nDate: x\r\n\r\nü\r\nend\r\n$/,
    );
    expect(accepted[0]!.envelope).toMatchObject({
      reversePath: '',
      body: '8bitmime',
      smtpUtf8: true,
    });
  });

  test('a Message-ID of the client stays', async () => {
    const { fastify, accepted } = await start();
    await postJson(fastify, { ...GOOD, headers: { 'Message-Id': '<mine@example.com>' } });
    expect(textOf(accepted[0]!).match(/^Message-ID: .*\r$/gim)).toEqual([
      'Message-ID: <mine@example.com>\r',
    ]);
  });

  test.each([
    [{ ...GOOD, subjet: 'x' }, 'unknown_field', 'did you mean "subject"', { field: 'subjet' }],
    [{ ...GOOD, attachments: [] }, 'unknown_field', 'known are from, to', { field: 'attachments' }],
    [{ to: ['b@example.net'], text: 'x' }, 'invalid_field', 'from', { field: 'from' }],
    [{ from: 'a@example.com', text: 'x' }, 'invalid_field', 'to', { field: 'to' }],
    [{ ...GOOD, to: [] }, 'invalid_field', 'no recipient', { field: 'to' }],
    [{ ...GOOD, to: ['b@example.net', 5] }, 'invalid_field', '', { field: 'to', index: 1 }],
    [
      { ...GOOD, to: ['b@example.net', 'c@example.net', 'd@@'] },
      'bad_address',
      '',
      { field: 'to', index: 2 },
    ],
    [
      { ...GOOD, to: ['b@example.net\r\nBcc: x@y.z'] },
      'bad_address',
      '',
      { field: 'to', index: 0 },
    ],
    [
      { ...GOOD, to: ['B\r\nBcc: x <b@example.net>'] },
      'bad_address',
      'control',
      { field: 'to', index: 0 },
    ],
    [
      { ...GOOD, to: Array(6).fill('b@example.net') },
      'too_many_recipients',
      'bound recipients',
      { field: 'to' },
    ],
    [{ ...GOOD, from: 'postmaster' }, 'bad_address', 'without a domain', { field: 'from' }],
    [{ ...GOOD, from: '' }, 'invalid_field', 'only with "raw"', { field: 'from' }],
    [{ ...GOOD, subject: 'x\r\nBcc: y@z' }, 'invalid_field', 'control', { field: 'subject' }],
    [
      { ...GOOD, headers: { 'X-A': 'x\r\nBcc: y@z' } },
      'invalid_field',
      'control',
      { field: 'headers' },
    ],
    [
      { ...GOOD, headers: { 'X-A\r\nBcc': 'x' } },
      'invalid_field',
      'no header field name',
      { field: 'headers' },
    ],
    [
      { ...GOOD, headers: { 'X A': 'x' } },
      'invalid_field',
      'no header field name',
      { field: 'headers' },
    ],
    [
      { ...GOOD, headers: { __proto_: 'x' } },
      'invalid_field',
      'no header field name',
      { field: 'headers' },
    ],
    [{ ...GOOD, headers: { bcc: 'x@y.z' } }, 'invalid_field', 'would show', { field: 'headers' }],
    [
      { ...GOOD, headers: { 'Content-Type': 'x' } },
      'invalid_field',
      'written with the body',
      { field: 'headers' },
    ],
    [{ ...GOOD, text: 'a\0b' }, 'invalid_field', 'NUL', { field: 'text' }],
    [{ ...GOOD, raw: 'X: 1\n\n' }, 'invalid_field', 'exclude each other', { field: 'text' }],
    [
      { from: 'a@example.com', to: ['b@example.net'] },
      'invalid_field',
      'is missing',
      { field: 'text' },
    ],
    [{ from: 'a@b.c', to: ['b@b.c'], raw: 'X: 1\n\na\0b' }, 'bad_content', 'NUL', {}],
    [{ from: 'a@b.c', to: ['b@b.c'], raw: `X: 1\n\n${'x'.repeat(999)}` }, 'bad_content', '998', {}],
    [{ from: 'a@b.c', to: ['b@b.c'], raw: 'Received: x\n'.repeat(101) }, 'bad_content', 'loop', {}],
    [[], 'invalid_body', 'not a JSON object', {}],
  ])('refusal %#: %j → %s', async (payload, code, message, where) => {
    const { fastify, accepted, intake } = await start();
    const answer = await postJson(fastify, payload);
    expect(answer.statusCode).toBe(400);
    expect(answer.json().error).toMatchObject({ code, ...where });
    expect(answer.json().error.message).toContain(message);
    expect(Object.keys(answer.json().error).sort()).toEqual(
      ['code', ...Object.keys(where), 'message'].sort(),
    );
    expect(accepted).toEqual([]);
    expect(intake.held.held).toBe(0);
  });

  test.each([
    ['{', 'application/json', 400, 'invalid_body'],
    ['', 'application/json', 400, 'invalid_body'],
    ['<xml/>', 'text/xml', 415, 'unsupported_media_type'],
    ['x', 'text/plain', 415, 'unsupported_media_type'],
  ])('%j as %s → %i', async (payload, type, status, code) => {
    const { fastify } = await start();
    const headers = { 'content-type': type };
    const answer = await fastify.inject({ method: 'POST', url: '/v1/messages', headers, payload });
    expect(answer.statusCode).toBe(status);
    expect(answer.json().error.code).toBe(code);
  });
});

describe('raw messages', () => {
  const MESSAGE = 'Subject: x\r\n\r\n\xe4..\r\n.\r\n.x\r\n';

  test('are taken octet for octet', async () => {
    const { fastify, accepted } = await start();
    const query = 'from=a%2Btag%40example.com&to=b@example.net&to=c@b%C3%BCcher.example';
    const answer = await postRaw(fastify, query, Buffer.from(MESSAGE, 'latin1'));
    expect(answer.statusCode).toBe(200);
    expect(answer.json().recipients[1]).toEqual({ address: 'c@bücher.example', id: `${ID}.1` });
    expect(textOf(accepted[0]!).endsWith(`\r\n${MESSAGE}`)).toBe(true);
    expect(accepted[0]!.envelope).toMatchObject({
      reversePath: 'a+tag@example.com',
      body: '8bitmime',
      smtpUtf8: true,
      recipients: [{ domain: 'example.net' }, { domain: 'xn--bcher-kva.example' }],
    });
  });

  test.each([
    ['to=b@b.c', 'from'],
    ['from=a@b.c&from=a@b.c&to=b@b.c', 'from'],
    ['from=a@b.c', 'to'],
    ['from=a@b.c&to=b@b.c&cc=d@b.c', 'cc'],
    ['from=a@b.c&to=b@b.c&to=b%0D%0A@b.c', 'to'],
    ['from=a@b.c&to=b+c@b.c', 'to'],
  ])('?%s names %s', async (query, field) => {
    const { fastify, accepted } = await start();
    const answer = await postRaw(fastify, query, MESSAGE);
    expect(answer.statusCode).toBe(400);
    expect(answer.json().error.field).toBe(field);
    expect(accepted).toEqual([]);
  });

  test('LF line endings are mended', async () => {
    const { fastify, accepted } = await start();
    await postRaw(fastify, 'from=&to=b@b.c', 'Subject: x\n\nbody\n.\n\r\nend');
    expect(textOf(accepted[0]!)).toMatch(/\r\nSubject: x\r\n\r\nbody\r\n\.\r\n\r\nend\r\n$/);
  });
});

describe('durability', () => {
  test.each([
    { allowed: 'fsync', asked: undefined, got: 'fsync' },
    { allowed: 'fsync', asked: 'memory', got: 'fsync' },
    { allowed: 'asked', asked: undefined, got: 'fsync' },
    { allowed: 'asked', asked: 'memory', got: 'memory' },
    { allowed: 'asked', asked: 'fsync', got: 'fsync' },
    { allowed: 'memory', asked: undefined, got: 'memory' },
    { allowed: 'memory', asked: 'fsync', got: 'fsync' },
  ] as const)('$allowed, asked for $asked: $got, and the answer says so', async (row) => {
    const { fastify, accepted } = await start({ durability: row.allowed });
    const asked = row.asked === undefined ? {} : { durability: row.asked };
    const answer = await postJson(fastify, { ...GOOD, ...asked });
    expect(answer.json().durability).toBe(row.got);
    expect(accepted[0]!.durability).toBe(row.got);
  });

  test('none that we do not know', async () => {
    const { fastify } = await start();
    const answer = await postJson(fastify, { ...GOOD, durability: 'none' });
    expect(answer.json().error).toMatchObject({ code: 'invalid_field', field: 'durability' });
  });
});

describe('who may inject', () => {
  const basic = (pair: string) => ({
    authorization: `Basic ${Buffer.from(pair).toString('base64')}`,
  });

  test('no one from outside, where there are no users', async () => {
    const { fastify, intake } = await start({ allow: NOWHERE });
    const answer = await postJson(fastify, GOOD, { 'x-forwarded-for': '192.0.2.1' });
    expect(answer.statusCode).toBe(403);
    expect(intake.counters.refused.relay).toBe(1);
  });

  test.each([
    [{}, 401],
    [basic('user:wrong'), 401],
    [basic('nobody:'), 401],
    [basic('user'), 401],
    [{ authorization: 'Bearer x' }, 401],
    [basic('user:pass:word'), 200],
  ])('with users: %j → %i', async (headers, status) => {
    const { fastify } = await start({ allow: NOWHERE, users: { user: 'pass:word' } });
    const answer = await postJson(fastify, GOOD, headers as Record<string, string>);
    expect(answer.statusCode).toBe(status);
    expect(answer.headers['www-authenticate'] !== undefined).toBe(status === 401);
  });
});

describe('trouble', () => {
  test.each([
    [new SpoolUnavailable('full', 'x'), 503, 'spool_unavailable', '10'],
    [new IntakeBusy('intake_messages', 'x'), 503, 'busy', '1'],
    [new Error('secret'), 500, 'internal', undefined],
  ])('%s → %i %s', async (error, status, code, retryAfter) => {
    const made = await start();
    made.onAccept = () => Promise.reject(error);
    const answer = await postJson(made.fastify, GOOD);
    expect(answer.statusCode).toBe(status);
    expect(answer.json().error.code).toBe(code);
    expect(answer.headers['retry-after']).toBe(retryAfter);
    expect(answer.body).not.toContain('secret');
    expect(made.intake.held.held).toBe(0);
  });

  test('the memory bound is named, and comes with a time to return', async () => {
    const { fastify, intake } = await start();
    intake.held.take(16_777_000);
    const answer = await postJson(fastify, GOOD);
    expect(answer.statusCode).toBe(503);
    expect(answer.json().error.message).toContain('intake_bytes');
    expect(answer.headers['retry-after']).toBe('1');
    expect(intake.held.held).toBe(16_777_000);
  });

  test('nothing is begun on shutdown', async () => {
    const { fastify, intake } = await start();
    intake.draining = true;
    expect((await postJson(fastify, GOOD)).statusCode).toBe(503);
  });

  test('a message at the limit passes, one octet more does not, declared or not', async () => {
    const { fastify, accepted, intake } = await start({ message_bytes: 2048 });
    const line = `${'x'.repeat(62)}\r\n`;
    const exact = `\r\n${line.repeat(31)}${'x'.repeat(60)}\r\n`;
    expect(exact).toHaveLength(2048);
    expect((await postRaw(fastify, 'from=&to=b@b.c', exact)).statusCode).toBe(200);
    expect((await postRaw(fastify, 'from=&to=b@b.c', `x${exact}`)).statusCode).toBe(413);
    expect((await postJson(fastify, { from: '', to: 'b@b.c', raw: `x${exact}` })).statusCode).toBe(
      413,
    );
    expect(accepted).toHaveLength(1);
    expect(intake.held.held).toBe(0);
  });
});

describe('over a real socket', () => {
  async function listening(settings: Parameters<typeof rig>[0] = {}) {
    const made = await start(settings);
    await made.fastify.listen({ port: 0, host: '127.0.0.1' });
    return Object.assign(made, { port: (made.fastify.server.address() as AddressInfo).port });
  }

  test('a body in chunks beyond the limit is answered while it is still coming', async () => {
    const { port, intake, accepted } = await listening({ message_bytes: 65_536 });
    const outgoing = request({
      port,
      method: 'POST',
      path: '/v1/messages?from=&to=b@b.c',
      headers: { 'content-type': 'message/rfc822' },
    });
    outgoing.on('error', () => undefined);
    const status = new Promise((resolve) =>
      outgoing.on('response', (response) => resolve(response.statusCode)),
    );
    const piece = `${'x'.repeat(78)}\r\n`.repeat(200);
    for (let pieces = 0; pieces < 10; pieces += 1) outgoing.write(piece);
    expect(await status).toBe(413);
    outgoing.destroy();
    expect(intake.held.held).toBe(0);
    expect(accepted).toEqual([]);
  });

  test('a client that breaks off leaves nothing behind', async () => {
    const { port, intake, accepted } = await listening();
    const client = new RawClient(port);
    client.send(
      'POST /v1/messages?from=&to=b@b.c HTTP/1.1\r\nhost: x\r\ncontent-type: message/rfc822\r\ncontent-length: 5000\r\n\r\nhalf',
    );
    await expect.poll(() => intake.held.held, PATIENCE).toBeGreaterThan(0);
    client.destroy();
    await expect.poll(() => intake.held.held, PATIENCE).toBe(0);
    expect(accepted).toEqual([]);
  });

  test('many messages over one connection', async () => {
    const { port, accepted } = await listening();
    for (let message = 0; message < 20; message += 1) {
      const answer = await fetch(`http://127.0.0.1:${port}/v1/messages`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(GOOD),
      });
      expect(answer.status).toBe(200);
    }
    expect(accepted).toHaveLength(20);
  });
});

test('other routes of the server keep their parsers and hooks', async () => {
  const { fastify } = await start({ allow: NOWHERE });
  fastify.post('/other', async (incoming) => incoming.body);
  const answer = await fastify.inject({ method: 'POST', url: '/other', payload: { a: 1 } });
  expect(answer.json()).toEqual({ a: 1 });
});
