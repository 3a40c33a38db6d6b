/**
 * What the sidecar holds of a resolver that is up: data and verbs for its admin HTTP, no HTTP.
 * `startResolver` in main.ts yields it. Ages and TTLs are whole seconds, as people read them.
 */
import type { Registry } from 'prom-client';
import type { Clock } from '../runtime/clock.ts';
import type { HandedSockets } from '../runtime/handed-sockets.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { Endpoint } from '../runtime/settings.ts';
import type { ResolverConfig } from './config.ts';
import type { EventListener } from './events.ts';
import type { LedgerLine, LedgerOrder } from './ledger.ts';

export interface ResolverDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Sockets that are bound already. */
  readonly sockets?: HandedSockets;
}

export interface RunningResolver {
  /** Addresses bound, each over UDP and TCP; a configured port 0 shows the one the system chose. */
  readonly endpoints: readonly Endpoint[];
  /** Those of `listen_tls` and `listen_https`. */
  readonly encrypted: readonly {
    readonly transport: 'tls' | 'https';
    readonly endpoint: Endpoint;
  }[];
  /** Series `postilion_dns_*`; counters are collected when it is read. */
  readonly metrics: Registry;
  /** @returns null when queries can be answered, else why not, in one sentence */
  ready(): string | null;
  upstreams(): readonly UpstreamState[];
  /** What is known of a mail domain and why; reads only, asks nothing upstream. */
  explain(domain: string): Explanation;
  /** The most recently stored first. @param limit 1 or more */
  cacheDump(limit: number): readonly CachedResponse[];
  /** @returns how many entries were dropped, remembered failures included */
  flush(scope: FlushScope): number;
  /** Domains by what they cost, the dearest first; hits of fronts are counted some seconds late. */
  top(limit: number, order: LedgerOrder): readonly LedgerLine[];
  /** Has lines "DOMAIN" or "NAME TYPE" asked for, in the lane of refreshes. */
  warm(lines: readonly string[]): WarmReport;
  /** @returns how to stop listening, or null when too many listen */
  subscribe(listener: EventListener): (() => void) | null;
  /**
   * Takes over a configuration without losing a query or the cache, or leaves all as it is.
   *
   * @returns keys that changed, such as "resolver.bundles"
   * @throws ReloadRefused when a change needs a restart
   * @throws UpstreamLoop and what else keeps upstreams from being opened
   */
  reload(config: ResolverConfig): Promise<readonly string[]>;
  /**
   * Takes no more queries from sockets that others share, and resolves when those it has are answered,
   * within the deadline of clients; then {@link stop} loses nothing.
   */
  drain(): Promise<void>;
  /** Saves the snapshot now, where there is one, so that a successor starts warm. */
  saveSnapshot(): Promise<void>;
  /** Leaves the snapshot to a successor: {@link stop} does not write it. */
  leaveSnapshot(): Promise<void>;
  /** Closes listeners and upstream sockets; no timer or socket is left. Idempotent. */
  stop(): Promise<void>;
}

export interface WarmReport {
  readonly accepted: number;
  /** Not a name, or not a type. */
  readonly malformed: number;
  /** No room left in the queue. */
  readonly refused: number;
}

export type FlushScope =
  | { readonly name: string }
  /** The name itself and everything below it. */
  | { readonly suffix: string }
  /** Mnemonic, or TYPE123. */
  | { readonly type: string }
  | { readonly all: true };

export interface CachedResponse {
  /** Presentation form, lower case, with the final dot. */
  readonly name: string;
  /** Mnemonic, or TYPE123 (RFC 3597). */
  readonly type: string;
  readonly kind: 'answer' | 'nodata' | 'nxdomain' | 'failure';
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
  readonly ageSeconds: number;
  /** Negative when it is stale. */
  readonly ttlSeconds: number;
  readonly octets: number;
  /** "192.0.2.53:53"; null where none answered. */
  readonly upstream: string | null;
  /** Answer section in presentation form, at most 20 lines. */
  readonly records: readonly string[];
}

export interface FailureMemory {
  readonly name: string;
  readonly type: string;
  /** "SERVFAIL from 192.0.2.53:53", "no upstream answered: …" */
  readonly reason: string;
  readonly ageSeconds: number;
  readonly ttlSeconds: number;
}

export interface UpstreamState {
  readonly address: string;
  readonly up: boolean;
  /** Smoothed; null before the first answer. */
  readonly rttMs: number | null;
  readonly failuresInSuccession: number;
  /** Why it is down or last failed, else null. */
  readonly lastFailure: string | null;
}

export interface Explanation {
  readonly domain: string;
  readonly cached: readonly CachedResponse[];
  readonly failures: readonly FailureMemory[];
  /** Questions of this domain that wait for an upstream or for the budget now. */
  readonly inFlight: readonly {
    readonly name: string;
    readonly type: string;
    readonly ageMs: number;
    readonly clients: number;
    /** "asked 192.0.2.53:53 twice", "waits for the budget of 900 packets/s" */
    readonly state: string;
  }[];
  /** What the domain has cost since the start; null when others cost more. */
  readonly ledger: LedgerLine | null;
  readonly upstreams: readonly UpstreamState[];
}
