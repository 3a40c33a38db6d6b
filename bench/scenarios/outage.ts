/**
 * The upstream falls silent under load and returns: do names seen before keep answering, do new ones
 * fail in time and say why, and how soon is all normal again? --outage is in seconds; the answers live
 * for three, so that a short outage sees as much expire as a long one. --outage 600 is the real thing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { benchMain } from '../load/command.ts';
import { startCountingUpstream } from '../load/counting-upstream.ts';
import {
  askAll,
  CLIENT_TIMEOUT_MS,
  countOf,
  type Ended,
  percentileMs,
} from '../load/dns-client.ts';
import { startPostilion } from '../load/postilion.ts';

export interface OutageOptions {
  /** Seconds. */
  readonly outage: number;
  /** Questions a second, one in NEW_ONE_IN for a name never asked before. */
  readonly perSecond: number;
  readonly names: number;
}

export interface Outage {
  readonly knownAsked: number;
  readonly knownAnswered: number;
  readonly knownP99Ms: number;
  readonly newAsked: number;
  /** Failed with a reason. */
  readonly newFailed: number;
  readonly newUnanswered: number;
  readonly newSlowestMs: number;
  /** Packets to the dead upstream, per second. */
  readonly packetsPerSecond: number;
  /** From its return to the last question that was not answered by it. */
  readonly normalAfterMs: number;
  readonly askedAfterwards: number;
}

const TTL_SECONDS = 3;
const NEW_ONE_IN = 10;
const BEFORE_MS = 4_000;
const AFTER_MS = 6_000;
const OUTSTANDING_MAX = 20_000;
const WARM_OUTSTANDING = 200;

export async function runOutage(options: OutageOptions): Promise<Outage> {
  const cleanup = new Cleanup();
  try {
    const upstream = cleanup.stop(await startCountingUpstream(TTL_SECONDS));
    const resolver = cleanup.stop(await startPostilion({ program: 'resolver', upstream }));
    const knownName = (number: number): string => `known${number % options.names}.example`;
    await askAll({
      server: resolver.dns,
      outstandingMax: WARM_OUTSTANDING,
      nameOf: (number) => (number < options.names ? knownName(number) : null),
    });
    const totalMs = BEFORE_MS + options.outage * 1_000 + AFTER_MS;
    const total = Math.floor((totalMs / 1_000) * options.perSecond);
    const isNew = (number: number): boolean => number % NEW_ONE_IN === 0;
    const load = askAll({
      server: resolver.dns,
      outstandingMax: OUTSTANDING_MAX,
      perSecond: options.perSecond,
      nameOf: (number) => {
        if (number >= total) return null;
        return isNew(number) ? `new${number}.example` : knownName(number);
      },
    });
    await sleep(BEFORE_MS);
    await upstream.arrivals();
    upstream.setSilent(true);
    const deadAtMs = performance.now();
    await sleep(options.outage * 1_000);
    const arrivals = await upstream.arrivals();
    upstream.setSilent(false);
    const backAtMs = performance.now();
    const ended = await load;
    const askedBetween = (fromMs: number, toMs: number): Ended[] =>
      ended.filter(({ atMs, elapsedMs }) => atMs - elapsedMs >= fromMs && atMs - elapsedMs < toMs);
    // Who asks just before the return may well be answered by it.
    const during = askedBetween(deadAtMs, backAtMs - CLIENT_TIMEOUT_MS);
    const known = during.filter(({ number }) => !isNew(number));
    const fresh = during.filter(({ number }) => isNew(number));
    const after = askedBetween(backAtMs, Number.POSITIVE_INFINITY);
    const abnormal = after.filter(({ ending }) => ending !== 'answered');
    return {
      knownAsked: known.length,
      knownAnswered: countOf(known, 'stale') + countOf(known, 'answered'),
      knownP99Ms: percentileMs(known, 0.99),
      newAsked: fresh.length,
      newFailed: countOf(fresh, 'failed'),
      newUnanswered: countOf(fresh, 'unanswered') + countOf(fresh, 'unexplained'),
      newSlowestMs: percentileMs(fresh, 1),
      packetsPerSecond: arrivals.length / options.outage,
      normalAfterMs: abnormal.reduce(
        (latest, { atMs, elapsedMs }) => Math.max(latest, atMs - elapsedMs - backAtMs),
        0,
      ),
      askedAfterwards: after.length,
    };
  } finally {
    await cleanup.run();
  }
}

/** What the outcome must be. @returns what of it is not, in words */
export function outageFaults(outcome: Outage): readonly string[] {
  const faults: string[] = [];
  if (outcome.knownAnswered < outcome.knownAsked) faults.push('a name seen before went unanswered');
  if (outcome.knownP99Ms >= CLIENT_TIMEOUT_MS) faults.push('names seen before came too late');
  if (outcome.newUnanswered > 0) faults.push('a new name failed without a word');
  if (outcome.newSlowestMs >= CLIENT_TIMEOUT_MS) faults.push('new names failed too late');
  if (outcome.normalAfterMs > 3_000) faults.push('it took longer than three seconds to be normal');
  return faults;
}

if (import.meta.main) {
  await benchMain({
    defaults: { outage: 30, perSecond: 1_000, names: 2_000 },
    run: runOutage,
    failed: (outcome) => {
      const faults = outageFaults(outcome as Outage);
      for (const fault of faults) process.stderr.write(`${fault}\n`);
      return faults.length > 0;
    },
  });
}
