/** KumoMTA's and SparkPost's shapes, keys, limits, and requests that come twice. */
import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { formatMessageId, type Submission } from '../../../mta/envelope.ts';
import { SpoolUnavailable, SubmittedBefore } from '../../../mta/errors.ts';
import { injectionApi } from '../../../mta/intake/http.ts';
import { FIRST_ID, NOWHERE, type Rig, rig, textOf } from './harness.ts';

const servers: FastifyInstance[] = [];
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

async function start(
  settings: Parameters<typeof rig>[0] = {},
): Promise<Rig & { server: FastifyInstance }> {
  const made = rig(settings);
  const server = Fastify();
  servers.push(server);
  await injectionApi(server, made.intake);
  return Object.assign(made, { server });
}

const post = (server: FastifyInstance, url: string, payload: object, headers = {}) =>
  server.inject({ method: 'POST', url, payload, headers });
const KUMO = '/api/inject/v1';
const SPARK = '/api/v1/transmissions';
const OWN = '/v1/messages';
const GOOD = { from: 'a@example.com', to: ['b@example.net'], text: 'hello' };
const digestOf = (key: string): string =>
  `sha256:${createHash('sha256').update(key).digest('hex')}`;
const envelopes = (accepted: readonly Submission[]) =>
  accepted.map(({ envelope }) => [
    envelope.reversePath,
    ...envelope.recipients.map(({ address }) => address),
  ]);

describe('KumoMTA', () => {
  test('parts with substitutions become a message for each recipient', async () => {
    const { server, accepted } = await start();
    const answer = await post(server, KUMO, {
      envelope_sender: 'bounce@example.com',
      content: {
        from: { email: 'news@example.com', name: 'News {{ edition }}' },
        subject: 'For {{ name }}',
        text_body: 'Hello {{ name }}, {{ city | default("everywhere") }}',
        html_body: '<p>{{ name }}</p>',
        headers: { 'X-Edition': '{{ edition }}' },
      },
      substitutions: { edition: 7 },
      recipients: [
        { email: 'x@example.net', name: 'A & B' },
        { email: 'not an address' },
        { email: 'y@example.org', name: 'Yves', substitutions: { city: 'Gent' } },
      ],
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toEqual({
      success_count: 2,
      fail_count: 1,
      failed_recipients: ['not an address'],
      errors: ['recipients[1]: address without a domain; write local-part@domain'],
      durability: 'fsync',
      ids: [formatMessageId(FIRST_ID), formatMessageId(FIRST_ID + 1)],
    });
    expect(envelopes(accepted)).toEqual([
      ['bounce@example.com', 'x@example.net'],
      ['bounce@example.com', 'y@example.org'],
    ]);
    const [first, second] = accepted.map(textOf);
    for (const part of [
      '\r\nFrom: News 7 <news@example.com>\r\n',
      '\r\nTo: "A & B" <x@example.net>\r\n',
      '\r\nSubject: For A & B\r\n',
      '\r\nX-Edition: 7\r\n',
      '\r\nHello A & B, everywhere\r\n',
      '\r\n<p>A &amp; B</p>\r\n',
    ]) {
      expect(first).toContain(part);
    }
    expect(second).toContain('Hello Yves, Gent');
  });

  test('a whole message without tags is kept once for all', async () => {
    const { server, accepted } = await start();
    const recipients = [{ email: 'x@example.net' }, { email: 'y@example.org' }];
    const content = 'From: a@example.com\r\nSubject: s\r\n\r\nbody\r\n';
    await post(server, KUMO, { envelope_sender: '', content, recipients });
    expect(envelopes(accepted)).toEqual([['', 'x@example.net', 'y@example.org']]);
  });

  test('deferred_spool asks for memory, and gets it where that is allowed', async () => {
    const body = {
      envelope_sender: 'a@example.com',
      recipients: [{ email: 'x@example.net' }],
      content: 'Subject: s\r\n\r\nbody\r\n',
      deferred_spool: true,
    };
    for (const [durability, got] of [
      ['fsync', 'fsync'],
      ['asked', 'memory'],
    ] as const) {
      const { server, accepted } = await start({ durability });
      expect((await post(server, KUMO, body)).json().durability).toBe(got);
      expect(accepted[0]!.durability).toBe(got);
    }
  });

  test('Static leaves tags as they are', async () => {
    const { server, accepted } = await start();
    const body = { envelope_sender: 'a@example.com', recipients: [{ email: 'x@example.net' }] };
    await post(server, KUMO, {
      ...body,
      content: 'Subject: s\r\n\r\n{% x %}{{ 1 + 1 }}\r\n',
      template_dialect: 'Static',
    });
    expect(textOf(accepted[0]!)).toContain('{% x %}{{ 1 + 1 }}');
  });
});

describe('SparkPost', () => {
  test('what a substitution brings cannot begin a header field', async () => {
    const { server, accepted } = await start();
    const evil = 'x\r\nBcc: victim@example.net';
    const structured = await post(server, SPARK, {
      recipients: [{ address: 'x@example.net', substitution_data: { evil } }],
      content: { from: 'a@example.com', subject: 'S {{ evil }}', text: 't' },
    });
    expect([structured.statusCode, accepted.length]).toEqual([400, 0]);
    expect(structured.json().errors[0].code).toBe('invalid_field');
    await post(server, SPARK, {
      recipients: [{ address: 'x@example.net', substitution_data: { evil } }],
      content: { email_rfc822: 'From: Ann <a@example.com>\nSubject: {{ evil }}\n\nHi {{evil}}' },
    });
    expect(envelopes(accepted)).toEqual([['a@example.com', 'x@example.net']]);
    expect(textOf(accepted[0]!)).toContain(
      '\r\nSubject: x Bcc: victim@example.net\r\n\r\nHi x\r\n',
    );
  });

  test('start_time, campaign, metadata, return_path and key go along; what has no effect is named', async () => {
    const { server, accepted, intake } = await start({ keys: { acme: digestOf('secret') } });
    const startTime = new Date(intake.clock.wallMs() + 3_600_000).toISOString();
    const answer = await post(
      server,
      SPARK,
      {
        recipients: [{ address: { email: 'x@example.net', name: 'X' } }],
        content: {
          from: { email: 'a@example.com', name: 'A' },
          subject: 's',
          html: '<b>{{{ raw }}}</b>',
        },
        substitution_data: { raw: '<i>' },
        options: { start_time: startTime, open_tracking: true, click_tracking: false },
        campaign_id: 'spring sale',
        metadata: { order: 7 },
        return_path: 'back@example.com',
      },
      { authorization: 'secret' },
    );
    expect(answer.json()).toEqual({
      results: {
        total_rejected_recipients: 0,
        total_accepted_recipients: 1,
        id: formatMessageId(FIRST_ID),
        durability: 'fsync',
        ignored: ['options.open_tracking'],
      },
    });
    expect(accepted[0]).toMatchObject({
      envelope: { reversePath: 'back@example.com' },
      campaign: 'spring-sale',
      tenant: 'acme',
      notBeforeMs: Date.parse(startTime),
      extra: '{"metadata":{"order":7}}',
    });
    expect(textOf(accepted[0]!)).toContain('<b><i></b>');
  });

  test.each([
    [{ recipients: { list_id: 'x' } }, /stored lists are not kept/],
    [{ content: { template_id: 'x' } }, /stored template/],
    [{ content: { from: 'a@example.com', text: '{{ if x }}' } }, /no substitution known/],
    [{ options: { start_time: 'tomorrow' } }, /is not an instant/],
    [{ options: { start_time: '2999-01-01T00:00:00Z' } }, /bound max_age/],
    [{ recipients: [] }, /names no recipient/],
    [
      { recipients: Array.from({ length: 6 }, () => ({ address: 'x@example.net' })) },
      /bound recipients/,
    ],
  ])('%j is refused in its own shape', async (change, message) => {
    const { server, accepted } = await start();
    const base = {
      recipients: [{ address: 'x@example.net' }],
      content: { from: 'a@example.com', subject: 's', text: 't' },
    };
    const answer = await post(server, SPARK, { ...base, ...change });
    expect([answer.statusCode, accepted.length]).toEqual([400, 0]);
    expect(answer.json().errors[0].message).toMatch(message);
  });

  test('a spool that keeps part of it: what was kept is counted, and the rest refused', async () => {
    const made = await start();
    made.onAccept = async ({ envelope }) => {
      if (envelope.recipients[0]!.address === 'y@example.net')
        throw new SpoolUnavailable('full', 'x');
      return FIRST_ID;
    };
    const answer = await post(made.server, SPARK, {
      recipients: [{ address: 'x@example.net' }, { address: 'y@example.net' }],
      content: { from: 'a@example.com', subject: 's', text: 't' },
    });
    expect(answer.json().results).toMatchObject({
      total_accepted_recipients: 1,
      total_rejected_recipients: 1,
      rcpt_to_errors: [
        { message: 'mail cannot be kept: full', code: 'spool_unavailable', index: 1 },
      ],
    });
    expect(made.intake.held.held).toBe(0);
  });
});

describe('the npm client of SparkPost', () => {
  test('sends unchanged', async () => {
    const { server, accepted } = await start();
    await server.listen({ host: '127.0.0.1', port: 0 });
    const { port } = server.server.address() as AddressInfo;
    const SparkPost = createRequire(import.meta.url)('sparkpost') as new (
      key: string,
      options: object,
    ) => { transmissions: { send(transmission: object): Promise<object> } };
    const client = new SparkPost('any key', { origin: `http://127.0.0.1:${port}` });
    const answer = await client.transmissions.send({
      options: { open_tracking: false },
      content: {
        from: 'a@example.com',
        subject: 'Hi {{ name }}',
        text: 'Hello {{ name or "you" }}',
      },
      recipients: [
        { address: 'x@example.net', substitution_data: { name: 'Xenia' } },
        { address: 'y@example.net' },
      ],
    });
    expect(answer).toMatchObject({
      results: { total_accepted_recipients: 2, total_rejected_recipients: 0 },
    });
    expect(accepted.map(textOf).sort()[0]).toMatch(/Hello (Xenia|you)\r\n$/);
    const refusal = client.transmissions.send({ content: {}, recipients: [{ address: 'x' }] });
    await expect(refusal).rejects.toMatchObject({
      statusCode: 400,
      errors: [{ code: 'bad_address' }],
    });
  });
});

describe('keys', () => {
  const keys = { acme: digestOf('one'), other: digestOf('two') };
  test.each([
    ['one', {}, 200, 'acme'],
    ['Bearer two', {}, 200, 'other'],
    [`Basic ${Buffer.from('x:one').toString('base64')}`, {}, 200, 'acme'],
    ['one', { tenant: 'acme' }, 200, 'acme'],
    ['one', { tenant: 'other' }, 403, null],
    ['wrong', {}, 401, null],
    ['', {}, 401, null],
  ])('%j with %j from outside: %i', async (authorization, fields, status, tenant) => {
    const { server, accepted } = await start({ keys, allow: NOWHERE });
    const answer = await post(
      server,
      OWN,
      { ...GOOD, ...fields },
      authorization === '' ? {} : { authorization },
    );
    expect(answer.statusCode).toBe(status);
    expect(accepted[0]?.tenant ?? null).toBe(tenant);
  });

  test('a wrong key is wrong from an allowed network too; none is not', async () => {
    const { server } = await start({ keys });
    expect((await post(server, OWN, GOOD, { authorization: 'wrong' })).statusCode).toBe(401);
    expect((await post(server, OWN, GOOD)).statusCode).toBe(200);
  });

  test('each has its own rate, and is told when to come back', async () => {
    const { server } = await start({ keys, key_rate: 2 });
    const to = ['a@x.example', 'b@x.example', 'c@x.example', 'd@x.example'];
    const codes = [];
    for (const authorization of ['one', 'one', 'two']) {
      const answer = await post(server, OWN, { ...GOOD, to }, { authorization });
      codes.push([answer.statusCode, answer.headers['retry-after'] ?? null]);
    }
    expect(codes).toEqual([
      [200, null],
      [429, '2'],
      [200, null],
    ]);
  });
});

describe('Idempotency-Key', () => {
  test('goes with the message; a repetition gets the first answer, another request a conflict', async () => {
    const made = await start();
    const headers = { 'idempotency-key': 'order-7' };
    const first = await post(made.server, OWN, GOOD, headers);
    const { once } = made.accepted[0]!;
    expect(once?.key).toBe('network 0 order-7');
    const id = first.json().id;
    made.onAccept = async (submission) => {
      throw new SubmittedBefore(FIRST_ID, submission.once!.digest);
    };
    const again = await post(made.server, OWN, GOOD, headers);
    expect(again.json()).toEqual({ ...first.json(), repeated: true });
    expect(again.json().id).toBe(id);
    made.onAccept = async () => {
      throw new SubmittedBefore(FIRST_ID, once!.digest);
    };
    const other = await post(made.server, OWN, { ...GOOD, text: 'other' }, headers);
    expect([other.statusCode, other.json().error.code]).toEqual([409, 'idempotency_conflict']);
    const bad = await post(made.server, OWN, GOOD, { 'idempotency-key': 'a b' });
    expect(bad.statusCode).toBe(400);
  });
});

test('the own API takes priority, campaign, tenant and an instant, also in a query', async () => {
  const { server, accepted, intake } = await start();
  const sendAt = new Date(intake.clock.wallMs() + 60_000).toISOString();
  const fields = { priority: 'urgent', tenant: 'acme', campaign: 'reset', send_at: sendAt };
  const wanted = {
    priority: 'urgent',
    tenant: 'acme',
    campaign: 'reset',
    notBeforeMs: Date.parse(sendAt),
  };
  await post(server, OWN, { ...GOOD, ...fields });
  const query = new URLSearchParams({ from: 'a@example.com', to: 'b@example.net', ...fields });
  const raw = await server.inject({
    method: 'POST',
    url: `${OWN}?${query}`,
    headers: { 'content-type': 'message/rfc822' },
    payload: 'Subject: s\r\n\r\nb\r\n',
  });
  expect(raw.statusCode).toBe(200);
  expect(accepted).toMatchObject([wanted, wanted]);
  const memory = await post(server, OWN, { ...GOOD, durability: 'memory' });
  expect(memory.json().durability).toBe('fsync');
});
