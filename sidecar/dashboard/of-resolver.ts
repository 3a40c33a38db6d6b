/** The dashboard as the resolver serves it. */
import type { FastifyInstance } from 'fastify';
import type { RunningResolver } from '../../resolver/running.ts';
import type { ResolverAdminContext } from '../admin/resolver.ts';
import { dnsPart, EVENTS_MAX, type TimedEvent } from './parts.ts';
import { addDashboard } from './routes.ts';
import { Sampler } from './sampler.ts';
import { type DnsSample, readDns } from './samples.ts';

export function addResolverDashboard(
  scope: FastifyInstance,
  resolver: RunningResolver,
  context: ResolverAdminContext,
): void {
  const { clock, log, token, hostname, supervision, startedAtMs, mtaAdmin } = context;
  const sampler = new Sampler<DnsSample>({
    clock,
    log,
    read: (atMs) => readDns(resolver.metrics, atMs),
  });
  /** The newest first. */
  const events: TimedEvent[] = [];
  const unsubscribe = resolver.subscribe((event) => {
    events.unshift({ ...event, atMs: clock.wallMs() });
    if (events.length > EVENTS_MAX) events.pop();
  });
  scope.addHook('preClose', async () => {
    sampler.stop();
    unsubscribe?.();
  });
  addDashboard(scope, {
    self: 'resolver',
    own: {
      state: () => dnsPart(resolver, sampler, startedAtMs, events),
      past: () => sampler.history,
    },
    otherAddress: mtaAdmin,
    actions: token !== '',
    clock,
    hostname,
    together: supervision !== null,
  });
}
