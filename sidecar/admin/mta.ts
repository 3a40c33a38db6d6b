/** HTTP of the mta: probes, metrics, injection, what waits and why in JSON, and the dashboard. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { RunningMta, WaitingRecipient } from '../../mta/running.ts';
import { addMtaDashboard } from '../dashboard/of-mta.ts';
import { VERSION } from '../version.ts';
import { idSchema, mailDomainSchema } from './mta-values.ts';
import { addReloadRoute } from './reload.ts';
import type { AdminContext } from './resolver.ts';
import { AdminError, createAdminServer, guarded, validated } from './server.ts';
import { addSiteRoute } from './site.ts';
import { addSuppressionRoutes } from './suppressions.ts';
import { requireToken } from './token.ts';
import { addUpgradeRoutes } from './upgrade.ts';
import { addVerbRoutes } from './verbs.ts';

const QUEUE_LIMIT_MAX = 1000;
const QUEUE_LIMIT_DEFAULT = 100;

const whySchema = z.strictObject({ id: idSchema });

const routeSchema = z.strictObject({ domain: mailDomainSchema });

const queueSchema = z.strictObject({
  domain: mailDomainSchema.optional(),
  after: idSchema.optional(),
  limit: z.coerce.number().int().min(1).max(QUEUE_LIMIT_MAX).default(QUEUE_LIMIT_DEFAULT),
});

export interface MtaAdminContext extends AdminContext {
  /** "ADDRESS:PORT" of the resolver's admin HTTP, for the dashboard. */
  readonly resolverAdmin: string;
}

export function createMtaAdmin(mta: RunningMta, context: MtaAdminContext): FastifyInstance {
  const server = createAdminServer({
    ...context,
    metrics: mta.metrics,
    ready: () => mta.ready(),
  });
  server.register(mta.injection);
  guarded(server, context.allow, (scope) => {
    requireToken(scope, context.token);
    addMailRoutes(scope, mta);
    addVerbRoutes(scope, mta);
    addSuppressionRoutes(scope, mta);
    addReloadRoute(scope, context.reload);
    addUpgradeRoutes(scope, context.supervision);
    addSiteRoute(scope, mta);
    addMtaDashboard(scope, mta, context);
  });
  return server;
}

function addMailRoutes(scope: FastifyInstance, mta: RunningMta): void {
  scope.get('/v1/status', async () => ({
    program: 'mta' as const,
    version: VERSION,
    unready: mta.ready(),
    ...(await mta.status()),
  }));
  scope.get('/v1/messages/:id', async ({ params }) => {
    const recipients = await mta.why(validated(whySchema, params).id);
    if (recipients.length > 0) return { recipients };
    throw new AdminError(
      404,
      'ADMIN_UNKNOWN_MESSAGE',
      'not in the queue: delivered, returned or never accepted',
    );
  });
  scope.get('/v1/queue', async ({ query }) => {
    const { domain, after, limit } = validated(queueSchema, query);
    const recipients = await mta.queue({
      domain: domain ?? null,
      after: after === undefined ? null : { message: after.message, index: after.index ?? 0 },
      limit,
    });
    return { recipients, next: recipients.length < limit ? null : recipients.at(-1)!.id };
  });
  scope.get('/v1/route/:domain', ({ params }) => {
    return mta.route(validated(routeSchema, params).domain);
  });
  scope.post('/v1/delivery/suspend', async () => {
    mta.suspend();
    return { suspended: true };
  });
  scope.post('/v1/delivery/resume', async () => {
    mta.resume();
    return { suspended: false };
  });
  scope.get('/v1/sites', async () => {
    const { sites, heldDomains } = await mta.status();
    return { sites, heldDomains };
  });
}

export interface QueuePage {
  readonly recipients: readonly WaitingRecipient[];
  /** Pass it as `after` for the next page; null when this is the last. */
  readonly next: string | null;
}
