/**
 * Postfix's smtp-source injects over 20 sessions into Postilion (resolver and mta); the remote MX is
 * Postfix's smtpd with STARTTLS, which throws the mail away.
 */
import { Cleanup } from '../../test/support/cleanup.ts';
import { DISCARDED, startPostfixReceiver } from '../../test/support/postfix.ts';
import { runProcess, waitFor } from '../../test/support/process.ts';
import { loopbackAddress } from '../../test/support/scratch.ts';
import { startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import { startPostilion } from '../load/postilion.ts';
import { oneHostZones } from '../load/world.ts';

export interface SmtpSourceRun {
  readonly messages: number;
  readonly delivered: number;
  readonly connections: number;
  /** Complaints of Postfix about how it is spoken to: must be 0. */
  readonly protocolWarnings: number;
  readonly injectedSeconds: number;
  readonly deliveredSeconds: number;
}

const SESSIONS = 20;
const OCTETS = 10_240;
const POLL_MS = 50;

export async function runSmtpSource(options: {
  readonly messages: number;
  readonly timeoutMs: number;
}): Promise<SmtpSourceRun> {
  const { messages, timeoutMs } = options;
  const cleanup = new Cleanup();
  try {
    const postfix = cleanup.stop(await startPostfixReceiver({ address: loopbackAddress() }));
    const zones = oneHostZones(['remote.example'], postfix.address);
    const authority = cleanup.stop(await startAuthority({ zones }));
    const delivery = { port: postfix.port, tls: 'require' };
    const postilion = cleanup.stop(
      await startPostilion({ program: 'up', upstream: authority, mta: { delivery } }),
    );

    const startedAtMs = performance.now();
    const seconds = (): number => (performance.now() - startedAtMs) / 1000;
    const args = `-s ${SESSIONS} -m ${messages} -l ${OCTETS} -f sender@client.example.net -t user@remote.example`;
    const { address, port } = postilion.smtp;
    const source = await runProcess(
      'smtp-source',
      [...args.split(' '), `inet:${address}:${port}`],
      { timeoutMs },
    );
    if (source.code !== 0) throw new Error(`smtp-source exited ${source.code}: ${source.output}`);
    const injectedSeconds = seconds();

    let delivered = 0;
    await waitFor(
      async () => {
        delivered = await postfix.count(DISCARDED);
        return delivered >= messages;
      },
      () => `${messages} messages to arrive; ${delivered} did`,
      timeoutMs,
      POLL_MS,
    );
    return {
      messages,
      delivered,
      connections: await postfix.count(/TLS connection established/),
      protocolWarnings: await postfix.count(/smtpd\[\d+\]: (warning|improper|too many errors)/),
      injectedSeconds,
      deliveredSeconds: seconds(),
    };
  } finally {
    await cleanup.run();
  }
}

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 10_000 },
    run: ({ messages }) => runSmtpSource({ messages, timeoutMs: 300_000 }),
  });
}
