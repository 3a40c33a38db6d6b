/** What happened, as plain numbers that the hot path adds to; metrics.ts gives them names. */
import { TYPE } from './wire/constants.ts';

export const TRANSPORTS = ['udp', 'tcp', 'tls', 'https'] as const;
export type Transport = (typeof TRANSPORTS)[number];

/**
 * hot: a front, from the answer table. cache, stale: kept here. coalesced: waited for the exchange of
 * another client. upstream: own exchange. local: made here. refused: not allowed or not served.
 * failure: SERVFAIL, FORMERR, NOTIMP.
 */
export const SOURCES = [
  'hot',
  'cache',
  'stale',
  'coalesced',
  'upstream',
  'local',
  'refused',
  'failure',
] as const;
export type Source = (typeof SOURCES)[number];

/**
 * short: no header. response: QR set. long: more octets than any question. backlog: the socket does
 * not take answers, or the core queries. clients: over
 * `tcp_clients` or `tcp_clients_each`. slow: its answers were not read. rate: over `rate_limit`.
 */
export const DROPS = ['short', 'response', 'long', 'backlog', 'clients', 'slow', 'rate'] as const;
export type Drop = (typeof DROPS)[number];

/** Types with a series of their own; the rest is "other", so that clients cannot make series. */
const SERIES_TYPES = [
  'A',
  'AAAA',
  'CNAME',
  'MX',
  'NS',
  'PTR',
  'SOA',
  'SRV',
  'TXT',
  'TLSA',
  'DS',
  'DNSKEY',
  'CAA',
  'HTTPS',
  'SVCB',
  'ANY',
] as const;
export const TYPE_LABELS: readonly string[] = ['other', ...SERIES_TYPES];

/** Index into TYPE_LABELS. */
export const LABEL_BY_TYPE = new Uint8Array(65_536);
for (const [index, name] of SERIES_TYPES.entries()) LABEL_BY_TYPE[TYPE[name]] = index + 1;

/** Upper bounds in seconds: a hit takes microseconds, a deadline seconds. */
export const ANSWER_SECONDS_BOUNDS: readonly number[] = [
  0.00001, 0.0001, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 4,
];

export class Counters {
  /** [transport][type label]. */
  readonly queries = TRANSPORTS.map(() => new Float64Array(TYPE_LABELS.length));
  readonly answers = zeroes(SOURCES);
  readonly drops = zeroes(DROPS);
  /** Of datagrams, each received by fronts with one system call. */
  batches = 0;
  readonly rcodes = new Float64Array(16);
  /** Not cumulative; the last is for what exceeds every bound. */
  readonly answerBuckets = new Float64Array(ANSWER_SECONDS_BOUNDS.length + 1);
  answerSecondsSum = 0;
  readonly #gatherers: ((counters: Counters) => void)[] = [];

  countQuery(transport: Transport, type: number): void {
    const labels = this.queries[TRANSPORTS.indexOf(transport)]!;
    labels[LABEL_BY_TYPE[type]!] = labels[LABEL_BY_TYPE[type]!]! + 1;
  }

  countAnswer(source: Source, rcode: number, elapsedMs: number): void {
    this.answers[source] += 1;
    this.rcodes[rcode] = this.rcodes[rcode]! + 1;
    const seconds = elapsedMs / 1000;
    this.answerSecondsSum += seconds;
    const bucket = answerBucketOf(seconds);
    this.answerBuckets[bucket] = this.answerBuckets[bucket]! + 1;
  }

  /** Whatever else counts, in threads of its own, adds here when somebody reads. */
  onRead(gather: (counters: Counters) => void): void {
    this.#gatherers.push(gather);
  }

  /** Brings the numbers up to date; cheap. */
  gather(): void {
    for (const gather of this.#gatherers) gather(this);
  }
}

/** Index into Counters.answerBuckets. */
export function answerBucketOf(seconds: number): number {
  let bucket = 0;
  while (bucket < ANSWER_SECONDS_BOUNDS.length && seconds > ANSWER_SECONDS_BOUNDS[bucket]!) {
    bucket += 1;
  }
  return bucket;
}

const zeroes = <Key extends string>(keys: readonly Key[]): Record<Key, number> =>
  Object.fromEntries(keys.map((key) => [key, 0])) as Record<Key, number>;
