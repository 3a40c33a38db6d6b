/** The dashboard as the mta serves it. */
import type { FastifyInstance } from 'fastify';
import type { RunningMta } from '../../mta/running.ts';
import type { MtaAdminContext } from '../admin/mta.ts';
import { mailPart, OldestWaiting } from './parts.ts';
import { addDashboard } from './routes.ts';
import { Sampler } from './sampler.ts';
import { type MailSample, readMail } from './samples.ts';

export function addMtaDashboard(
  scope: FastifyInstance,
  mta: RunningMta,
  context: MtaAdminContext,
): void {
  const { clock, log, token, hostname, supervision, resolverAdmin } = context;
  const sampler = new Sampler<MailSample>({
    clock,
    log,
    // While the spool cannot be read, its trouble is told of instead.
    read: async (atMs, isCoarse) =>
      readMail(mta.metrics, atMs, isCoarse ? await mta.census().catch(() => null) : null),
  });
  scope.addHook('preClose', async () => sampler.stop());
  const oldest = new OldestWaiting(mta, clock);
  addDashboard(scope, {
    self: 'mta',
    own: { state: () => mailPart(mta, sampler, oldest), past: () => sampler.history },
    otherAddress: resolverAdmin,
    actions: token !== '',
    clock,
    hostname,
    together: supervision !== null,
  });
}
