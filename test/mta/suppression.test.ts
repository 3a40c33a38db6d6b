/** The list of those who get no mail: how they come onto it, who is told, and who may change it. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, test } from 'vitest';
import { createMtaAdmin } from '../../sidecar/admin/mta.ts';
import { CONTEXT } from '../sidecar/support/programs.ts';
import { waitFor } from '../support/process.ts';
import { feedbackWorlds, inject, post } from './feedback-world.ts';

const { world, told, cleanup } = feedbackWorlds();

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
