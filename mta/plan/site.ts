/**
 * A site: what deliveries share when DNS says the same of their domains. One queue, one set of
 * limits, one pool of connections.
 *
 * Invariants
 * - Equal id ⇔ equal ranks, port, TLS policy, DANE and source. Raw MX preference numbers and the order
 *   within a rank do not matter; which rank comes first does.
 * - ranks.length >= 1, every rank has at least one host, no host is in two ranks, each rank is sorted.
 * - The alias is for people: short, and distinct only with overwhelming likelihood.
 */
import { createHash } from 'node:crypto';
import type { DeliveryConfig } from '../config.ts';

export type TlsPolicy = DeliveryConfig['tls'];

export interface Site {
  /** Canonical and injective; see {@link siteOf}. Starts with its {@link SITE_VERSION}. */
  readonly id: string;
  /** "mx1.example.net+2~k3f9": first host, number of further hosts, a check on the whole id. */
  readonly alias: string;
  /** MX hosts, most preferred rank first; names in lower case without final dot, or "[192.0.2.1]". */
  readonly ranks: readonly (readonly string[])[];
  /** TCP port of every host. */
  readonly port: number;
  readonly tls: TlsPolicy;
  /** Hosts that have TLSA records are held to them (RFC 7672); the others to `tls`. */
  readonly dane: boolean;
  /** Name of the source address pool; '' is the system's choice. */
  readonly source: string;
}

export type SiteParts = Pick<Site, 'ranks' | 'port' | 'tls' | 'source'> & {
  readonly dane?: boolean;
};

/** Raised whenever the meaning or spelling of an id changes, so that old and new never meet. */
export const SITE_VERSION = 1;

/**
 * Makes the site of a route. Hosts are put in lower case, sorted and freed of repetitions: a host
 * stays in the best rank that names it, and ranks left empty go.
 *
 * The id reads "1:25:opportunistic::mx1.example.net,mx2.example.net/mx3.example.net", and with DANE
 * "1:25:opportunistic+dane::…".
 */
export function siteOf(parts: SiteParts): Site {
  const { port, tls, source, dane = false } = parts;
  const ranks = canonicalRanks(parts.ranks);
  const hosts = ranks.map((rank) => rank.map(encode).join(',')).join('/');
  const id = `${SITE_VERSION}:${port}:${tls}${dane ? '+dane' : ''}:${encode(source)}:${hosts}`;
  return { id, alias: aliasOf(id, ranks), ranks, port, tls, dane, source };
}

function canonicalRanks(ranks: SiteParts['ranks']): string[][] {
  const seen = new Set<string>();
  const canonical: string[][] = [];
  for (const rank of ranks) {
    const hosts = rank
      .map((host) => host.toLowerCase())
      .filter((host) => !seen.has(host) && seen.add(host));
    if (hosts.length > 0) canonical.push(hosts.sort());
  }
  return canonical;
}

/** Percent-encodes everything that could be taken for a separator. Reversible, hence injective. */
const encode = (text: string): string =>
  text.replaceAll(/[^a-z0-9.\-_[\]]/g, (character) => `%${character.charCodeAt(0).toString(16)}.`);

const CHECK_CHARACTERS = 4;
const BASE32 = '0123456789abcdefghjkmnpqrstvwxyz';

function aliasOf(id: string, ranks: readonly (readonly string[])[]): string {
  const hosts = ranks.reduce((count, rank) => count + rank.length, 0);
  const more = hosts > 1 ? `+${hosts - 1}` : '';
  const digest = createHash('sha256').update(id).digest();
  let check = '';
  for (let index = 0; index < CHECK_CHARACTERS; index += 1) check += BASE32[digest[index]! % 32]!;
  return `${ranks[0]?.[0] ?? 'nowhere'}${more}~${check}`;
}
