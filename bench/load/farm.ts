/**
 * An mta and the MX hosts of its mail, one for each site: every other one healthy, with its sink and clock
 * in this process, the rest in a thread of its own, healthy too or misbehaving, each in its way.
 *
 * Invariant: the mta is stopped (SIGSTOP) except while deliver() or outcomes() runs, so that farms that take
 * turns have the machine to themselves, and each pays for its own work. Its timers go on meanwhile: what
 * falls due is done in its next turn.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import { MAIL_HEAP } from '../../runtime/heap.ts';
import { startThread } from '../../runtime/thread.ts';
import type { Cleanup } from '../../test/support/cleanup.ts';
import { freePort, loopbackAddress } from '../../test/support/scratch.ts';
import { type AuthorityRecord, startAuthority } from './authority.ts';
import { FarmArrivals } from './farm-arrivals.ts';
import type { FarmHalfSetup } from './farm-half-worker.ts';
import { inject, type Letter } from './injector.ts';
import { type Postilion, startPostilion } from './postilion.ts';
import { cpuSeconds } from './proc.ts';
import { startSink } from './sink.ts';

export interface FarmOptions {
  readonly sites: number;
  /** The other half misbehaves. */
  readonly hostile: boolean;
}

/** What a turn took, until all mail for healthy sites had arrived. */
export interface Turn {
  readonly acknowledged: number;
  readonly seconds: number;
  /** Of the mta. */
  readonly cpuSeconds: number;
  /** Of the thread that is the other half. */
  readonly othersCpuSeconds: number;
}

export interface Outcomes {
  readonly delivered: number;
  readonly bounced: number;
  readonly expired: number;
  readonly queued: number;
}

const HALF = new URL('./farm-half-worker.ts', import.meta.url);
const SESSIONS = 8;
const POLL_MS = 5;
const BODY = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(130));

export const domainOf = (site: number): string => `s${site}.example`;
export const isHealthy = (site: number): boolean => site % 2 === 0;

export class Farm {
  readonly arrivals: FarmArrivals;
  readonly #mta: Postilion;
  readonly #others: Worker;

  private constructor(mta: Postilion, others: Worker, arrivals: FarmArrivals) {
    this.#mta = mta;
    this.#others = others;
    this.arrivals = arrivals;
  }

  static async start({ sites, hostile }: FarmOptions, cleanup: Cleanup): Promise<Farm> {
    const port = await freePort();
    const addresses = distinctAddresses(sites);
    const half = (healthy: boolean) => addresses.filter((_, site) => isHealthy(site) === healthy);
    const others = await startOtherHalf({ addresses: half(false), port, hostile }, cleanup);
    const arrivals = new FarmArrivals();
    const sink = await startSink({
      listen: half(true).map((address) => ({ address, port })),
      onMessage({ recipients }) {
        for (const to of recipients) arrivals.arrived(to);
        return null;
      },
    });
    cleanup.add(() => sink.close());
    const mta = await startMta(addresses, port, cleanup);
    const farm = new Farm(mta, others, arrivals);
    cleanup.add(async () => farm.#signal('SIGCONT'));
    farm.#signal('SIGSTOP');
    return farm;
  }

  /** Injects the letters as fast as they are acknowledged. @param healthy how many are for healthy sites */
  async deliver(letters: Iterator<Letter>, healthy: number, timeoutMs: number): Promise<Turn> {
    const before = await this.#spent();
    this.#signal('SIGCONT');
    this.arrivals.begin();
    const { acknowledged } = await inject({
      ...this.#mta.smtp,
      sessions: SESSIONS,
      letters,
      onAcknowledged: (letter) => this.arrivals.acknowledged(letter),
    });
    while (this.arrivals.ofRound < healthy && this.arrivals.now * 1000 < timeoutMs) {
      await sleep(POLL_MS);
    }
    const seconds = this.arrivals.end();
    this.#signal('SIGSTOP');
    const after = await this.#spent();
    return {
      acknowledged,
      seconds,
      cpuSeconds: after.mta - before.mta,
      othersCpuSeconds: after.others - before.others,
    };
  }

  /** Read until two readings agree, so that nothing is between a counter and the queue. */
  async outcomes(): Promise<Outcomes> {
    this.#signal('SIGCONT');
    for (let before = ''; ; ) {
      const metrics = await this.#mta.mtaMetrics();
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
      if (text === before) {
        this.#signal('SIGSTOP');
        return outcomes;
      }
      before = text;
      await sleep(200);
    }
  }

  async #spent(): Promise<{ readonly mta: number; readonly others: number }> {
    const { user, system } = await this.#others.cpuUsage();
    return { mta: cpuSeconds([this.#mta.process().pid]), others: (user + system) / 1e6 };
  }

  #signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    process.kill(this.#mta.process().pid, signal);
  }
}

function distinctAddresses(count: number): string[] {
  const addresses = new Set<string>();
  while (addresses.size < count) addresses.add(loopbackAddress());
  return [...addresses];
}

async function startOtherHalf(workerData: FarmHalfSetup, cleanup: Cleanup): Promise<Worker> {
  const worker = startThread(HALF, { workerData });
  cleanup.add(() => worker.terminate());
  await once(worker, 'message');
  return worker;
}

async function startMta(
  addresses: readonly string[],
  port: number,
  cleanup: Cleanup,
): Promise<Postilion> {
  const zones = new Map(
    addresses.map((address, site) => [domainOf(site), zoneOf(domainOf(site), address)]),
  );
  const authority = cleanup.stop(await startAuthority({ zones }));
  const postilion = await startPostilion({
    program: 'mta',
    // As `up` starts it.
    startedBy: ['env', `NODE_OPTIONS=${MAIL_HEAP}`],
    upstream: authority,
    mta: {
      drain: '1s',
      retry: ['5s', '10s'],
      delivery: { port, command_timeout: '5s', final_timeout: '5s', connect_timeout: '5s' },
    },
  });
  return cleanup.stop(postilion);
}

const zoneOf = (domain: string, address: string): AuthorityRecord[] => [
  { name: domain, type: 'MX', ttlSeconds: 3600, preference: 10, exchange: `mx.${domain}` },
  { name: `mx.${domain}`, type: 'A', ttlSeconds: 3600, address },
];

/**
 * Site after site; with the null reverse-path, so that no bounce adds to what is counted.
 *
 * @param first number of the first; numbers make addresses
 */
export function* farmLetters(
  first: number,
  count: number,
  sites: readonly number[],
): Generator<Letter> {
  for (let number = first; number < first + count; number += 1) {
    yield {
      id: String(number),
      reversePath: '',
      recipients: [`u${number}@${domainOf(sites[number % sites.length]!)}`],
      content: [Buffer.from(`Subject: ${number}\r\n\r\n`), BODY],
    };
  }
}
