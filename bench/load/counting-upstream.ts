/**
 * An upstream resolver that answers everything and notes when each question came, in a thread of its
 * own at the highest priority it may have, so that what it notes is the network's doing and not that
 * of a busy client beside it.
 */
import { once } from 'node:events';
import type { Endpoint } from '../../runtime/settings.ts';
import { startThread } from '../../runtime/thread.ts';

export type Order =
  | { readonly kind: 'mode'; readonly silent: boolean }
  | { readonly kind: 'arrivals' }
  | { readonly kind: 'stop' };

export type Report =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'arrivals'; readonly atMs: Float64Array };

export interface CountingUpstream extends Endpoint {
  /** While silent it notes questions and answers none, as a host that is cut off does. */
  setSilent(silent: boolean): void;
  /** When each question came, since the start or the last call; milliseconds, ascending. */
  arrivals(): Promise<Float64Array>;
  stop(): Promise<void>;
}

const WORKER = new URL('counting-upstream-worker.ts', import.meta.url);

/** @param ttlSeconds of every answer */
export async function startCountingUpstream(ttlSeconds = 300, port = 0): Promise<CountingUpstream> {
  const worker = startThread(WORKER, { workerData: { ttlSeconds, port } });
  const next = async (): Promise<Report> => {
    const [report] = (await once(worker, 'message')) as [Report];
    return report;
  };
  const tell = (order: Order): void => worker.postMessage(order);
  const ready = await next();
  if (ready.kind !== 'ready') throw new Error('the upstream did not start');
  return {
    address: '127.0.0.1',
    port: ready.port,
    setSilent: (silent) => tell({ kind: 'mode', silent }),
    async arrivals() {
      tell({ kind: 'arrivals' });
      const report = await next();
      return report.kind === 'arrivals' ? report.atMs : new Float64Array();
    },
    async stop() {
      const exited = once(worker, 'exit');
      tell({ kind: 'stop' });
      await exited;
    },
  };
}

/** The most events in any window [t, t + 1 s). @param atMs ascending */
export function busiestSecond(atMs: Float64Array): number {
  let busiest = 0;
  let from = 0;
  for (let at = 0; at < atMs.length; at += 1) {
    while (atMs[from]! <= atMs[at]! - 1_000) from += 1;
    busiest = Math.max(busiest, at - from + 1);
  }
  return busiest;
}
