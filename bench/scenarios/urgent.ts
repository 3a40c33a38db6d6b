/**
 * A campaign of a million recipients is on its way, and 100 urgent messages (MT-PRIORITY 9) to the same
 * domains come after it: how long do they take, from the 250 that acknowledges them to their arrival?
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import { startAuthority } from '../load/authority.ts';
import { benchMain } from '../load/command.ts';
import { inject, type Letter } from '../load/injector.ts';
import { startPostilion } from '../load/postilion.ts';
import { startSink } from '../load/sink.ts';
import { numberedDomains, oneHostZones } from '../load/world.ts';

export interface UrgentOptions {
  readonly recipients: number;
  readonly urgent: number;
  /** Between two urgent messages. */
  readonly everyMs: number;
}

export interface Urgent {
  readonly campaignRecipients: number;
  /** Of them on their way when the first urgent message came. */
  readonly queuedBefore: number;
  /** Still queued when the last one had arrived: the campaign was there all the while. */
  readonly queuedAfter: number;
  readonly urgent: number;
  readonly arrived: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly longestMs: number;
  readonly campaignPerSecond: number;
}

const DOMAINS = 20;
/** As many as the mta takes in one message by default. */
const RECIPIENTS_PER_MESSAGE = 1000;
const ARRIVAL_MS_MAX = 30_000;

function* campaign(recipients: number, domains: readonly string[]): Generator<Letter> {
  const body = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(130));
  for (let first = 0; first < recipients; first += RECIPIENTS_PER_MESSAGE) {
    const count = Math.min(RECIPIENTS_PER_MESSAGE, recipients - first);
    yield {
      id: `c${first}`,
      reversePath: 'news@client.example.net',
      parameters: 'MT-PRIORITY=-4',
      recipients: Array.from(
        { length: count },
        (_, n) => `u${first + n}@${domains[(first + n) % domains.length]}`,
      ),
      content: [Buffer.from('Subject: news\r\n\r\n'), body],
    };
  }
}

export async function runUrgent(options: UrgentOptions): Promise<Urgent> {
  const cleanup = new Cleanup();
  try {
    const arrivedAtMs = new Map<string, number>();
    const port = await freePort();
    const address = loopbackAddress();
    const sink = await startSink({
      listen: [{ address, port }],
      header: 'x-urgent',
      onMessage({ header }) {
        if (header !== null) arrivedAtMs.set(header, performance.now());
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const domains = numberedDomains(DOMAINS);
    const authority = cleanup.stop(await startAuthority({ zones: oneHostZones(domains, address) }));
    const mta = cleanup.stop(
      await startPostilion({
        program: 'mta',
        upstream: authority,
        // One recipient a transaction, as campaigns are.
        mta: { delivery: { port, tls: 'none', recipients_per_message: 1 }, drain: '1s' },
      }),
    );
    const queued = async (): Promise<number> =>
      (await mta.mtaMetrics()).sum('postilion_mta_queue_messages');
    await inject({ ...mta.smtp, sessions: 4, letters: campaign(options.recipients, domains) });
    const queuedBefore = await queued();
    const [startMs, before] = [performance.now(), sink.counts.messages];
    const tookMs: number[] = [];
    for (let number = 0; number < options.urgent; number += 1) {
      await sleep(options.everyMs);
      await inject({ ...mta.smtp, sessions: 1, letters: [urgent(number, domains)].values() });
      const acknowledgedAtMs = performance.now();
      void waitForArrival(arrivedAtMs, String(number)).then((atMs) => {
        if (atMs !== null) tookMs.push(Math.max(0, atMs - acknowledgedAtMs));
      });
    }
    const deadlineMs = performance.now() + ARRIVAL_MS_MAX;
    while (tookMs.length < options.urgent && performance.now() < deadlineMs) await sleep(20);
    const seconds = (performance.now() - startMs) / 1000;
    const sorted = tookMs.toSorted((a, b) => a - b);
    const at = (share: number): number =>
      Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0);
    return {
      campaignRecipients: options.recipients,
      queuedBefore,
      queuedAfter: await queued(),
      urgent: options.urgent,
      arrived: tookMs.length,
      p50Ms: at(0.5),
      p99Ms: at(0.99),
      longestMs: at(1),
      campaignPerSecond: Math.round((sink.counts.messages - before) / seconds),
    };
  } finally {
    await cleanup.run();
  }
}

const urgent = (number: number, domains: readonly string[]): Letter => ({
  id: `r${number}`,
  reversePath: 'login@client.example.net',
  parameters: 'MT-PRIORITY=9',
  recipients: [`person${number}@${domains[number % domains.length]}`],
  content: [Buffer.from(`X-Urgent: ${number}\r\nSubject: your new password\r\n\r\nhere\r\n`)],
});

async function waitForArrival(
  arrivedAtMs: ReadonlyMap<string, number>,
  id: string,
): Promise<number | null> {
  const deadlineMs = performance.now() + ARRIVAL_MS_MAX;
  while (performance.now() < deadlineMs) {
    const atMs = arrivedAtMs.get(id);
    if (atMs !== undefined) return atMs;
    await sleep(5);
  }
  return null;
}

if (import.meta.main) {
  await benchMain({
    defaults: { recipients: 1_000_000, urgent: 100, every: 100 },
    run: (numbers) =>
      runUrgent({
        recipients: numbers.recipients,
        urgent: numbers.urgent,
        everyMs: numbers.every,
      }),
    failed: (outcome) => {
      const { arrived, urgent: sent, p99Ms } = outcome as Urgent;
      return arrived < sent || p99Ms >= 2000;
    },
  });
}
