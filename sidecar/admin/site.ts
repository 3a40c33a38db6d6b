/** HTTP of one site: its route, limits and last replies, and mail that waits for it. */
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import type { RunningMta, SiteDetail, WaitingRecipient } from '../../mta/running.ts';
import { AdminError, validated } from './server.ts';

/** An id names every host of a route. */
const NAME_LENGTH_MAX = 4_096;
/** Domains looked at for mail that waits, and recipients of each. */
const DOMAINS_MAX = 10;
const OF_DOMAIN_MAX = 10;

const siteSchema = z.strictObject({ name: z.string().min(1).max(NAME_LENGTH_MAX) });

export interface SiteAnswer {
  readonly site: SiteDetail;
  readonly recipients: readonly WaitingRecipient[];
}

export function addSiteRoute(scope: FastifyInstance, mta: RunningMta): void {
  scope.get('/v1/site', async ({ query }): Promise<SiteAnswer> => {
    const site = mta.site(validated(siteSchema, query).name);
    if (site === null) {
      throw new AdminError(404, 'ADMIN_UNKNOWN_SITE', 'no site of that name had work lately');
    }
    const pages = await Promise.all(
      site.domainNames
        .slice(0, DOMAINS_MAX)
        .map((domain) => mta.queue({ domain, after: null, limit: OF_DOMAIN_MAX })),
    );
    const recipients = pages.flat().sort((one, other) => one.receivedAtMs - other.receivedAtMs);
    return { site, recipients };
  });
}
