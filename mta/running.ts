/**
 * What the sidecar holds of an mta that is up: data and verbs for its HTTP, no HTTP server of its own.
 * `startMta` in main.ts yields it. Instants are wall milliseconds; ids are in their public form.
 */
import type { FastifyPluginAsync } from 'fastify';
import type { Registry } from 'prom-client';
import type { Clock } from '../runtime/clock.ts';
import type { HandedSockets } from '../runtime/handed-sockets.ts';
import type { Log } from '../runtime/log.ts';
import type { Random } from '../runtime/random.ts';
import type { Endpoint, Network } from '../runtime/settings.ts';
import type { MtaConfig } from './config.ts';
import type { RecipientKey } from './envelope.ts';
import type { RouteSurvey } from './plan/survey.ts';
import type { SuppressionList } from './report/suppression/list.ts';

export type { RouteSurvey, SurveyedHost } from './plan/survey.ts';
export type { Suppressed } from './report/suppression/list.ts';

export interface MtaDeps {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Sockets that are bound already. */
  readonly sockets?: HandedSockets;
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
  /** The next hop that an operator chose for it, or null: its MX. */
  readonly nextHop: string | null;
  /** What its site may be asked, and who says so; empty while no route is known. */
  readonly limits: readonly ExplainedLimit[];
  readonly wait: Wait;
  /** What would end the wait, in one sentence. */
  readonly change: string;
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

/** Something that a host of the site said, or that became of trying it. */
export interface SiteReply {
  readonly atMs: number;
  readonly host: string;
  /** Of the recipient; null of the last message taken, whosever it was. */
  readonly domain: string | null;
  readonly outcome: 'delivered' | 'deferred' | 'bounced' | 'expired';
  readonly text: string;
}

/** The pace of a site changed, and why. */
export interface LimitChange {
  readonly atMs: number;
  /** Alias of the site. */
  readonly site: string;
  /**
   * 'slow': a longer pause between messages. 'rest': the site, or one domain, waits by rule. 'connections':
   * a host would not have one more. 'hold': no host takes mail. 'well': one does again.
   */
  readonly kind: 'slow' | 'rest' | 'connections' | 'hold' | 'well';
  readonly text: string;
}

/** A limit that is counted, and among whom: "site …", "provider google", "domain example.org". */
export interface CountedLimit {
  readonly max: number;
  readonly scope: string;
}

export interface SiteDetail extends SiteStatus {
  /** MX hosts, most preferred rank first. */
  readonly ranks: readonly (readonly string[])[];
  readonly port: number;
  readonly tls: string;
  readonly dane: boolean;
  /** Those with work now, at most {@link SITE_DOMAINS_MAX}. */
  readonly domainNames: readonly string[];
  readonly limits: {
    readonly connections: CountedLimit;
    /** null: as fast as it goes. */
    readonly messagesPerSecond: CountedLimit | null;
    readonly messagesPerConnection: number;
    readonly recipientsPerMessage: number;
    readonly retryMs: readonly number[];
  };
  /**
   * Connections that its hosts are thought to stand, with fractions; null while it has no work, unless they
   * have stood few lately.
   */
  readonly allowance: number | null;
  /** It goes slowly by rule, and why. */
  readonly slowed: Pick<Wait, 'text' | 'sinceMs'> | null;
  /** The newest first. */
  readonly replies: readonly SiteReply[];
}

/** A limit that holds for some mail. */
export interface ExplainedLimit {
  /** As in [mta.shaping]. */
  readonly name: string;
  readonly value: string;
  /** Who set it: 'mta.shaping.provider.google', 'mta.delivery, mta.retry', 'community limits of google', 'default'. */
  readonly source: string;
}

export const SITE_DOMAINS_MAX = 100;

/** Mail that waits for one site. */
export interface SiteLoad {
  /** null where no route is known. */
  readonly alias: string | null;
  readonly recipients: number;
  /** When the oldest message was accepted, wall ms. */
  readonly oldestMs: number;
  /** There is more than was counted. */
  readonly isMore: boolean;
}

export interface QueueCensus {
  /** Those with most first. */
  readonly sites: readonly SiteLoad[];
  /** The queue is longer than a census goes: some sites are not in it. */
  readonly isMore: boolean;
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
  /** What operators hold back, at most {@link STATUS_SITES_MAX}. */
  readonly suspensions: readonly Suspension[];
  /** Where operators send mail instead, at most {@link STATUS_SITES_MAX}. */
  readonly reroutes: readonly Reroute[];
  /** No mail is taken any more. */
  readonly draining: boolean;
  readonly dnsQueries: number;
  /** Sites by messages buffered, the most first, at most {@link STATUS_SITES_MAX}. */
  readonly sites: readonly SiteStatus[];
  /** Domains that DNS holds up, at most {@link STATUS_SITES_MAX}. */
  readonly heldDomains: readonly { readonly domain: string; readonly wait: Wait }[];
  /** Sentences that an operator must read now; empty when all is well. */
  readonly troubles: readonly string[];
}

/** Scopes that an operator can suspend. A site is named by id or alias. */
export const SUSPENSION_SCOPES = ['domain', 'site', 'tenant', 'campaign'] as const;
export type SuspensionScope = (typeof SUSPENSION_SCOPES)[number];

export interface Suspension {
  readonly scope: SuspensionScope;
  readonly name: string;
  readonly sinceMs: number;
}

/** Scopes whose mail an operator can send to another next hop. */
export const REROUTE_SCOPES = ['domain', 'site'] as const;
export type RerouteScope = (typeof REROUTE_SCOPES)[number];

export interface Reroute {
  readonly scope: RerouteScope;
  readonly name: string;
  /** "relay.example:2525" */
  readonly to: string;
  readonly sinceMs: number;
}

export const MESSAGE_VERBS = ['hold', 'release', 'retry', 'reroute', 'bounce', 'delete'] as const;
export type MessageVerb = (typeof MESSAGE_VERBS)[number];

/** What a verb is for: ids, or all that waits of what is named (all of it together). */
export type Selection =
  | { readonly ids: readonly { readonly message: number; readonly index: number | null }[] }
  | {
      readonly domain?: string | undefined;
      readonly tenant?: string | undefined;
      readonly campaign?: string | undefined;
    };

export interface VerbOptions {
  readonly dryRun: boolean;
  /** The operator's own words. */
  readonly note: string;
  /** For 'reroute': the next hop, "HOST[:PORT]", or null back to the MX. */
  readonly to?: string | null;
  /** For 'retry': rests that a rule imposed on sites and domains end too. */
  readonly endRests?: boolean;
}

export interface VerbReport {
  readonly verb: MessageVerb;
  readonly dryRun: boolean;
  /** Recipients that it is for. */
  readonly matched: number;
  /** Of those, in hand just now and left alone. */
  readonly busy: number;
  readonly done: number;
  /** There are more than one call may touch: call again. */
  readonly more: boolean;
  /** The first of them. */
  readonly ids: readonly string[];
}

/** A message as it waits. */
export interface ShownMessage {
  readonly recipients: readonly WaitingRecipient[];
  /** Its header, or null while all of it is in hand. */
  readonly header: string | null;
}

export interface StopBounds {
  /** For transactions under way. */
  readonly transactionsMs: number;
  /** So long a client that has sent nothing yet may begin its first message. */
  readonly lastOrdersMs: number;
}

export const STATUS_SITES_MAX = 50;

/** The list of the suppressed, for operators. */
export type SuppressionBook = Pick<SuppressionList, 'page' | 'of' | 'put' | 'remove' | 'size'>;

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
  /** Where Postfix may look up transports, or null. */
  readonly socketmap: Endpoint | null;
  /** Clients that may inject without authentication; follows {@link reload}. */
  readonly allow: readonly Network[];
  /** Series `postilion_mta_*`; counters are collected when it is read. */
  readonly metrics: Registry;
  /** The injection API, to be registered at the root of the sidecar's server. */
  readonly injection: FastifyPluginAsync;
  /** @returns null when mail can be taken and delivered, else why not, in one sentence */
  ready(): string | null;
  status(): Promise<MtaStatus>;
  /** What changed the pace of sites, the newest first; a bounded number. */
  changes(): readonly LimitChange[];
  /** Where mail waits. @throws SpoolUnavailable */
  census(): Promise<QueueCensus>;
  /** @param name id or alias. @returns null when nothing is known of it any more */
  site(name: string): SiteDetail | null;
  /** Recipients of one message still in the spool; empty when it is unknown or finished. */
  why(id: {
    readonly message: number;
    readonly index: number | null;
  }): Promise<readonly WaitingRecipient[]>;
  queue(request: QueueRequest): Promise<readonly WaitingRecipient[]>;
  /**
   * Where mail for a domain goes, asking DNS if need be.
   *
   * @param domain A-labels in lower case without final dot, or an address literal
   */
  route(domain: string): Promise<RouteSurvey>;
  /** Holds back all mail; transactions under way go on. Idempotent, as is resume(). */
  suspend(): void;
  show(message: number): Promise<ShownMessage>;
  operate(verb: MessageVerb, selection: Selection, how: VerbOptions): Promise<VerbReport>;
  /** Holds back what is named, until it is taken back; kept across restarts. Both are idempotent. */
  suspendScope(scope: SuspensionScope, name: string): void;
  resumeScope(scope: SuspensionScope, name: string): void;
  /**
   * The resolver has said that DNS answers again: mail that waits for it is tried at once.
   *
   * @param name a domain or an MX host, in any spelling; null is all
   */
  dnsRecovered(name: string | null): void;
  /**
   * All mail of what is named goes to the next hop, until it is taken back; kept across restarts. Mail
   * that waits for its next attempt goes there then.
   *
   * @param to "HOST[:PORT]", or null back to the MX; idempotent
   */
  rerouteScope(scope: RerouteScope, name: string, to: string | null): void;
  /** Addresses that get no mail; null when no list is kept. */
  readonly suppressions: SuppressionBook | null;
  /** Goes on in a file of the configured name, as after it was moved away. */
  reopenEvents(): void;
  /**
   * Takes over a configuration as a whole, or leaves all as it is. Files of certificates are read again
   * in any case.
   *
   * @returns keys that changed, such as "mta.max_age"
   * @throws ReloadRefused when a change cannot be made now, and the system's error for a file
   */
  reload(config: MtaConfig): readonly string[];
  /** Takes no more mail; delivery goes on, and status() tells what remains. Only a restart ends it. */
  drain(): void;
  resume(): void;
  /**
   * Delivers nothing more and resolves when no transaction of ours is under way, within `drain`; mail is
   * still taken. Only {@link stop} follows.
   */
  finishDelivery(): Promise<void>;
  /**
   * Takes no more mail, finishes transactions under way, closes the spool. Idempotent.
   *
   * @param bounds default: transactions get `drain`, and none begins
   */
  stop(bounds?: StopBounds): Promise<void>;
}
