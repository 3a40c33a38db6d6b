/** POST /v1/reload: has a program read its configuration again. */
import type { FastifyInstance } from 'fastify';
import { startFailure } from '../start-failure.ts';
import { AdminError } from './server.ts';

export interface Reloaded {
  /** Keys of settings, such as "mta.max_age". */
  readonly changed: readonly string[];
  /** `mta.max_age: "5d" → "4d"`; secrets make no line. */
  readonly difference: readonly string[];
}

/** @param reload throws what is wrong; then nothing was changed */
export function addReloadRoute(scope: FastifyInstance, reload: () => Promise<Reloaded>): void {
  scope.post('/v1/reload', async () => {
    try {
      return await reload();
    } catch (error) {
      throw new AdminError(409, 'ADMIN_RELOAD', startFailure(error));
    }
  });
}
