/** Mail that waits for DNS goes out when the resolver says that DNS answers again, not when its time comes. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { startSink } from '../../bench/load/sink.ts';
import type { WaitingRecipient } from '../../mta/running.ts';
import { RCODE } from '../../resolver/wire/constants.ts';
import { Cleanup } from '../support/cleanup.ts';
import { FakeUpstream, refuses } from '../support/fake-upstream.ts';
import { startProcess, waitFor } from '../support/process.ts';
import { freePort, loopbackAddress, scratchFolder } from '../support/scratch.ts';
import { zoneBehaviour } from '../support/zone-upstream.ts';

/** On a busy machine a start alone takes longer than waitFor()'s own bound. */
const PATIENCE_MS = 60_000;
const CLI = fileURLToPath(new URL('../../sidecar/cli.ts', import.meta.url));

test.each([
  ['a domain whose MX lookup failed', ['dest.example.']],
  ['a domain whose MX host could not be looked up', ['mx.dest.example.']],
])(
  '%s',
  async (_name, failing) => {
    const cleanup = new Cleanup();
    onTestFinished(() => cleanup.run());
    const [dns, admin, smtp, http] = await Promise.all(
      Array.from({ length: 4 }, async () => `127.0.0.1:${await freePort()}`),
    );
    const sinkAt = { address: loopbackAddress(), port: await freePort() };
    const arrived: number[] = [];
    const sink = await startSink({
      listen: [sinkAt],
      onMessage() {
        arrived.push(Date.now());
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const well = zoneBehaviour([
      'dest.example. 300 MX mx.dest.example.',
      `mx.dest.example. 300 A ${sinkAt.address}`,
    ]);
    let broken = true;
    const upstream = cleanup.stop(
      await FakeUpstream.start((asked) => {
        const text = Buffer.from(asked.message).toString('latin1').toLowerCase();
        const first = failing[0] === 'dest.example.' ? '\x04dest' : '\x02mx\x04dest';
        const fails = broken && text.startsWith(first, 12);
        (fails ? refuses(RCODE.SERVFAIL) : well)(asked);
      }),
    );
    const folder = await scratchFolder('recovers');
    cleanup.add(() => folder.remove());
    const config = join(folder.path, 'postilion.toml');
    writeFileSync(
      config,
      `[resolver]
listen = ["${dns}"]
upstreams = ["${upstream.endpoint.address}:${upstream.endpoint.port}"]
admin = "${admin}"
[mta]
smtp = ["${smtp}"]
http = "${http}"
spool = "${folder.path}/spool"
hostname = "mta.example.net"
[mta.delivery]
port = ${sinkAt.port}
`,
    );
    const running = cleanup.stop(
      startProcess(process.execPath, [CLI, 'up', '--config', config], { cwd: folder.path }),
    );
    await running.waitForOutput(/Ctrl-C stops/, PATIENCE_MS);
    const answer = await fetch(`http://${http}/v1/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ from: 'a@sender.example', to: ['b@dest.example'], text: 'hello' }),
    });
    const { id } = (await answer.json()) as { id: string };
    const why = async (): Promise<WaitingRecipient | undefined> => {
      const told = await fetch(`http://${http}/v1/messages/${id}`);
      const { recipients } = (await told.json()) as { recipients?: WaitingRecipient[] };
      return recipients?.[0];
    };
    await waitFor(async () => (await why())?.wait.on === 'dns', 'a wait for DNS', PATIENCE_MS);
    const { untilMs, text } = (await why())!.wait;
    expect(text).toContain(failing[0]!.replace(/\.$/, ''));
    broken = false;
    await waitFor(() => arrived.length === 1, 'the mail to arrive', PATIENCE_MS);
    // The resolver asks again after 5 s; by itself the mta would have done so after 13.5 s at least.
    expect(arrived[0]!).toBeLessThan(untilMs!);
    expect(running.output()).not.toMatch(/"level":"(?:warn|error)"/);
  },
  120_000,
);
