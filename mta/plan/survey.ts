/**
 * What the router makes of a domain, told to a person or to another mail server: verdict, site, and
 * the addresses of every MX host. Asks by way of the router, and so of its caches first.
 */

import type { ExplainedLimit } from '../running.ts';
import type { Route } from './route.ts';
import type { Router } from './router.ts';
import type { Shaping } from './shaping.ts';
import type { TlsPolicy } from './site.ts';

/** One MX host; `trouble` says why there are no addresses. */
export interface SurveyedHost {
  readonly host: string;
  readonly addresses: readonly string[];
  readonly trouble: string | null;
}

export interface SurveyedSite {
  readonly id: string;
  readonly alias: string;
  readonly port: number;
  readonly tls: TlsPolicy;
  /** Hosts that have TLSA records are held to them. */
  readonly dane: boolean;
}

export interface RouteSurvey {
  readonly domain: string;
  /** 'undeliverable': DNS says no, and mail is returned. 'trouble': DNS does not say; mail waits. */
  readonly verdict: 'route' | 'undeliverable' | 'trouble';
  /** The verdict in one sentence. */
  readonly text: string;
  /** RFC 3463 status of an undeliverable domain; else null. */
  readonly enhanced: string | null;
  readonly origin: Route['origin'] | null;
  /** The resolver vouched for the MX response (AD). */
  readonly authenticated: boolean;
  /** DNS has trouble, and this is what it said before. */
  readonly stale: boolean;
  /** For so long the verdict is reused without asking; 0 for trouble. */
  readonly freshForMs: number;
  readonly site: SurveyedSite | null;
  /** Of mail to the domain; empty without a site. */
  readonly limits: readonly ExplainedLimit[];
  /** MX hosts, most preferred rank first. */
  readonly ranks: readonly (readonly SurveyedHost[])[];
}

const NO_ROUTE = {
  enhanced: null,
  origin: null,
  authenticated: false,
  stale: false,
  site: null,
  limits: [],
  ranks: [],
} as const;

const ORIGIN_TEXT = {
  mx: 'to the MX hosts',
  implicit: 'to the addresses of the domain itself, for want of an MX',
  literal: 'to the address itself',
  operator: 'to the next hop that an operator chose',
} as const;

/**
 * Never rejects.
 *
 * @param domain as for Router.route()
 * @param nowMs monotonic
 */
export async function survey(
  router: Router,
  shaping: Pick<Shaping, 'explain'>,
  domain: string,
  nowMs: () => number,
): Promise<RouteSurvey> {
  const result = await router.route(domain);
  const { kind: verdict } = result;
  if (verdict === 'trouble') {
    return { ...NO_ROUTE, domain, verdict, text: `mail waits: ${result.text}`, freshForMs: 0 };
  }
  const freshForMs = Math.max(0, result.freshUntilMs - nowMs());
  if (verdict === 'undeliverable') {
    const { text, enhanced } = result;
    return { ...NO_ROUTE, domain, verdict, text, enhanced, freshForMs };
  }
  const { site, origin, authenticated } = result.route;
  const ranks = await Promise.all(
    site.ranks.map((hosts) => Promise.all(hosts.map((host) => surveyHost(router, host)))),
  );
  const { id, alias, port, tls, dane } = site;
  return {
    domain,
    verdict,
    text: `mail goes ${ORIGIN_TEXT[origin]}${result.stale ? ', as DNS had it before its trouble' : ''}`,
    enhanced: null,
    origin,
    authenticated,
    stale: result.stale,
    freshForMs,
    site: { id, alias, port, tls, dane },
    limits: shaping.explain(site, domain),
    ranks,
  };
}

async function surveyHost(router: Router, host: string): Promise<SurveyedHost> {
  const found = await router.addressesOf(host);
  switch (found.kind) {
    case 'addresses':
      return { host, addresses: found.addresses, trouble: null };
    case 'none':
      return { host, addresses: [], trouble: 'DNS knows no address of it' };
    case 'trouble':
      return { host, addresses: [], trouble: found.text };
  }
}
