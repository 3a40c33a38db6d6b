/**
 * A real Postfix sends mail to many domains that share few sets of MX hosts, first by itself, then with
 * its transport_maps asked of the mta: how many connections does it open, and how many DNS queries are
 * asked, the mta's own included?
 *
 * Postfix keeps connections only while mail queues up, so all of it is held until the last message is in,
 * and then let go at once: the pace of the machine decides nothing.
 *
 *     postfix ─smtp─► smtp-sink
 *        ├─dns─► postilion resolver ─► unbound ─► nsd
 *        └─socketmap─► postilion mta ─dns─┘
 */
import { Cleanup } from '../../test/support/cleanup.ts';
import { startNsd } from '../../test/support/nsd.ts';
import { SENT, startPostfixSender } from '../../test/support/postfix.ts';
import { runProcess, waitFor } from '../../test/support/process.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import { startSmtpSink } from '../../test/support/smtp-sink.ts';
import { startUnbound } from '../../test/support/unbound.ts';
import { benchMain } from '../load/command.ts';
import { CUSTOMERS_ZONE, customerLetters } from '../load/customers.ts';
import { inject } from '../load/injector.ts';
import { startPostilion } from '../load/postilion.ts';

export interface Options {
  readonly messages: number;
  readonly domains: number;
  /** Connections of Postfix to one next hop at once. */
  readonly concurrency: number;
  readonly timeoutMs: number;
}

export interface Run {
  readonly sent: number;
  readonly connections: number;
  /** Of Postfix and of the mta, at the resolver. */
  readonly queries: number;
  readonly packetsUpstream: number;
  readonly seconds: number;
}

const DNS_PORT = 53;
const PROGRESS_MS = 250;
/** Eight domains of ten are customers of one of so many providers. */
const PROVIDERS = 5;
/** Postfix logs it from the second message of a connection on. */
const ON_A_KEPT_CONNECTION = /postfix\/smtp\[\d+\]: .* conn_use=\d+, .* status=sent/;

const isShared = (domain: number): boolean => domain % 10 < 8;

/** Every provider, and every domain that has its own hosts, is at addresses of its own. */
function zoneRecords(domains: number, network: string): string[] {
  const records: string[] = [];
  const addHosts = (name: string, at: number): void => {
    for (const host of [1, 2]) {
      records.push(
        `${name}-${host}.mx 300 IN A ${network}.${Math.floor(at / 120)}.${2 * (at % 120) + host}`,
      );
    }
  };
  for (let provider = 0; provider < PROVIDERS; provider += 1)
    addHosts(`shared${provider}`, provider);
  for (let domain = 0; domain < domains; domain += 1) {
    const hosts = isShared(domain) ? `shared${domain % PROVIDERS}` : `own${domain}`;
    if (!isShared(domain)) addHosts(hosts, PROVIDERS + domain);
    records.push(`d${domain} 300 IN MX 10 ${hosts}-1.mx`, `d${domain} 300 IN MX 20 ${hosts}-2.mx`);
  }
  return records;
}

async function letGo(configFolder: string): Promise<void> {
  for (const [program, ...args] of [
    ['postsuper', '-c', configFolder, '-H', 'ALL'],
    ['postqueue', '-c', configFolder, '-f'],
  ] as const) {
    const { code, output } = await runProcess(program, args);
    if (code !== 0) throw new Error(`${program}: ${output}`);
  }
}

async function run(options: Options, asksMta: boolean): Promise<Run> {
  const cleanup = new Cleanup();
  try {
    const network = loopbackAddress().split('.').slice(0, 2).join('.');
    const sink = cleanup.stop(await startSmtpSink('0.0.0.0'));
    const records = zoneRecords(options.domains, network);
    const nsd = cleanup.stop(await startNsd([{ origin: CUSTOMERS_ZONE, records }]));
    const unbound = cleanup.stop(await startUnbound({ zones: [CUSTOMERS_ZONE], authority: nsd }));
    const dns = { address: loopbackAddress(), port: DNS_PORT };
    const socketmap = `127.0.0.1:${await freePort()}`;
    const postilion = cleanup.stop(
      await startPostilion({
        program: 'up',
        upstream: unbound,
        dns,
        mta: { socketmap, delivery: { port: sink.port } },
      }),
    );
    const postfix = cleanup.stop(
      await startPostfixSender({
        nameserver: dns.address,
        remotePort: sink.port,
        settings: {
          default_destination_concurrency_limit: String(options.concurrency),
          smtpd_client_restrictions: 'check_client_access static:HOLD',
          ...(asksMta ? { transport_maps: `socketmap:inet:${socketmap}:route` } : {}),
        },
      }),
    );
    const injection = await inject({
      ...postfix,
      sessions: 10,
      letters: customerLetters(options.messages, options.domains),
    });
    if (injection.acknowledged !== options.messages) {
      throw new Error(`Postfix took ${injection.acknowledged} of ${options.messages} messages`);
    }
    const startedAtMs = performance.now();
    await letGo(postfix.configFolder);
    let sent = 0;
    await waitFor(
      async () => {
        sent = await postfix.count(SENT);
        return sent >= options.messages;
      },
      () => `Postfix to deliver ${options.messages} messages; it delivered ${sent}`,
      options.timeoutMs,
      PROGRESS_MS,
    );
    const seconds = (performance.now() - startedAtMs) / 1000;
    const metrics = await postilion.resolverMetrics();
    return {
      sent,
      connections: sent - (await postfix.count(ON_A_KEPT_CONNECTION)),
      queries: metrics.sum('postilion_dns_queries_total'),
      packetsUpstream: metrics.sum('postilion_dns_upstream_packets_total', { direction: 'sent' }),
      seconds,
    };
  } finally {
    await cleanup.run();
  }
}

export async function runPostfixSocketmap(
  options: Options,
): Promise<{ readonly before: Run; readonly after: Run }> {
  return { before: await run(options, false), after: await run(options, true) };
}

const per1000 = (count: number, { sent }: Run): number => (1000 * count) / sent;

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 5_000, domains: 300, concurrency: 20 },
    async run(numbers) {
      const { before, after } = await runPostfixSocketmap({ ...numbers, timeoutMs: 300_000 });
      return {
        ...numbers,
        connectionsPer1000Before: per1000(before.connections, before),
        connectionsPer1000After: per1000(after.connections, after),
        queriesPer1000Before: per1000(before.queries, before),
        queriesPer1000After: per1000(after.queries, after),
        packetsUpstreamBefore: before.packetsUpstream,
        packetsUpstreamAfter: after.packetsUpstream,
        secondsBefore: before.seconds,
        secondsAfter: after.seconds,
      };
    },
  });
}
