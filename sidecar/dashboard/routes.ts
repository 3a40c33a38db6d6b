/** The dashboard's routes, the same at the admin address of either program. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import { AdminError, validated } from '../admin/server.ts';
import { NO_TOKEN_TEXT } from '../admin/token.ts';
import type { ProgramName } from '../protocol.ts';
import { actionSchema, orderOf } from './actions.ts';
import { addAssets } from './assets.ts';
import { find, SOUGHT_LENGTH_MAX } from './find.ts';
import { Hub, type HubDeps, type Own, SAMPLES_PATH, STATE_PATH } from './hub.ts';
import { Live, streamLive } from './live.ts';
import { NoAnswer, ownProgram, type Program, remoteProgram } from './program.ts';

export interface DashboardDeps extends Omit<HubDeps, 'other'> {
  readonly own: Own;
  /** "ADDRESS:PORT" of the other program's admin HTTP. */
  readonly otherAddress: string;
  readonly clock: Clock;
}

/** Ids name every host of a route. */
const SITE_NAME_LENGTH_MAX = 4_096;

const findSchema = z.strictObject({ q: z.string().trim().min(1).max(SOUGHT_LENGTH_MAX) });
const siteSchema = z.strictObject({ name: z.string().min(1).max(SITE_NAME_LENGTH_MAX) });

/** @param scope one that only the allowed networks reach */
export function addDashboard(scope: FastifyInstance, deps: DashboardDeps): void {
  const other = remoteProgram(deps.otherAddress);
  const own = ownProgram(scope);
  const programs: Readonly<Record<ProgramName, Program>> =
    deps.self === 'mta' ? { mta: own, resolver: other } : { mta: other, resolver: own };
  const hub = new Hub({ ...deps, other });
  const live = new Live(hub, deps.clock);
  scope.addHook('preClose', async () => live.stop());
  addAssets(scope);
  scope.get(STATE_PATH, () => deps.own.state());
  scope.get(SAMPLES_PATH, async () => ({
    fine: deps.own.past().fine,
    coarse: deps.own.past().coarse,
  }));
  scope.get('/v1/dashboard/frame', () => hub.frame());
  scope.get('/v1/dashboard/history', () => hub.history());
  scope.get('/v1/dashboard/live', (request, reply) => streamLive(live, request, reply));
  scope.get('/v1/dashboard/find', ({ query, ip }) =>
    find(validated(findSchema, query).q, programs, ip),
  );
  scope.get('/v1/dashboard/site', async ({ query, ip }, reply) => {
    const { name } = validated(siteSchema, query);
    const path = `/v1/site?name=${encodeURIComponent(name)}`;
    const { status, body } = await answered(programs.mta.ask({ path, ip }));
    return reply.code(status).send(body);
  });
  scope.post('/v1/dashboard/act', async (request, reply) => {
    if (!deps.actions) throw new AdminError(403, 'ADMIN_NO_TOKEN', NO_TOKEN_TEXT);
    const { program, path, body: order } = orderOf(validated(actionSchema, request.body));
    const question = { path, body: order, ip: request.ip, authorization: authorizationOf(request) };
    const { status, body } = await answered(programs[program].ask(question));
    return reply.code(status).send(body);
  });
}

const authorizationOf = ({ headers }: FastifyRequest): string | undefined => headers.authorization;

/** @throws AdminError 502 when the program does not answer */
async function answered<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof NoAnswer) throw new AdminError(502, error.code, error.message);
    throw error;
  }
}
