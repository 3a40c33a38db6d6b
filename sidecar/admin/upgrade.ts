/** Upgrades over HTTP: POST asks the supervisor for one, GET tells how the last one goes. */
import type { FastifyInstance } from 'fastify';
import type { UpgradeStatus } from '../protocol.ts';
import { AdminError } from './server.ts';

export interface Supervision {
  /** The last upgrade, or null when there was none. */
  status(): UpgradeStatus | null;
  /** Asks for one; with one under way, for nothing. */
  upgrade(): void;
}

export function addUpgradeRoutes(scope: FastifyInstance, supervision: Supervision | null): void {
  scope.get('/v1/upgrade', async () => ({ upgrade: supervision?.status() ?? null }));
  scope.post('/v1/upgrade', async (_request, reply) => {
    if (supervision === null) {
      throw new AdminError(
        409,
        'ADMIN_NOT_SUPERVISED',
        'nobody supervises this program; upgrades are for "postilion up"',
      );
    }
    supervision.upgrade();
    return reply.code(202).send({ upgrade: supervision.status() });
  });
}
