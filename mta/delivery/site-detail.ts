/** A site as the page about it shows it; a site at rest is told from what is remembered. */
import type { Limits } from '../plan/shaping.ts';
import type { Site } from '../plan/site.ts';
import { SITE_DOMAINS_MAX, type SiteDetail, type SiteReply } from '../running.ts';
import type { Lesson } from './lessons.ts';
import type { SiteQueue } from './site-queue.ts';
import { slowness } from './tuner.ts';

interface Remembered {
  readonly limits: Limits;
  readonly replies: readonly SiteReply[];
  readonly lesson: Lesson;
}

/** @param queue null while it has no work */
export function siteDetail(
  { id, alias, ranks, port, tls, dane }: Site,
  queue: SiteQueue | null,
  { limits, replies, lesson }: Remembered,
): SiteDetail {
  return {
    id,
    alias,
    ranks,
    port,
    tls,
    dane,
    limits,
    replies,
    domains: queue?.domains ?? 0,
    domainNames: queue?.domainNames(SITE_DOMAINS_MAX) ?? [],
    buffered: queue?.buffered ?? 0,
    connections: queue?.connections ?? 0,
    hold: queue?.hold ?? null,
    allowance: queue?.allowance ?? lesson.restraint?.allowance ?? null,
    slowed: queue === null ? lesson.pause && slowness(alias, lesson.pause) : queue.slowed,
  };
}
