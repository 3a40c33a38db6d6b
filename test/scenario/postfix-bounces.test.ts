/** A real Postfix takes mail of ours, finds nobody for it, and says so to the bounce domain. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Fastify from 'fastify';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startAuthority } from '../../bench/load/authority.ts';
import { startSink } from '../../bench/load/sink.ts';
import { mtaSchema } from '../../mta/config.ts';
import { startMta } from '../../mta/main.ts';
import type { RunningMta } from '../../mta/running.ts';
import { systemClock } from '../../runtime/clock.ts';
import { silentLog } from '../../runtime/log.ts';
import { cryptoRandom } from '../../runtime/random.ts';
import { Cleanup } from '../support/cleanup.ts';
import { requirePeer } from '../support/peers.ts';
import { type Postfix, startPostfix } from '../support/postfix.ts';
import { waitFor } from '../support/process.ts';
import { freePort, scratchFolder } from '../support/scratch.ts';

const BOUNCES = 'bounces.sender.example';

requirePeer('postfix', 'root')('a Postfix that bounces later', () => {
  const cleanup = new Cleanup();
  let mta: RunningMta;
  let postfix: Postfix;
  let eventsFile: string;

  beforeAll(async () => {
    const port = await freePort();
    const folder = await scratchFolder('postfix-bounces');
    cleanup.add(() => folder.remove());
    eventsFile = join(folder.path, 'events');
    // Postfix takes what it does not know by itself; the store behind it refuses.
    const store = await startSink({ onRecipient: () => '550 5.1.1 nobody of that name here' });
    cleanup.add(() => store.close());
    postfix = cleanup.stop(
      await startPostfix({
        settings: {
          transport_maps: `inline:{ {remote.example = smtp:[127.0.0.1]:${store.endpoints[0]!.port}}, {${BOUNCES} = smtp:[127.0.0.1]:${port}} }`,
        },
      }),
    );
    const ttlSeconds = 300;
    const dns = cleanup.stop(
      await startAuthority({
        zones: new Map([
          [
            'remote.example',
            [
              {
                name: 'remote.example',
                ttlSeconds,
                type: 'MX',
                preference: 1,
                exchange: 'mx.remote.example',
              },
              { name: 'mx.remote.example', ttlSeconds, type: 'A', address: postfix.address },
            ],
          ],
        ]),
      }),
    );
    const config = mtaSchema.parse({
      smtp: [`127.0.0.1:${port}`],
      spool: join(folder.path, 'spool'),
      spool_reserve: 0,
      dns: `${dns.address}:${dns.port}`,
      hostname: 'mta.sender.example',
      events: eventsFile,
      // Postfix is a stranger to the SMTP door.
      allow: ['192.0.2.0/24'],
      users: { client: 'secret of the client' },
      delivery: { port: postfix.port },
      feedback: { domains: [BOUNCES], verp: BOUNCES, secrets: ['a secret of the tests'] },
      suppression: { enabled: true },
    });
    const deps = { clock: systemClock(), random: cryptoRandom(), log: silentLog };
    mta = cleanup.stop(await startMta(config, deps));
  });
  afterAll(() => cleanup.run());

  const inject = async () => {
    const server = Fastify();
    await server.register(mta.injection);
    const answer = await server.inject({
      method: 'POST',
      url: '/v1/messages',
      headers: {
        authorization: `Basic ${Buffer.from('client:secret of the client').toString('base64')}`,
      },
      payload: { from: 'news@sender.example', to: ['Bob@remote.example'], text: 'hello' },
    });
    await server.close();
    return { status: answer.statusCode, body: answer.json<{ id: string }>() };
  };
  const events = () =>
    readFileSync(eventsFile, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);

  test('delivery, then a report that is proven, then no more mail to that address', async () => {
    const { status, body } = await inject();
    expect(status).toBe(200);
    const report = () => events().find(({ event }) => event === 'bounce-report');
    await waitFor(() => report() !== undefined, 'the report');
    expect(events().find(({ event }) => event === 'delivery')).toMatchObject({
      id: `${body.id}.0`,
    });
    expect(report()).toMatchObject({
      id: `${body.id}.0`,
      proven: true,
      recipient: 'Bob@remote.example',
      action: 'failed',
      status: '5.1.1',
      class: 'bad-mailbox',
      reportingMta: 'postfix.example.net',
      remoteMta: '127.0.0.1',
      diagnostic: '550 5.1.1 nobody of that name here',
    });
    await waitFor(async () => (await mta.status()).messages === 0, 'an empty spool');
    expect(mta.suppressions?.of('bob@remote.example')).toMatchObject([{ cause: 'bounce-report' }]);
    expect(await inject()).toMatchObject({ status: 422, body: { error: { code: 'suppressed' } } });
    expect(events().at(-1)).toMatchObject({
      event: 'suppression',
      recipient: 'Bob@remote.example',
    });
  });
});
