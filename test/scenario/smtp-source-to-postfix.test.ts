/** Postfix's smtp-source injects into the mta, Postfix's smtpd with STARTTLS is the remote MX. */
import { expect, onTestFinished, test } from 'vitest';
import { startAuthority } from '../../bench/load/authority.ts';
import { startPostilion } from '../../bench/load/postilion.ts';
import { oneHostZones } from '../../bench/load/world.ts';
import { Cleanup } from '../support/cleanup.ts';
import { requirePeer } from '../support/peers.ts';
import { DISCARDED, startPostfixReceiver } from '../support/postfix.ts';
import { runProcess, waitFor } from '../support/process.ts';
import { loopbackAddress } from '../support/scratch.ts';

const MESSAGES = 1_000;
const OCTETS = 10_240;

requirePeer(
  'postfix',
  'smtp-source',
  'root',
)('smtp-source into the mta, Postfix behind it', () => {
  test(`${MESSAGES} messages over 20 sessions are all delivered, over TLS`, async () => {
    const cleanup = new Cleanup();
    onTestFinished(() => cleanup.run());
    const postfix = cleanup.stop(await startPostfixReceiver({ address: loopbackAddress() }));
    const zones = oneHostZones(['remote.example'], postfix.address);
    const authority = cleanup.stop(await startAuthority({ zones }));
    const postilion = cleanup.stop(
      await startPostilion({
        program: 'up',
        upstream: authority,
        mta: { delivery: { port: postfix.port, tls: 'require' } },
      }),
    );

    const startedAtMs = performance.now();
    const options = `-s 20 -m ${MESSAGES} -l ${OCTETS} -f sender@client.example.net -t user@remote.example`;
    const source = await runProcess('smtp-source', [
      ...options.split(' '),
      `inet:${postilion.smtp.address}:${postilion.smtp.port}`,
    ]);
    expect(source.code, source.output).toBe(0);
    const injectedMs = performance.now() - startedAtMs;

    let delivered = 0;
    await waitFor(
      async () => {
        delivered = await postfix.count(DISCARDED);
        return delivered >= MESSAGES;
      },
      () => `${MESSAGES} messages to arrive; ${delivered} did`,
      25_000,
    );
    const totalMs = performance.now() - startedAtMs;
    expect(delivered).toBe(MESSAGES);
    const connections = await postfix.count(/TLS connection established/);
    expect(connections).toBeGreaterThan(0);
    expect(connections).toBeLessThanOrEqual(60);
    expect(await postfix.count(/smtpd\[\d+\]: warning: .*(pipelin|non-SMTP)/)).toBe(0);
    console.log(
      `${MESSAGES} injected in ${Math.round(injectedMs)} ms, delivered after ${Math.round(totalMs)} ms over ${connections} TLS connections`,
    );
  }, 60_000);
});
