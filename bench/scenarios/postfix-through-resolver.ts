/**
 * A real Postfix whose resolv.conf points at the resolver sends mail to many domains: how many DNS
 * queries does it ask, and how many of them go upstream?
 *
 *     postfix ─smtp─► smtp-sink
 *        └─dns─► postilion resolver ─► unbound ─► nsd
 */

import { Cleanup } from '../../test/support/cleanup.ts';
import { startNsd } from '../../test/support/nsd.ts';
import { SENT, startPostfixSender } from '../../test/support/postfix.ts';
import { waitFor } from '../../test/support/process.ts';
import { loopbackAddress } from '../../test/support/scratch.ts';
import { startSmtpSink } from '../../test/support/smtp-sink.ts';
import { startUnbound } from '../../test/support/unbound.ts';
import { benchMain } from '../load/command.ts';
import { CUSTOMERS_ZONE, customerLetters } from '../load/customers.ts';
import { inject } from '../load/injector.ts';
import { startPostilion } from '../load/postilion.ts';

export interface PostfixThroughResolver {
  readonly messages: number;
  readonly domains: number;
  /** What Postfix had delivered when the run ended. */
  readonly sent: number;
  readonly queriesAsked: number;
  readonly queriesPerMessage: number;
  /** By the resolver's own count. */
  readonly packetsUpstream: number;
  /** By Unbound's count: must be the same. */
  readonly queriesAtUnbound: number;
  readonly seconds: number;
}

export interface Options {
  readonly messages: number;
  readonly domains: number;
  readonly timeoutMs: number;
  readonly onProgress?: (sent: number) => void;
}

const DNS_PORT = 53;
const PROGRESS_MS = 250;

/** Of ten domains eight share one set of two MX hosts, as customers of one provider do. */
function zoneRecords(domains: number, sinkAddress: string): string[] {
  const records = [`*.mx 300 IN A ${sinkAddress}`];
  for (let domain = 0; domain < domains; domain += 1) {
    const hosts = domain % 10 < 8 ? 'shared' : `own${domain}`;
    records.push(`d${domain} 300 IN MX 10 ${hosts}-1.mx`, `d${domain} 300 IN MX 20 ${hosts}-2.mx`);
  }
  return records;
}

export async function runPostfixThroughResolver(options: Options): Promise<PostfixThroughResolver> {
  const cleanup = new Cleanup();
  try {
    const sink = cleanup.stop(await startSmtpSink(loopbackAddress()));
    const records = zoneRecords(options.domains, sink.address);
    const nsd = cleanup.stop(await startNsd([{ origin: CUSTOMERS_ZONE, records }]));
    const unbound = cleanup.stop(await startUnbound({ zones: [CUSTOMERS_ZONE], authority: nsd }));
    const dns = { address: loopbackAddress(), port: DNS_PORT };
    const resolver = cleanup.stop(
      await startPostilion({ program: 'resolver', upstream: unbound, dns }),
    );
    const postfix = cleanup.stop(
      await startPostfixSender({ nameserver: dns.address, remotePort: sink.port }),
    );
    const atUnbound = await unbound.queries();
    const startedAtMs = performance.now();
    const injection = await inject({
      ...postfix,
      sessions: 10,
      letters: customerLetters(options.messages, options.domains),
    });
    if (injection.acknowledged !== options.messages) {
      throw new Error(`Postfix took ${injection.acknowledged} of ${options.messages} messages`);
    }
    let sent = 0;
    await waitFor(
      async () => {
        sent = await postfix.count(SENT);
        options.onProgress?.(sent);
        return sent >= options.messages;
      },
      () => `Postfix to deliver ${options.messages} messages; it delivered ${sent}`,
      options.timeoutMs,
      PROGRESS_MS,
    );
    const metrics = await resolver.resolverMetrics();
    const queriesAsked = metrics.sum('postilion_dns_queries_total');
    return {
      messages: options.messages,
      domains: options.domains,
      sent,
      queriesAsked,
      queriesPerMessage: queriesAsked / options.messages,
      packetsUpstream: metrics.sum('postilion_dns_upstream_packets_total', { direction: 'sent' }),
      queriesAtUnbound: (await unbound.queries()) - atUnbound,
      seconds: (performance.now() - startedAtMs) / 1000,
    };
  } finally {
    await cleanup.run();
  }
}

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 5_000, domains: 300 },
    run: (numbers) => runPostfixThroughResolver({ ...numbers, timeoutMs: 300_000 }),
  });
}
