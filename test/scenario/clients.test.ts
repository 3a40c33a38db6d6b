/** Clients that are out there send here: Postfix as a smart-host client, curl with KumoMTA's shape. */
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { afterEach, expect, test } from 'vitest';
import { injectionApi } from '../../mta/intake/http.ts';
import { listen, rig, textOf } from '../mta/intake/harness.ts';
import { Cleanup } from '../support/cleanup.ts';
import { requirePeer } from '../support/peers.ts';
import { SENT, startPostfix } from '../support/postfix.ts';
import { runProcess, waitFor } from '../support/process.ts';
import { swaks } from '../support/swaks.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

requirePeer(
  'postfix',
  'swaks',
  'root',
)('Postfix with us as its relayhost', () => {
  test('hands mail over, with what its client asked to be told', async () => {
    const made = rig();
    cleanup.add(() => made.door.stop(0));
    const port = await listen(made.door);
    const postfix = cleanup.stop(
      await startPostfix({
        settings: { relayhost: `[127.0.0.1]:${port}`, smtp_host_lookup: 'native' },
      }),
    );
    const sent = await swaks(postfix, { '--from': 'a@example.com', '--to': 'b@example.net' });
    expect(sent.exitCode, sent.text).toBe(0);
    await waitFor(() => made.accepted.length === 1, 'the message to come through Postfix');
    expect(made.accepted[0]!.envelope).toMatchObject({
      reversePath: 'a@example.com',
      recipients: [{ address: 'b@example.net', extra: '{"orcpt":"rfc822;b@example.net"}' }],
    });
    expect(textOf(made.accepted[0]!)).toContain('from postfix.example.net (');
    await waitFor(async () => (await postfix.count(SENT)) === 1, 'Postfix to note it as sent');
  }, 60_000);
});

requirePeer('curl')('curl', () => {
  test("sends in KumoMTA's shape", async () => {
    const made = rig();
    const server = Fastify();
    cleanup.add(() => server.close());
    await injectionApi(server, made.intake);
    await server.listen({ host: '127.0.0.1', port: 0 });
    const { port } = server.server.address() as AddressInfo;
    const body = {
      envelope_sender: 'noreply@example.com',
      content: 'From: noreply@example.com\r\nSubject: hello {{ name }}\r\n\r\nThis is the body\r\n',
      recipients: [{ email: 'user@example.org', name: 'John' }],
    };
    const { code, output } = await runProcess('curl', [
      '--silent',
      '--header',
      'Content-Type: application/json',
      '--data',
      JSON.stringify(body),
      `http://127.0.0.1:${port}/api/inject/v1`,
    ]);
    expect([code, JSON.parse(output)]).toMatchObject([0, { success_count: 1, fail_count: 0 }]);
    expect(textOf(made.accepted[0]!)).toContain('\r\nSubject: hello John\r\n');
  });
});
