/** The least that mail needs of DNS: some domains, all of whose mail one host takes. */
import type { AuthorityRecord } from './authority.ts';

const TTL_SECONDS = 300;

/** @returns zones in which every domain's MX is "mx.<first domain>" at `address` */
export function oneHostZones(
  domains: readonly string[],
  address: string,
): Map<string, readonly AuthorityRecord[]> {
  const host = `mx.${domains[0]}`;
  const records = (domain: string): AuthorityRecord[] => [
    { name: domain, type: 'MX', ttlSeconds: TTL_SECONDS, preference: 10, exchange: host },
    ...(domain === domains[0]
      ? [{ name: host, type: 'A', ttlSeconds: TTL_SECONDS, address } as const]
      : []),
  ];
  return new Map(domains.map((domain) => [domain, records(domain)]));
}

/** @returns "d0.example" to "d<count - 1>.example" */
export const numberedDomains = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `d${index}.example`);
