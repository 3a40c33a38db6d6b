/** The search, and how another program is asked. */
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { find } from '../../../sidecar/dashboard/find.ts';
import { type Answer, NoAnswer, remoteProgram } from '../../../sidecar/dashboard/program.ts';
import { CONTEXT, fakeMta, WAITING } from '../support/programs.ts';

const IP = '127.0.0.1';
const SITE_QUERY = '/v1/dashboard/find?q=';

describe('what somebody may mean', () => {
  const sought = async (q: string) => {
    const admin = createMtaAdmin(fakeMta(), CONTEXT);
    const response = await admin.inject({ url: `${SITE_QUERY}${encodeURIComponent(q)}` });
    return response.json();
  };

  test('a message id, or one of its recipients', async () => {
    // The fake knows of one message.
    expect(await sought('00014s0pjpa')).toMatchObject({ kind: 'message' });
    expect(await sought('1hzk3v8q2m0.3')).toMatchObject({ kind: 'message', recipients: null });
  });

  test('a recipient, whatever its case', async () => {
    const found = await sought(WAITING.address.toUpperCase().replace('EXAMPLE', 'example'));
    expect(found).toMatchObject({ kind: 'recipient', more: false });
    expect(found.recipients).toEqual([WAITING]);
    expect((await sought('somebody.else@example.org')).recipients).toEqual([]);
  });

  test('a domain; the resolver is away, and the rest is told', async () => {
    const found = await sought('  example.org ');
    expect(found).toMatchObject({ kind: 'domain', sought: 'example.org', explanation: null });
    expect(found.route.verdict).toBe('route');
    expect(found.recipients).toEqual([WAITING]);
  });

  test.each(['<script>', 'not a domain', '..', '%'])('%j is none, and no error', async (q) => {
    expect(await sought(q)).toMatchObject({ kind: 'domain', recipients: null, route: null });
  });

  test.each(['', '   ', 'x'.repeat(255)])('%j is refused', async (q) => {
    const admin = createMtaAdmin(fakeMta(), CONTEXT);
    const response = await admin.inject({ url: `${SITE_QUERY}${encodeURIComponent(q)}` });
    expect(response.statusCode).toBe(400);
  });

  test('a long queue is looked through so far and no further', async () => {
    const asked: string[] = [];
    const page = { recipients: Array.from({ length: 1_000 }, () => WAITING), next: WAITING.id };
    const mta = {
      async ask({ path }: { path: string }): Promise<Answer> {
        asked.push(path);
        return { status: 200, body: page };
      },
    };
    const found = await find('nobody@example.org', { mta, resolver: mta }, IP);
    expect([found.recipients, found.more, asked.length]).toEqual([[], true, 5]);
    expect(asked[1]).toContain(`after=${WAITING.id}`);
  });
});

describe('another program', () => {
  let server: Server;
  afterEach(() => void server.close());

  async function program(answer: RequestListener) {
    server = createServer(answer);
    await new Promise<void>((resolve) => server.listen(0, IP, resolve));
    return remoteProgram(`${IP}:${(server.address() as AddressInfo).port}`);
  }

  test('is asked with the token of who asks, in a header', async () => {
    const seen: unknown[] = [];
    const other = await program((request, response) => {
      seen.push([request.method, request.url, request.headers.authorization]);
      response.end('{"ok":true}');
    });
    const question = { path: '/v1/x', body: {}, authorization: 'Bearer t', ip: IP };
    expect(await other.ask(question)).toEqual({ status: 200, body: { ok: true } });
    expect(seen).toEqual([['POST', '/v1/x', 'Bearer t']]);
  });

  test.each<[string, RequestListener]>([
    ['speaks no JSON', (_request, response) => void response.end('<html>')],
    ['never ends', (_request, response) => endless(response)],
    ['hangs up', (request) => void request.socket.destroy()],
    [
      'sends us elsewhere',
      (_request, response) => {
        response.writeHead(302, { location: 'http://192.0.2.1/' }).end();
      },
    ],
  ])('%s: no answer', async (_what, answer) => {
    const other = await program(answer);
    await expect(other.ask({ path: '/v1/state', ip: IP })).rejects.toThrow(NoAnswer);
  });
});

function endless(response: Parameters<RequestListener>[1]): void {
  const chunk = 'x'.repeat(1_048_576);
  const write = (): void => {
    while (!response.destroyed && response.write(chunk));
    response.once('drain', write);
  };
  write();
}
