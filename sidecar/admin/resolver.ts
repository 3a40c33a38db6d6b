/** HTTP of the resolver: probes, metrics, and what it knows, in JSON. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { RunningResolver } from '../../resolver/running.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import { formatEndpoint, type Network } from '../../runtime/settings.ts';
import { addResolverDashboard } from '../dashboard/of-resolver.ts';
import { VERSION } from '../version.ts';
import { streamEvents } from './event-stream.ts';
import { Figures } from './figures.ts';
import { addReloadRoute, type Reloaded } from './reload.ts';
import { createAdminServer, guarded, validated } from './server.ts';
import { requireToken } from './token.ts';
import { addUpgradeRoutes, type Supervision } from './upgrade.ts';

const DUMP_LIMIT_MAX = 10_000;
const DUMP_LIMIT_DEFAULT = 100;
const TOP_LIMIT_MAX = 1_024;
const TOP_LIMIT_DEFAULT = 20;
/** Of one request; a file is sent in several. */
const WARM_LINES_MAX = 1_000;
/** A name of 255 octets, each perhaps escaped, and a type. */
const WARM_LINE_CHARACTERS_MAX = 1_100;
const WARM_BODY_OCTETS_MAX = 1_048_576;

/** Hosts, and the underscored names of SRV, DKIM and MTA-STS; A-labels for others. */
export const domainSchema = z
  .string()
  .max(254)
  .regex(
    /^(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?$/i,
    'not a domain name; write for example "example.net", and other scripts as A-labels',
  );

const explainSchema = z.strictObject({ domain: domainSchema });

const dumpSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(DUMP_LIMIT_MAX).default(DUMP_LIMIT_DEFAULT),
});

const flushSchema = z.union(
  [
    z.strictObject({ name: domainSchema }),
    z.strictObject({ suffix: domainSchema }),
    z.strictObject({ type: z.string().regex(/^[a-z0-9]{1,16}$/i) }),
    z.strictObject({ all: z.literal(true) }),
  ],
  'write {"name": "example.net"}, {"suffix": "example.net"}, {"type": "MX"} or {"all": true}',
);

const topSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(TOP_LIMIT_MAX).default(TOP_LIMIT_DEFAULT),
  by: z.enum(['lookups', 'packets', 'failures', 'stale']).default('lookups'),
});

const warmSchema = z.strictObject({
  lines: z.array(z.string().max(WARM_LINE_CHARACTERS_MAX)).max(WARM_LINES_MAX),
});

/** What a program's admin server is handed besides the program. */
export interface AdminContext {
  readonly log: Log;
  /** See {@link AdminDeps}. */
  readonly hostnames: readonly string[];
  readonly allow: readonly Network[];
  readonly startedAtMs: number;
  readonly clock: Clock;
  /** What changes ask for; '' is nothing. */
  readonly token: string;
  /** Of this machine, or of the mta: the page's title. */
  readonly hostname: string;
  /** Reads the configuration again. */
  readonly reload: () => Promise<Reloaded>;
  /** Who can replace the program; null when nobody does. */
  readonly supervision: Supervision | null;
}

export interface ResolverAdminContext extends AdminContext {
  /** "ADDRESS:PORT" of the mta's HTTP, for the dashboard. */
  readonly mtaAdmin: string;
}

export function createResolverAdmin(
  resolver: RunningResolver,
  context: ResolverAdminContext,
): FastifyInstance {
  const server = createAdminServer({
    ...context,
    metrics: resolver.metrics,
    ready: () => resolver.ready(),
  });
  guarded(server, context.allow, (scope) => {
    requireToken(scope, context.token);
    addResolverDashboard(scope, resolver, context);
    addUpgradeRoutes(scope, context.supervision);
    scope.get('/v1/status', () => resolverStatus(resolver, context));
    scope.get('/v1/explain/:domain', async ({ params }) => {
      return resolver.explain(validated(explainSchema, params).domain);
    });
    scope.get('/v1/cache', async ({ query }) => {
      return { responses: resolver.cacheDump(validated(dumpSchema, query).limit) };
    });
    addReloadRoute(scope, context.reload);
    scope.get('/v1/top', async ({ query }) => {
      const { limit, by } = validated(topSchema, query);
      return { domains: resolver.top(limit, by) };
    });
    scope.get('/v1/events', (request, reply) => streamEvents(resolver, request, reply));
    scope.post('/v1/cache/warm', { bodyLimit: WARM_BODY_OCTETS_MAX }, async ({ body }) => {
      return resolver.warm(validated(warmSchema, body).lines);
    });
    scope.post('/v1/cache/flush', async ({ body }) => {
      return { dropped: resolver.flush(validated(flushSchema, body)) };
    });
  });
  return server;
}

export type ResolverStatus = Awaited<ReturnType<typeof resolverStatus>>;

const STATUS_METRICS = [
  'postilion_dns_queries_total',
  'postilion_dns_answers_total',
  'postilion_dns_upstream_packets_total',
  'postilion_dns_cache_bytes',
] as const;

async function resolverStatus(
  resolver: RunningResolver,
  { startedAtMs, supervision }: ResolverAdminContext,
) {
  const figures = await Figures.of(resolver.metrics, STATUS_METRICS);
  return {
    program: 'resolver' as const,
    version: VERSION,
    /** Wall milliseconds. */
    startedAtMs,
    /** The last, or null. */
    upgrade: supervision?.status() ?? null,
    /** null when ready. */
    unready: resolver.ready(),
    listen: resolver.endpoints.map(formatEndpoint),
    queries: figures.total('postilion_dns_queries_total'),
    answers: figures.by('source', 'postilion_dns_answers_total'),
    upstreamPackets: figures.by('direction', 'postilion_dns_upstream_packets_total'),
    cacheBytes: figures.total('postilion_dns_cache_bytes'),
  };
}
