/** What comes back, from the SMTP door to events, files, forwards and the list of the suppressed. */
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import Fastify from 'fastify';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createMtaAdmin } from '../../sidecar/admin/mta.ts';
import { CONTEXT } from '../sidecar/support/programs.ts';
import { Cleanup } from '../support/cleanup.ts';
import { waitFor } from '../support/process.ts';
import { type Folder, scratchFolder } from '../support/scratch.ts';
import { createWorld, type World, type WorldOptions } from './world.ts';

let cleanup: Cleanup;
let folder: Folder;
let paths: string[];
beforeEach(async () => {
  cleanup = new Cleanup();
  folder = await scratchFolder('feedback');
  cleanup.add(() => folder.remove());
  paths = [];
});
afterEach(() => cleanup.run());

const SECRET = 'a secret of the tests';
const BOUNCES = 'bounces.sender.example';

function world(
  mta: { feedback?: object; suppression?: object } & Record<string, unknown>,
  onRecipient?: (recipient: string) => string | null,
): Promise<World> {
  const options: WorldOptions = {
    mail: {
      'remote.example': ['mx.remote.example'],
      'desk.example': ['mx.desk.example'],
    },
    sinks: {
      'mx.remote.example': {
        onRecipient: onRecipient ?? (() => null),
        onMessage({ reversePath }) {
          paths.push(reversePath);
          return null;
        },
      },
      'mx.desk.example': { header: 'subject' },
    },
    mta: {
      events: join(folder.path, 'events'),
      feedback: { domains: [BOUNCES], verp: BOUNCES, secrets: [SECRET] },
      ...mta,
    },
  };
  return createWorld(options, cleanup);
}

const events = (name: string): Record<string, unknown>[] =>
  readFileSync(join(folder.path, 'events'), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === name);

const told = async (name: string, count = 1): Promise<Record<string, unknown>[]> => {
  await waitFor(() => events(name).length >= count, `${name} in the events`);
  return events(name);
};

const bounceOf = (recipient: string, status = '5.1.1', said = 'no such user'): string =>
  [
    'From: MAILER-DAEMON@mx.remote.example',
    'Content-Type: multipart/report; report-type=delivery-status; boundary=b',
    '',
    '--b',
    'Content-Type: message/delivery-status',
    '',
    'Reporting-MTA: dns; mx.remote.example',
    '',
    `Final-Recipient: rfc822; ${recipient}`,
    'Action: failed',
    `Status: ${status}`,
    `Diagnostic-Code: smtp; 550 ${status} ${said}`,
    '--b--',
    '',
  ].join('\r\n');

const complaintOf = (recipient: string, reversePath: string): string =>
  [
    'From: fbl@webmail.example',
    'Content-Type: multipart/report; report-type=feedback-report; boundary=b',
    '',
    '--b',
    'Content-Type: message/feedback-report',
    '',
    'Feedback-Type: abuse',
    'User-Agent: webmail/1',
    `Original-Mail-From: <${reversePath}>`,
    `Original-Rcpt-To: <${recipient}>`,
    '--b',
    'Content-Type: text/rfc822-headers',
    '',
    'Message-ID: <one@sender.example>',
    '--b--',
    '',
  ].join('\r\n');

const inject = (home: World, to: readonly string[], more: object = {}) =>
  post(home, '/v1/messages', { from: 'a@sender.example', text: 'hello', to, ...more });

async function post(
  { mta }: World,
  url: string,
  payload: object,
): Promise<{ status: number; body: { readonly id: string } }> {
  const server = Fastify();
  await server.register(mta.injection);
  const answer = await server.inject({ method: 'POST', url, payload });
  await server.close();
  return { status: answer.statusCode, body: answer.json() };
}

describe('reports with a token', () => {
  test('each recipient has a reverse-path of its own, and what comes back to it is certain', async () => {
    const home = await world({ suppression: { enabled: true } });
    const { id } = (
      await inject(home, ['bob@remote.example', 'ann@remote.example'], { tenant: 'acme' })
    ).body;
    await waitFor(() => paths.length === 2, 'both transactions');
    expect(new Set(paths).size).toBe(2);
    for (const path of paths) expect(path).toMatch(/^bounce\+[^@]+@bounces\.sender\.example$/);
    const index = paths.findIndex((path) => path.includes(`${id}-0-`));
    await home.send([{ from: '', to: [paths[index]!], content: bounceOf('Bob@remote.example') }]);
    const [event] = await told('bounce-report');
    expect(event).toEqual({
      event: 'bounce-report',
      atMs: expect.any(Number),
      report: expect.stringMatching(/^[0-9a-z]{11}\.0$/),
      id: `${id}.0`,
      recipient: 'Bob@remote.example',
      proven: true,
      tenant: 'acme',
      messageId: null,
      action: 'failed',
      status: '5.1.1',
      class: 'bad-mailbox',
      diagnostic: '550 5.1.1 no such user',
      originalRecipient: null,
      finalRecipient: 'Bob@remote.example',
      reportingMta: 'mx.remote.example',
      remoteMta: null,
      envelopeId: null,
    });
    await home.drained();
    expect(home.mta.suppressions?.of('bob@remote.example')).toMatchObject([
      {
        address: 'bob@remote.example',
        tenant: '',
        cause: 'bounce-report',
        note: '550 5.1.1 no such user',
      },
    ]);
    // The other one's token proves nothing about him.
    await home.send([
      { from: '', to: [paths[1 - index]!], content: bounceOf('eve@remote.example') },
    ]);
    expect((await told('bounce-report', 2))[1]).toMatchObject({
      id: `${id}.1`,
      recipient: 'eve@remote.example',
      proven: false,
    });
    await home.drained();
    expect(home.mta.suppressions?.of('eve@remote.example')).toEqual([]);
  });

  test('a complaint is about the tenant whose mail it was, also after a restart', async () => {
    let home = await world({ suppression: { enabled: true } });
    await inject(home, ['bob@remote.example'], { tenant: 'acme' });
    await waitFor(() => paths.length === 1, 'the message');
    home = await home.restart();
    await home.send([
      { from: '', to: [`fbl@${BOUNCES}`], content: complaintOf('bob@remote.example', paths[0]!) },
    ]);
    expect((await told('feedback'))[0]).toMatchObject({
      type: 'abuse',
      proven: true,
      recipient: 'bob@remote.example',
      tenant: 'acme',
      messageId: '<one@sender.example>',
      userAgent: 'webmail/1',
    });
    await home.drained();
    expect(home.mta.suppressions?.of('bob@remote.example')).toMatchObject([
      { tenant: 'acme', cause: 'complaint' },
    ]);
    expect((await inject(home, ['bob@remote.example'], { tenant: 'acme' })).status).toBe(422);
    expect((await inject(home, ['bob@remote.example'], { tenant: 'other' })).status).toBe(200);
  });

  test('a token that nobody made is no address; mail of a class that says nothing suppresses nobody', async () => {
    const home = await world({ suppression: { enabled: true } });
    const made = `bounce+0123456789a-0-${'0'.repeat(29)}@${BOUNCES}`;
    const sent = home.send([{ from: '', to: [made], content: bounceOf('bob@remote.example') }]);
    await expect(sent).rejects.toThrow(/550 5\.1\.1/);
    await inject(home, ['bob@remote.example']);
    await waitFor(() => paths.length === 1, 'the message');
    const full = bounceOf('bob@remote.example', '5.2.2', 'mailbox full');
    await home.send([{ from: '', to: [paths[0]!], content: full }]);
    expect((await told('bounce-report'))[0]).toMatchObject({ class: 'mailbox-full', proven: true });
    await home.drained();
    expect(home.mta.suppressions?.size).toBe(0);
  });
});

describe('reports without', () => {
  test.each([
    { unproven: false, entries: [] },
    { unproven: true, entries: [{ address: 'bob@remote.example', cause: 'bounce-report' }] },
  ])('unproven = $unproven', async ({ unproven, entries }) => {
    const home = await world({
      feedback: { domains: [BOUNCES] },
      suppression: { enabled: true, unproven },
    });
    await home.send([
      { from: '', to: [`any@${BOUNCES}`], content: bounceOf('bob@remote.example') },
    ]);
    expect((await told('bounce-report'))[0]).toMatchObject({ id: null, proven: false });
    await home.drained();
    expect(home.mta.suppressions?.of('bob@remote.example')).toMatchObject(entries);
    const metrics = await home.mta.metrics.metrics();
    expect(metrics).toContain('postilion_mta_feedback_total{kind="bounce-report"} 1');
    expect(metrics).toContain('postilion_mta_messages_total{outcome="taken"} 1');
  });

  test('what is no report is kept as it came, in a file', async () => {
    const home = await world({});
    await home.send([
      {
        from: 'c@d.example',
        to: [`help@${BOUNCES}`],
        content: 'From: c@d.example\r\nSubject: please\r\n\r\nhelp\r\n',
      },
    ]);
    const [event] = await told('unrecognised');
    expect(event).toMatchObject({
      to: `help@${BOUNCES}`,
      from: 'c@d.example',
      subject: 'please',
      automatic: false,
    });
    await home.drained();
    const kept = String(event!['kept']);
    expect(readFileSync(kept, 'utf8')).toContain('\r\n\r\nhelp\r\n');
    expect(readdirSync(join(kept, '..'))).toEqual([
      `${String(event!['report']).replace('.', '-')}.eml`,
    ]);
  });

  test('or goes on to whoever reads it, with the null reverse-path', async () => {
    const home = await world({
      feedback: { domains: [BOUNCES], forward: 'postmaster@desk.example' },
    });
    await home.send([
      { from: 'c@d.example', to: [`help@${BOUNCES}`], content: 'Subject: please\r\n\r\nhelp\r\n' },
    ]);
    await waitFor(() => home.accepted.length === 1, 'the forwarded message');
    expect(home.accepted[0]).toMatchObject({
      reversePath: '',
      recipients: ['postmaster@desk.example'],
      header: 'please',
    });
    expect((await told('unrecognised'))[0]).toMatchObject({ kept: 'forwarded' });
  });
});

describe('suppression', () => {
  const refuse = (recipient: string): string | null => {
    if (recipient === 'gone@remote.example') return '550 5.1.1 no such user';
    return recipient === 'spam@remote.example' ? '550 5.7.1 spam' : null;
  };

  test('a mailbox that is not there is, from its refusal on; at SMTP where that is asked for', async () => {
    const home = await world({ feedback: {}, suppression: { enabled: true, smtp: true } }, refuse);
    const to = ['gone@remote.example', 'spam@remote.example'];
    await home.send([{ to }]);
    await told('bounce', 2);
    await waitFor(() => home.mta.suppressions?.size === 1, 'the entry');
    expect(home.mta.suppressions?.of('gone@remote.example')).toMatchObject([
      { cause: 'bounce', note: 'mx.remote.example: 550 5.1.1 no such user' },
    ]);
    await expect(home.send([{ to: ['Gone@remote.example'] }])).rejects.toThrow(
      '550 5.7.1 recipient is suppressed: mail to it bounced before',
    );
    expect((await told('suppression'))[0]).toMatchObject({
      recipient: 'Gone@remote.example',
      cause: 'bounce',
      reversePath: 'sender@sender.example',
      origin: expect.stringMatching(/^smtp 127\./),
    });
  });

  test('over HTTP each recipient is named, and the ids are their positions', async () => {
    const home = await world({ feedback: {}, suppression: { enabled: true } });
    const put = (address: string, tenant = '') =>
      home.mta.suppressions!.put({ address, tenant, cause: 'hand', note: '' });
    await put('two@remote.example');
    await put('three@remote.example', 'acme');
    const to = ['one@remote.example', 'Two@remote.example', 'three@remote.example'];
    const { body, status } = await inject(home, to, { tenant: 'acme' });
    const { id } = body;
    const suppressed = { cause: 'hand', text: 'suppressed by hand' };
    expect([status, body]).toMatchObject([
      200,
      {
        recipients: [
          { address: 'one@remote.example', id: `${id}.0` },
          { address: 'Two@remote.example', suppressed },
          { address: 'three@remote.example', suppressed },
        ],
      },
    ]);
    const { body: other } = await inject(home, to.toReversed());
    expect(other).toMatchObject({
      recipients: [{ id: `${other.id}.0` }, { suppressed }, { id: `${other.id}.2` }],
    });
    await waitFor(() => home.accepted.length >= 2, 'the mail');
    await home.drained();
    expect(home.accepted.flatMap(({ recipients }) => recipients).sort()).toEqual([
      'one@remote.example',
      'one@remote.example',
      'three@remote.example',
    ]);
    expect(await inject(home, ['two@remote.example'])).toMatchObject({
      status: 422,
      body: { error: { code: 'suppressed', index: 0, field: 'to' } },
    });
    const tellings = await told('suppression', 4);
    expect(tellings.map(({ recipient, tenant }) => [recipient, tenant])).toEqual([
      ['Two@remote.example', 'acme'],
      ['three@remote.example', 'acme'],
      ['Two@remote.example', undefined],
      ['two@remote.example', undefined],
    ]);
  });

  test.each([
    {
      what: 'names one',
      answer: {
        status: 200,
        body: { suppressed: [{ recipient: 'one@remote.example', reason: 'unsubscribed' }] },
      },
      open: true,
      expected: {
        status: 422,
        body: { error: { message: 'the recipient is suppressed: unsubscribed' } },
      },
    },
    {
      what: 'names nobody',
      answer: { status: 200, body: { suppressed: [] } },
      open: false,
      expected: { status: 200 },
    },
    {
      what: 'fails, open',
      answer: { status: 500, body: {} },
      open: true,
      expected: { status: 200 },
    },
    {
      what: 'fails, closed',
      answer: { status: 500, body: {} },
      open: false,
      expected: { status: 503, body: { error: { code: 'suppression_unavailable' } } },
    },
    {
      what: 'talks nonsense, closed',
      answer: { status: 200, body: [] },
      open: false,
      expected: { status: 503 },
    },
    { what: 'is silent, closed', answer: null, open: false, expected: { status: 503 } },
  ])('a hook that $what', async ({ answer, open, expected }) => {
    const asked: unknown[] = [];
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      asked.push(JSON.parse(Buffer.concat(chunks).toString()));
      if (answer !== null) response.writeHead(answer.status).end(JSON.stringify(answer.body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup.add(async () => {
      server.closeAllConnections();
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const home = await world({
      feedback: {},
      suppression: {
        enabled: true,
        hook: `http://127.0.0.1:${port}/ask`,
        hook_timeout: '500ms',
        hook_fail_open: open,
      },
    });
    expect(await inject(home, ['one@remote.example'], { tenant: 'acme' })).toMatchObject(expected);
    expect(asked).toEqual([
      { tenant: 'acme', reverse_path: 'a@sender.example', recipients: ['one@remote.example'] },
    ]);
  });

  test('the shapes of others name them among the rejected', async () => {
    const home = await world({ feedback: {}, suppression: { enabled: true } });
    await home.mta.suppressions!.put({
      address: 'two@remote.example',
      tenant: '',
      cause: 'hand',
      note: '',
    });
    const recipients = ['one@remote.example', 'two@remote.example', 'three@remote.example'];
    const content = { from: 'a@sender.example', subject: 'x', text: 'the same for all' };
    const spark = (text: string) => ({
      content: { ...content, text },
      recipients: recipients.map((address) => ({ address })),
    });
    // One message for all, and one for each.
    for (const text of ['the same for all', 'for {{address.email}} alone']) {
      expect(await post(home, '/api/v1/transmissions', spark(text))).toMatchObject({
        status: 200,
        body: {
          results: {
            total_accepted_recipients: 2,
            total_rejected_recipients: 1,
            rcpt_to_errors: [{ code: 'suppressed', index: 1 }],
          },
        },
      });
    }
    const kumo = {
      envelope_sender: 'a@sender.example',
      content: 'Subject: x\r\n\r\nx',
      recipients: recipients.map((email) => ({ email })),
    };
    expect(await post(home, '/api/inject/v1', kumo)).toMatchObject({
      status: 200,
      body: { success_count: 2, fail_count: 1, failed_recipients: ['two@remote.example'] },
    });
    expect((await told('suppression', 3)).length).toBe(3);
  });

  test('the API lists, tells, adds and removes', async () => {
    const home = await world({ feedback: {}, suppression: { enabled: true, entries: 3 } });
    const server = createMtaAdmin(home.mta, CONTEXT);
    const call = async (
      method: 'GET' | 'PUT' | 'POST' | 'DELETE',
      url: string,
      payload?: object,
    ) => {
      const answer = await server.inject({
        method,
        url,
        ...(payload === undefined ? {} : { payload }),
      });
      return [answer.statusCode, answer.json<object>()] as const;
    };
    const entry = (address: string, tenant: string, note: string) => ({
      address,
      tenant,
      cause: 'hand',
      note,
      sinceMs: expect.any(Number),
    });
    const steps: [Parameters<typeof call>, number, object][] = [
      [['GET', '/v1/suppressions'], 200, { suppressions: [], next: null, entries: 0 }],
      [
        ['PUT', '/v1/suppressions/Bob@B.example', { note: 'asked' }],
        200,
        { suppressions: [entry('bob@b.example', '', 'asked')] },
      ],
      [
        ['PUT', '/v1/suppressions/bob%40b.example', { tenant: 'acme' }],
        200,
        { suppressions: [entry('bob@b.example', '', 'asked'), entry('bob@b.example', 'acme', '')] },
      ],
      [
        ['POST', '/v1/suppressions', { addresses: ['ann@a.example'] }],
        200,
        { added: 1, entries: 3 },
      ],
      [['PUT', '/v1/suppressions/x@c.example', {}], 409, { error: { code: 'ADMIN_LIST_FULL' } }],
      [
        ['PUT', '/v1/suppressions/ann@a.example', { note: 'new' }],
        200,
        { suppressions: [entry('ann@a.example', '', 'new')] },
      ],
      [
        ['GET', '/v1/suppressions?limit=2'],
        200,
        {
          suppressions: [entry('ann@a.example', '', 'new'), entry('bob@b.example', '', 'asked')],
          next: { after: 'bob@b.example', after_tenant: '' },
        },
      ],
      [
        ['GET', '/v1/suppressions?limit=2&after=bob@b.example&after_tenant='],
        200,
        { suppressions: [entry('bob@b.example', 'acme', '')], next: null },
      ],
      [
        ['GET', '/v1/suppressions?tenant=acme'],
        200,
        { suppressions: [entry('bob@b.example', 'acme', '')] },
      ],
      [
        ['GET', '/v1/suppressions/nobody@b.example'],
        404,
        { error: { code: 'ADMIN_NOT_SUPPRESSED' } },
      ],
      [['GET', '/v1/suppressions/nonsense'], 400, { error: { code: 'ADMIN_BAD_REQUEST' } }],
      [['DELETE', '/v1/suppressions/BOB@b.example?tenant=acme'], 200, { removed: true }],
      [
        ['DELETE', '/v1/suppressions/bob@b.example?tenant=acme'],
        404,
        { error: { code: 'ADMIN_NOT_SUPPRESSED' } },
      ],
      [
        ['GET', '/v1/suppressions/bob@b.example'],
        200,
        { suppressions: [entry('bob@b.example', '', 'asked')] },
      ],
    ];
    for (const [request, status, body] of steps) {
      expect([request, ...(await call(...request))]).toMatchObject([request, status, body]);
    }
    await server.close();
    const again = await home.restart();
    expect(again.mta.suppressions?.page(null, 9, null).map(({ address }) => address)).toEqual([
      'ann@a.example',
      'bob@b.example',
    ]);
  });
});
