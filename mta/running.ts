/**
 * What the sidecar holds of an mta that is up: data and verbs for its HTTP, no HTTP server of its own.
 * `startMta` in main.ts yields it. Instants are wall milliseconds; ids are in their public form.
 */
import type { FastifyPluginAsync } from 'fastify';
import type { Registry } from 'prom-client';
import type { Clock } from '../runtime/clock.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { Endpoint } from '../runtime/settings.ts';
import type { RecipientKey } from './envelope.ts';

export interface MtaDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /**
   * The mta cannot go on, and says why: its process is to end, and to be started anew. What was
   * acknowledged is in the spool. By default the error is thrown where nobody catches it, which ends
   * the process.
   */
  readonly onFatal?: (error: Error) => void;
}

/** One recipient that waits, and the whole answer to "why". */
export interface WaitingRecipient {
  /** "1hzk3v8q2m0.3" */
  readonly id: string;
  readonly reversePath: string;
  readonly address: string;
  readonly domain: string;
  readonly octets: number;
  readonly receivedAtMs: number;
  readonly attempts: number;
  readonly wait: Wait;
}

/** The one thing that has to change before a recipient moves on. */
export interface Wait {
  /**
   * 'delivering', 'ready' (next for a connection), or what it waits for: 'retry', 'site', 'dns',
   * 'route', 'connection', 'memory', 'spool', 'stopping', 'operator', 'rate' (a limit of messages a second),
   * 'rule' (an automatic rest).
   */
  readonly on: string;
  /** One sentence for a person; quotes the peer or the resolver where one of them is the cause. */
  readonly text: string;
  readonly sinceMs: number;
  /** When it will be tried next, or null when an event decides. */
  readonly untilMs: number | null;
}

export interface SiteStatus {
  readonly id: string;
  readonly alias: string;
  /** Domains with work at this site now. */
  readonly domains: number;
  /** Messages leased to it. */
  readonly buffered: number;
  readonly connections: number;
  /** Why the whole site waits, or null. */
  readonly hold: Wait | null;
}

export interface MtaStatus {
  readonly hostname: string;
  readonly startedAtMs: number;
  readonly messages: number;
  readonly queued: number;
  readonly leased: number;
  readonly quarantined: number;
  /** Recipients since start, by outcome: received, delivered, deferred, bounced, expired. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly connections: number;
  /** Since when delivery is suspended, or null. */
  readonly suspendedAtMs: number | null;
  readonly dnsQueries: number;
  /** Sites by messages buffered, the most first, at most {@link STATUS_SITES_MAX}. */
  readonly sites: readonly SiteStatus[];
  /** Domains that DNS holds up, at most {@link STATUS_SITES_MAX}. */
  readonly heldDomains: readonly { readonly domain: string; readonly wait: Wait }[];
  /** Sentences that an operator must read now; empty when all is well. */
  readonly troubles: readonly string[];
}

export const STATUS_SITES_MAX = 50;

export interface QueueRequest {
  /** null lists every domain. */
  readonly domain: string | null;
  readonly after: RecipientKey | null;
  /** 1 to 1000 */
  readonly limit: number;
}

export interface RunningMta {
  /** SMTP addresses bound; a configured port 0 shows the one the system chose. */
  readonly endpoints: readonly Endpoint[];
  /** Series `postilion_mta_*`; counters are collected when it is read. */
  readonly metrics: Registry;
  /** The injection API, to be registered at the root of the sidecar's server. */
  readonly injection: FastifyPluginAsync;
  /** @returns null when mail can be taken and delivered, else why not, in one sentence */
  ready(): string | null;
  status(): Promise<MtaStatus>;
  /** Recipients of one message still in the spool; empty when it is unknown or finished. */
  why(id: {
    readonly message: number;
    readonly index: number | null;
  }): Promise<readonly WaitingRecipient[]>;
  queue(request: QueueRequest): Promise<readonly WaitingRecipient[]>;
  /** Holds back all mail; transactions under way go on. Idempotent, as is resume(). */
  suspend(): void;
  resume(): void;
  /** Takes no more mail, finishes transactions under way within `drain`, closes the spool. Idempotent. */
  stop(): Promise<void>;
}
