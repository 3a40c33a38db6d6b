/**
 * Input that no honest client sends, or that is larger than any: each is refused with its reason, what is
 * sound beside it is taken, and nothing of it stays in memory.
 */
import Fastify, { type LightMyRequestResponse } from 'fastify';
import { afterEach, describe, expect, test } from 'vitest';
import { injectionApi } from '../../../mta/intake/http.ts';
import { listen, RawClient, type Rig, rig } from './harness.ts';

const BODY_OCTETS = 50 * 1_048_576;
const ROOMY = { message_bytes: 64 * 1_048_576, intake_bytes: 512 * 1_048_576 };
const OWN = '/v1/messages';
const KUMO = '/api/inject/v1';
const SPARK = '/api/v1/transmissions';

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()));
});

async function http(settings: Parameters<typeof rig>[0] = {}): Promise<{
  readonly rig: Rig;
  post(url: string, payload: object | Buffer, type?: string): Promise<LightMyRequestResponse>;
}> {
  const made = rig(settings);
  const server = Fastify();
  closers.push(() => server.close());
  await injectionApi(server, made.intake);
  return {
    rig: made,
    post: (url, payload, type = 'application/json') =>
      server.inject({ method: 'POST', url, payload, headers: { 'content-type': type } }),
  };
}

async function smtp(
  settings: Parameters<typeof rig>[0] = {},
): Promise<{ readonly rig: Rig; readonly client: RawClient }> {
  const made = rig(settings);
  const client = new RawClient(await listen(made.door));
  closers.push(async () => {
    client.destroy();
    await made.door.stop(0);
  });
  await client.exchange('EHLO c\r\n', /250 \S+\r\n$/);
  return { rig: made, client };
}

describe('a million Received lines', () => {
  const content = Buffer.from(`${'Received: x\r\n'.repeat(1_000_000)}\r\nbody\r\n`);

  test('by SMTP: a header too large, and the session goes on', async () => {
    const { rig: made, client } = await smtp(ROOMY);
    await client.exchange('MAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n', /354 /);
    expect(await client.exchange(`${content}.\r\n`, /\r\n$/)).toMatch(
      /^552 5\.3\.4 header larger than 1048576 octets/,
    );
    expect(await client.exchange('NOOP\r\n', /\r\n$/)).toMatch(/^250 /);
    expect([made.accepted.length, made.intake.held.held]).toEqual([0, 0]);
  });

  test('by HTTP: bad content', async () => {
    const { rig: made, post } = await http(ROOMY);
    const answer = await post(`${OWN}?from=a@b.c&to=b@b.c`, content, 'message/rfc822');
    expect([answer.statusCode, answer.json().error.code]).toEqual([400, 'bad_content']);
    expect([made.accepted.length, made.intake.held.held]).toEqual([0, 0]);
  });
});

describe('a body of 50 MB', () => {
  const line = `${'x'.repeat(76)}\r\n`;
  const content = Buffer.from(
    `Subject: large\r\n\r\n${line.repeat(Math.ceil(BODY_OCTETS / line.length))}`,
  );

  test('by SMTP: too large where that is the rule, and the session goes on', async () => {
    const { rig: made, client } = await smtp();
    await client.exchange('MAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n', /354 /);
    expect(await client.exchange(`${content}.\r\n`, /\r\n$/)).toMatch(/^552 5\.3\.4 /);
    expect(await client.exchange('NOOP\r\n', /\r\n$/)).toMatch(/^250 /);
    expect([made.accepted.length, made.intake.held.held]).toEqual([0, 0]);
  });

  test('by SMTP: taken whole where there is room', async () => {
    const { rig: made, client } = await smtp(ROOMY);
    await client.exchange('MAIL FROM:<a@b.c>\r\nRCPT TO:<b@b.c>\r\nDATA\r\n', /354 /);
    expect(await client.exchange(`${content}.\r\n`, /\r\n$/)).toMatch(/^250 /);
    const taken = Buffer.from(made.accepted[0]!.content);
    expect(taken.subarray(taken.indexOf('Subject: large')).equals(content)).toBe(true);
    expect(made.intake.held.held).toBe(0);
  });

  test('by HTTP: 413, or taken whole', async () => {
    const url = `${OWN}?from=a@b.c&to=b@b.c`;
    const narrow = await http();
    expect((await narrow.post(url, content, 'message/rfc822')).statusCode).toBe(413);
    expect([narrow.rig.accepted.length, narrow.rig.intake.held.held]).toEqual([0, 0]);
    const wide = await http(ROOMY);
    expect((await wide.post(url, content, 'message/rfc822')).statusCode).toBe(200);
    const taken = Buffer.from(wide.rig.accepted[0]!.content);
    expect(taken.subarray(taken.indexOf('Subject: large')).equals(content)).toBe(true);
    expect(wide.rig.intake.held.held).toBe(0);
  });
});

describe('one bad address in the middle of 10,000', () => {
  const COUNT = 10_000;
  const BAD = 5_000;
  const settings = { recipients: COUNT, queue_recipients: 1_000_000 };
  const addresses = Array.from({ length: COUNT }, (_, n) =>
    n === BAD ? 'no address' : `u${n}@d${n % 100}.example`,
  );
  const sound = addresses.filter((_, n) => n !== BAD);
  const taken = ({ accepted }: Rig): string[] =>
    accepted.flatMap(({ envelope }) => envelope.recipients.map(({ address }) => address));

  test('by SMTP: its RCPT is refused, the others are taken', async () => {
    const { rig: made, client } = await smtp(settings);
    const rcpt = addresses.map((address) => `RCPT TO:<${address}>\r\n`).join('');
    const replies = (await client.exchange(`MAIL FROM:<a@b.c>\r\n${rcpt}DATA\r\n`, /354 .*\r\n$/))
      .split('\r\n')
      .slice(1, -2);
    expect(replies).toHaveLength(COUNT);
    expect(replies.flatMap((reply, n) => (reply.startsWith('250 ') ? [] : [[n, reply]]))).toEqual([
      [BAD, expect.stringMatching(/^5\d\d 5\.1\.3 /)],
    ]);
    expect(await client.exchange('Subject: x\r\n\r\n.\r\n', /\r\n$/)).toMatch(/^250 /);
    expect(taken(made)).toEqual(sound);
  });

  test('by our own API, which takes all or none: refused, with its index', async () => {
    const { rig: made, post } = await http(settings);
    const answer = await post(OWN, { from: 'a@b.c', to: addresses, text: 'x' });
    expect(answer.statusCode).toBe(400);
    expect(answer.json().error).toMatchObject({ code: 'bad_address', field: 'to', index: BAD });
    expect(made.accepted).toEqual([]);
  });

  test('in the shape of KumoMTA: it alone fails, with its index', async () => {
    const { rig: made, post } = await http(settings);
    const answer = await post(KUMO, {
      envelope_sender: 'a@b.c',
      content: 'Subject: x\r\n\r\nx\r\n',
      recipients: addresses.map((email) => ({ email })),
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({
      success_count: COUNT - 1,
      fail_count: 1,
      failed_recipients: ['no address'],
      errors: [expect.stringMatching(/^recipients\[5000\]: /)],
    });
    expect(taken(made)).toEqual(sound);
  });

  test('in the shape of SparkPost: it alone is rejected', async () => {
    const { rig: made, post } = await http(settings);
    const answer = await post(SPARK, {
      content: { email_rfc822: 'From: a@b.c\r\nSubject: x\r\n\r\nx\r\n' },
      recipients: addresses.map((address) => ({ address })),
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.json().results).toMatchObject({
      total_rejected_recipients: 1,
      total_accepted_recipients: COUNT - 1,
    });
    expect(JSON.stringify(answer.json())).toContain(String(BAD));
    expect(taken(made)).toEqual(sound);
  });
});

describe('a field that would begin another', () => {
  const EVIL = 'x\r\nBcc: victim@example.net';
  const kumo = (over: object) => ({
    envelope_sender: 'a@b.c',
    recipients: [{ email: 'b@b.c', name: 'B' }],
    content: { from: 'a@b.c', subject: 's', text_body: 't', ...over },
  });
  const spark = (over: object) => ({
    recipients: [{ address: 'b@b.c' }],
    content: { from: 'a@b.c', subject: 's', text: 't', ...over },
  });

  test.each([
    [OWN, { from: 'a@b.c', to: ['b@b.c'], subject: EVIL, text: 't' }],
    [OWN, { from: `A ${EVIL} <a@b.c>`, to: ['b@b.c'], text: 't' }],
    [OWN, { from: 'a@b.c', to: ['b@b.c'], text: 't', headers: { 'X-A': EVIL } }],
    [KUMO, kumo({ subject: EVIL })],
    [KUMO, kumo({ headers: { 'X-A': EVIL } })],
    [KUMO, kumo({ headers: { 'X-A: x\r\nBcc': 'y@z' } })],
    [KUMO, kumo({ from: { email: 'a@b.c', name: EVIL } })],
    [KUMO, kumo({ reply_to: EVIL })],
    [KUMO, { ...kumo({}), recipients: [{ email: 'b@b.c', name: EVIL }] }],
    [KUMO, { ...kumo({}), recipients: [{ email: `b@b.c>\r\nRCPT TO:<c@b.c` }] }],
    [KUMO, { ...kumo({ subject: '{{ s }}' }), substitutions: { s: EVIL } }],
    [KUMO, { ...kumo({}), envelope_sender: `a@b.c>\r\nRCPT TO:<c@b.c` }],
    [SPARK, spark({ subject: EVIL })],
    [SPARK, spark({ headers: { 'X-A': EVIL } })],
    [SPARK, spark({ from: { email: 'a@b.c', name: EVIL } })],
    [SPARK, spark({ reply_to: EVIL })],
    [SPARK, { ...spark({}), recipients: [{ address: { email: 'b@b.c', name: EVIL } }] }],
    [SPARK, { ...spark({}), return_path: `a@b.c>\r\nRCPT TO:<c@b.c` }],
  ])('%s %j', async (url, payload) => {
    const { rig: made, post } = await http();
    const answer = await post(url, payload);
    const refusedAlone = answer.statusCode === 200 && made.accepted.length === 0;
    expect(refusedAlone || answer.statusCode === 400).toBe(true);
    expect(made.accepted).toEqual([]);
  });
});
