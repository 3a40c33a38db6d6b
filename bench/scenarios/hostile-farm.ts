/**
 * Mail to many sites at once, half of them hosts that misbehave in every way that we know, half healthy.
 * Is every recipient accounted for, and are the healthy sites slowed? Compared with a first run in which
 * the other half is healthy too and gets the same mail.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import { type AuthorityRecord, startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import { MISBEHAVIOURS, startHostilePeer } from '../load/hostile-peer.ts';
import { inject, type Letter } from '../load/injector.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { startSink } from '../load/sink.ts';

export interface HostileFarmOptions {
  readonly messages: number;
  readonly sites: number;
  readonly timeoutMs: number;
}

export interface HostileFarm {
  readonly acknowledged: number;
  readonly delivered: number;
  readonly bounced: number;
  readonly expired: number;
  readonly queued: number;
  /** acknowledged − the sum of the others: must be 0. */
  readonly unaccounted: number;
  readonly healthyDelivered: number;
  readonly healthySent: number;
  /** From the first injection to the last arrival at a healthy site. */
  readonly healthyAmongHealthySeconds: number;
  readonly healthyAmidSeconds: number;
}

const BODY = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(130));

interface Run {
  readonly acknowledged: number;
  readonly outcomes: Readonly<Record<'delivered' | 'bounced' | 'expired' | 'queued', number>>;
  readonly healthyDelivered: number;
  readonly healthySeconds: number;
}

export async function runHostileFarm(options: HostileFarmOptions): Promise<HostileFarm> {
  const among = await run(options, false);
  const amid = await run(options, true);
  const { delivered, bounced, expired, queued } = amid.outcomes;
  return {
    acknowledged: amid.acknowledged,
    delivered,
    bounced,
    expired,
    queued,
    unaccounted: amid.acknowledged - delivered - bounced - expired - queued,
    healthyDelivered: amid.healthyDelivered,
    healthySent: Math.ceil(options.messages / 2),
    healthyAmongHealthySeconds: among.healthySeconds,
    healthyAmidSeconds: amid.healthySeconds,
  };
}

const domainOf = (site: number): string => `s${site}.example`;
const isHealthy = (site: number): boolean => site % 2 === 0;

/** @param hostile whether the other half misbehaves */
async function run(
  { messages, sites, timeoutMs }: HostileFarmOptions,
  hostile: boolean,
): Promise<Run> {
  const cleanup = new Cleanup();
  try {
    const port = await freePort();
    const zones = new Map<string, readonly AuthorityRecord[]>();
    const healthy: { address: string; port: number }[] = [];
    const others: { address: string; port: number }[] = [];
    let misbehaving = 0;
    for (let site = 0; site < sites; site += 1) {
      const [domain, address] = [domainOf(site), loopbackAddress()];
      zones.set(domain, zoneOf(domain, address));
      if (isHealthy(site)) healthy.push({ address, port });
      else if (!hostile) others.push({ address, port });
      else {
        const how = MISBEHAVIOURS[misbehaving % MISBEHAVIOURS.length]!;
        misbehaving += 1;
        const peer = await startHostilePeer({ address, port }, how);
        cleanup.add(() => peer.close());
      }
    }
    const sink = await startSink({ listen: healthy });
    cleanup.add(() => sink.close());
    if (others.length > 0) {
      const other = await startSink({ listen: others });
      cleanup.add(() => other.close());
    }
    const authority = cleanup.stop(await startAuthority({ zones }));
    const mta = cleanup.stop(
      await startPostilion({
        program: 'mta',
        upstream: authority,
        mta: {
          drain: '1s',
          retry: ['5s', '10s'],
          delivery: { port, command_timeout: '5s', final_timeout: '5s', connect_timeout: '5s' },
        },
      }),
    );
    const wanted = Math.ceil(messages / 2);
    const startMs = performance.now();
    const { acknowledged } = await inject({
      ...mta.smtp,
      sessions: 8,
      letters: letters(messages, sites),
    });
    while (sink.counts.recipients < wanted && performance.now() - startMs < timeoutMs) {
      await sleep(10);
    }
    const healthySeconds = (performance.now() - startMs) / 1000;
    return {
      acknowledged,
      outcomes: await outcomesOf(mta),
      healthyDelivered: sink.counts.recipients,
      healthySeconds,
    };
  } finally {
    await cleanup.run();
  }
}

/** Read until two readings agree, so that nothing is between a counter and the queue. */
async function outcomesOf(mta: Postilion): Promise<Run['outcomes']> {
  let before = '';
  for (;;) {
    const metrics = await mta.mtaMetrics();
    const count = (outcome: string): number =>
      metrics.sum('postilion_mta_messages_total', { outcome });
    const outcomes = {
      delivered: count('delivered'),
      bounced: count('bounced'),
      expired: count('expired'),
      queued:
        metrics.sum('postilion_mta_queue_messages', { state: 'queued' }) +
        metrics.sum('postilion_mta_queue_messages', { state: 'leased' }),
    };
    const text = JSON.stringify(outcomes);
    if (text === before) return outcomes;
    before = text;
    await sleep(200);
  }
}

const zoneOf = (domain: string, address: string): AuthorityRecord[] => [
  { name: domain, type: 'MX', ttlSeconds: 3600, preference: 10, exchange: `mx.${domain}` },
  { name: `mx.${domain}`, type: 'A', ttlSeconds: 3600, address },
];

/** Site after site; with the null reverse-path, so that no bounce adds to what is counted. */
function* letters(messages: number, sites: number): Generator<Letter> {
  for (let number = 0; number < messages; number += 1) {
    const site = number % sites;
    yield {
      id: String(number),
      reversePath: '',
      recipients: [`u${number}@${domainOf(site)}`],
      content: [Buffer.from(`Subject: ${number}\r\n\r\n`), BODY],
    };
  }
}

if (import.meta.main) {
  await benchMain({
    defaults: { messages: 50_000, sites: 500 },
    run: ({ messages, sites }) => runHostileFarm({ messages, sites, timeoutMs: 300_000 }),
    failed: (outcome) => {
      const { unaccounted, healthyDelivered, healthySent } = outcome as HostileFarm;
      return unaccounted !== 0 || healthyDelivered !== healthySent;
    },
  });
}
