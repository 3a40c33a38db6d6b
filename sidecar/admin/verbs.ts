/** HTTP of what operators do to mail that waits. Each takes dry_run, and then changes nothing. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { LABEL } from '../../mta/envelope.ts';
import { formatNextHop, parseNextHop } from '../../mta/next-hop.ts';
import {
  MESSAGE_VERBS,
  REROUTE_SCOPES,
  type Reroute,
  type RunningMta,
  SUSPENSION_SCOPES,
  type Suspension,
} from '../../mta/running.ts';
import { idSchema, mailDomainSchema } from './mta-values.ts';
import { AdminError, validated } from './server.ts';

/** Ids in one request; they fit its body. */
const IDS_MAX = 500;
const NOTE_LENGTH_MAX = 200;

const label = z.string().regex(LABEL, 'not a name of a tenant or campaign');
const dryRun = z.boolean().default(false);

/** null goes back to the MX. */
const nextHop = z.string().transform((text, context) => {
  if (text === 'mx') return null;
  const hop = parseNextHop(text);
  if (hop !== null) return formatNextHop(hop);
  context.addIssue('not a next hop; write HOST, HOST:PORT, or mx to go back to the MX');
  return z.NEVER;
});

const verbSchema = z.strictObject({ verb: z.enum(MESSAGE_VERBS) });
const selectionSchema = z
  .strictObject({
    ids: z.array(idSchema).min(1).max(IDS_MAX).optional(),
    domain: mailDomainSchema.optional(),
    tenant: label.optional(),
    campaign: label.optional(),
    note: z
      .string()
      .max(NOTE_LENGTH_MAX)
      .regex(/^\P{Cc}*$/u, 'holds a control character')
      .default(''),
    to: nextHop.optional(),
    end_rests: z.boolean().optional(),
    dry_run: dryRun,
  })
  .refine(
    ({ ids, domain, tenant, campaign }) =>
      (ids === undefined) !== ((domain ?? tenant ?? campaign) === undefined),
    'name either ids, or any of domain, tenant and campaign',
  );

const suspensionSchema = z
  .strictObject({ scope: z.enum(SUSPENSION_SCOPES), name: z.string().max(300), dry_run: dryRun })
  .refine(({ scope, name }) => scope !== 'domain' || mailDomainSchema.safeParse(name).success, {
    path: ['name'],
    message: 'not a domain',
  })
  .refine(({ scope, name }) => scope === 'domain' || scope === 'site' || LABEL.test(name), {
    path: ['name'],
    message: 'not a name of a tenant or campaign',
  })
  .transform((asked) => ({
    ...asked,
    name: asked.scope === 'domain' ? mailDomainSchema.parse(asked.name) : asked.name,
  }));

const rerouteSchema = z
  .strictObject({
    scope: z.enum(REROUTE_SCOPES),
    name: z.string().min(1).max(300),
    to: nextHop,
    dry_run: dryRun,
  })
  .refine(({ scope, name }) => scope !== 'domain' || mailDomainSchema.safeParse(name).success, {
    path: ['name'],
    message: 'not a domain',
  })
  .transform((asked) => ({
    ...asked,
    name: asked.scope === 'domain' ? mailDomainSchema.parse(asked.name) : asked.name,
  }));

const drainSchema = z.strictObject({ dry_run: dryRun });

export interface SuspensionAnswer {
  readonly dryRun: boolean;
  /** As they are after it, or would be. */
  readonly suspensions: readonly Pick<Suspension, 'scope' | 'name'>[];
}

export interface RerouteAnswer {
  readonly dryRun: boolean;
  /** As they are after it, or would be. */
  readonly reroutes: readonly Pick<Reroute, 'scope' | 'name' | 'to'>[];
}

export interface DrainAnswer {
  readonly dryRun: boolean;
  readonly draining: boolean;
  readonly messages: number;
  readonly queued: number;
  readonly leased: number;
}

export function addVerbRoutes(scope: FastifyInstance, mta: RunningMta): void {
  scope.get('/v1/messages/:id/header', async ({ params }) => {
    const { id } = validated(z.strictObject({ id: idSchema }), params);
    const shown = await mta.show(id.message);
    if (shown.recipients.length > 0) return shown;
    throw new AdminError(404, 'ADMIN_UNKNOWN_MESSAGE', 'not in the queue');
  });
  scope.post('/v1/queue/:verb', async ({ params, body }) => {
    const { verb } = validated(verbSchema, params);
    const asked = validated(selectionSchema, body ?? {});
    const { note, dry_run: dry, to, end_rests: endRests, ids, ...all } = asked;
    if ((verb === 'reroute') !== (to !== undefined)) {
      throw new AdminError(400, 'ADMIN_BAD_REQUEST', 'to: goes with reroute, and with it alone');
    }
    if (endRests !== undefined && verb !== 'retry') {
      throw new AdminError(400, 'ADMIN_BAD_REQUEST', 'end_rests: goes with retry alone');
    }
    const options = {
      dryRun: dry,
      note,
      ...(to === undefined ? {} : { to }),
      ...(endRests === undefined ? {} : { endRests }),
    };
    return mta.operate(verb, ids === undefined ? all : { ids }, options);
  });
  scope.get('/v1/suspensions', async () => ({ suspensions: (await mta.status()).suspensions }));
  scope.post('/v1/suspensions/suspend', async ({ body }) => {
    const { scope: what, name, dry_run: dry } = validated(suspensionSchema, body ?? {});
    if (!dry) mta.suspendScope(what, name);
    const others = (await currently(mta)).filter((one) => one.scope !== what || one.name !== name);
    return {
      dryRun: dry,
      suspensions: [...others, { scope: what, name }],
    } satisfies SuspensionAnswer;
  });
  scope.post('/v1/suspensions/resume', async ({ body }) => {
    const { scope: what, name, dry_run: dry } = validated(suspensionSchema, body ?? {});
    if (!dry) mta.resumeScope(what, name);
    const left = (await currently(mta)).filter((one) => one.scope !== what || one.name !== name);
    return { dryRun: dry, suspensions: left } satisfies SuspensionAnswer;
  });
  scope.get('/v1/reroutes', async () => ({ reroutes: (await mta.status()).reroutes }));
  scope.post('/v1/reroutes', async ({ body }) => {
    const { scope: what, name, to, dry_run: dry } = validated(rerouteSchema, body ?? {});
    if (!dry) mta.rerouteScope(what, name, to);
    const { reroutes } = await mta.status();
    const others = reroutes
      .filter((one) => one.scope !== what || one.name !== name)
      .map(({ scope: of, name: whose, to: where }) => ({ scope: of, name: whose, to: where }));
    return {
      dryRun: dry,
      reroutes: to === null ? others : [...others, { scope: what, name, to }],
    } satisfies RerouteAnswer;
  });
  scope.post('/v1/drain', async ({ body }) => {
    const { dry_run: dry } = validated(drainSchema, body ?? {});
    if (!dry) mta.drain();
    const { draining, messages, queued, leased } = await mta.status();
    return { dryRun: dry, draining, messages, queued, leased } satisfies DrainAnswer;
  });
}

const currently = async (mta: RunningMta): Promise<SuspensionAnswer['suspensions']> =>
  (await mta.status()).suspensions.map(({ scope, name }) => ({ scope, name }));
