/**
 * What a domain, DNS and we ourselves ask of the connections that carry the domain's mail: DANE
 * (RFC 7672), MTA-STS (RFC 8461), and the configured policy, the strictest of which holds.
 *
 * Invariants
 * - DANE counts only where the resolver vouches for MX and addresses; a host with TLSA records is held
 *   to them, whatever MTA-STS says of it (RFC 8461 §2).
 * - An enforced MTA-STS policy makes every other host prove its name, and drops those that it does not name.
 * - Where the operator says "none", nothing is asked.
 */
import type { DaneResult } from './dane.ts';
import type { HostResult } from './hosts.ts';
import type { DnsTrouble } from './route.ts';
import type { Site, TlsPolicy } from './site.ts';
import { type StsPolicy, stsNames } from './sts-policy.ts';

export interface SecurityParts {
  /** null: MTA-STS is not honoured. Never rejects. */
  readonly findPolicy: ((domain: string) => Promise<StsPolicy | null>) | null;
  /** Told of each MX host that the policy does not name, and that DANE does not speak of. */
  readonly onUnnamed?: (domain: string, host: string, policy: StsPolicy) => void;
  /**
   * Told of each MX host whose TLSA records are of no use: none of them is meant for SMTP, or the resolver
   * does not vouch for what it got.
   */
  readonly onTlsaFault?: (domain: string, host: string, fault: TlsaFault) => void;
  /** null: DANE is not honoured. */
  readonly findTlsa: ((host: string) => DaneResult | Promise<DaneResult>) | null;
  readonly findHost: (host: string) => HostResult | Promise<HostResult>;
}

export type TlsaFault = 'unusable' | 'invalid';

export interface Demand {
  readonly domain: string;
  readonly ranks: Site['ranks'];
  /** The resolver vouches for the MX RRset. */
  readonly authenticated: boolean;
  /** As configured. */
  readonly tls: TlsPolicy;
}

export type Requirements =
  | {
      readonly kind: 'requirements';
      readonly ranks: Site['ranks'];
      readonly tls: TlsPolicy;
      readonly dane: boolean;
    }
  /** No host is left that may be sent to: mail waits. */
  | DnsTrouble;

/** Never rejects. */
export async function requirementsOf(demand: Demand, parts: SecurityParts): Promise<Requirements> {
  const { domain, ranks, tls, authenticated } = demand;
  if (tls === 'none') return { kind: 'requirements', ranks, tls, dane: false };
  const [pinned, policy] = await Promise.all([
    authenticated ? pinnedHosts(domain, ranks.flat(), parts) : NOBODY,
    parts.findPolicy?.(domain) ?? null,
  ]);
  const dane = pinned.size > 0;
  if (policy?.mode !== 'enforce') return { kind: 'requirements', ranks, tls, dane };
  const isNamed = (host: string): boolean => pinned.has(host) || stsNames(policy, host);
  for (const host of ranks.flat()) {
    if (!isNamed(host)) parts.onUnnamed?.(domain, host, policy);
  }
  const named = ranks.map((rank) => rank.filter(isNamed)).filter((rank) => rank.length > 0);
  if (named.length > 0) return { kind: 'requirements', ranks: named, tls: 'verify', dane };
  const text = `the MTA-STS policy of ${domain} (RFC 8461) names none of its MX hosts, such as ${ranks[0]![0]}; it names ${policy.mx.slice(0, 3).join(', ')}`;
  return { kind: 'trouble', reachable: true, text };
}

const NOBODY: ReadonlySet<string> = new Set();

/** Hosts that DANE speaks of, or whose TLSA lookup is in trouble. */
async function pinnedHosts(
  domain: string,
  hosts: readonly string[],
  { findTlsa, findHost, onTlsaFault }: SecurityParts,
): Promise<ReadonlySet<string>> {
  if (findTlsa === null) return NOBODY;
  const pinned = new Set<string>();
  await Promise.all(
    hosts.map(async (host) => {
      const found = await findHost(host);
      if (found.kind !== 'addresses' || !found.authenticated) return;
      const tlsa = await findTlsa(host);
      if (tlsa.kind !== 'none') pinned.add(host);
      if (tlsa.kind === 'tlsa' && tlsa.usable.length === 0) onTlsaFault?.(domain, host, 'unusable');
      // A resolver that is gone says nothing of the records.
      if (tlsa.kind === 'trouble' && tlsa.reachable) onTlsaFault?.(domain, host, 'invalid');
    }),
  );
  return pinned;
}
