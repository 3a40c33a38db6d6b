/**
 * What the page may do, and by which route of which program: suspend, resume, retry, flush. The program
 * itself checks the token, and what is named.
 */
import { z } from 'zod';
import { SUSPENSION_SCOPES } from '../../mta/running.ts';
import type { ProgramName } from '../protocol.ts';

const NAME_LENGTH_MAX = 300;
const name = z.string().min(1).max(NAME_LENGTH_MAX);
const dryRun = z.boolean().default(false);

export const actionSchema = z.discriminatedUnion('action', [
  z.strictObject({
    action: z.enum(['suspend', 'resume']),
    scope: z.enum(SUSPENSION_SCOPES),
    name,
    dry_run: dryRun,
  }),
  z.strictObject({ action: z.enum(['suspend-all', 'resume-all']) }),
  z.strictObject({ action: z.literal('retry'), id: name, dry_run: dryRun }),
  z.strictObject({ action: z.literal('retry-domain'), domain: name, dry_run: dryRun }),
  z.strictObject({ action: z.literal('flush'), name }),
  z.strictObject({ action: z.literal('flush-all') }),
]);

export type Action = z.output<typeof actionSchema>;

export interface Order {
  readonly program: ProgramName;
  readonly path: string;
  readonly body: object;
}

export function orderOf(asked: Action): Order {
  switch (asked.action) {
    case 'suspend':
    case 'resume': {
      const { action, scope, dry_run } = asked;
      const body = { scope, name: asked.name, dry_run };
      return { program: 'mta', path: `/v1/suspensions/${action}`, body };
    }
    case 'suspend-all':
      return { program: 'mta', path: '/v1/delivery/suspend', body: {} };
    case 'resume-all':
      return { program: 'mta', path: '/v1/delivery/resume', body: {} };
    case 'retry': {
      const body = { ids: [asked.id], dry_run: asked.dry_run };
      return { program: 'mta', path: '/v1/queue/retry', body };
    }
    case 'retry-domain': {
      const body = { domain: asked.domain, dry_run: asked.dry_run };
      return { program: 'mta', path: '/v1/queue/retry', body };
    }
    case 'flush':
      return { program: 'resolver', path: '/v1/cache/flush', body: { suffix: asked.name } };
    case 'flush-all':
      return { program: 'resolver', path: '/v1/cache/flush', body: { all: true } };
  }
}
