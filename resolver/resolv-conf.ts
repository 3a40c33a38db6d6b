/** The name servers of resolv.conf(5), for a resolver that was told of no upstream. */
import { isIP } from 'node:net';
import { type Endpoint, formatEndpoint } from '../runtime/settings.ts';

const DNS_PORT = 53;
/** MAXNS of resolv.conf(5) is three; some write more, and more does no harm. */
const NAMESERVERS_MAX = 8;
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);

/** @returns the name servers in their order, without repeats; scoped and malformed addresses left out */
export function parseNameservers(text: string): Endpoint[] {
  const addresses = text
    .split('\n')
    .map((line) => /^\s*nameserver\s+(\S+)/.exec(line)?.[1] ?? '')
    .filter((address) => isIP(address) !== 0 && !address.includes('%'));
  return [...new Set(addresses)]
    .slice(0, NAMESERVERS_MAX)
    .map((address) => ({ address, port: DNS_PORT }));
}

/**
 * Whether asking `upstream` would be asking ourselves.
 * @param own addresses of this machine, for listeners on a wildcard
 */
export function isOurselves(
  upstream: Endpoint,
  listeners: readonly Endpoint[],
  own: ReadonlySet<string>,
): boolean {
  return listeners.some(({ address, port }) => {
    if (port !== upstream.port) return false;
    if (formatEndpoint({ address, port }) === formatEndpoint(upstream)) return true;
    return WILDCARDS.has(address) && own.has(upstream.address);
  });
}
