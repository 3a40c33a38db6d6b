/**
 * A next hop that an operator names in place of what DNS says, and the routing domain of single
 * recipients that go there: "=relay.example:2525/example.net".
 *
 * Invariant: no mail domain begins with "=", so a routing domain is never taken for one.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { plainDomain } from './unguarded.ts';

export interface NextHop {
  /** A name in lower case without final dot, or an address as "[192.0.2.1]" or "[ipv6:2001:db8::1]". */
  readonly host: string;
  /** null is the port of MX hosts. */
  readonly port: number | null;
}

const MARK = '=';
const NAME =
  /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;

/**
 * @param text "relay.example", "relay.example:2525", "192.0.2.1:25", "[2001:db8::1]:25"; the host's own
 *   addresses are meant, never its MX
 * @returns null when it is none
 */
export function parseNextHop(text: string): NextHop | null {
  const [, bracketed, bare, digits] =
    /^(?:\[([^\]]*)\]|([^:[\]]+))(?::(\d{1,5}))?$/.exec(text.trim().toLowerCase()) ?? [];
  const port = digits === undefined ? null : Number(digits);
  if (port === 0 || (port ?? 0) > 65_535) return null;
  const address = bracketed?.replace(/^ipv6:/, '') ?? bare ?? '';
  const family = isIP(address);
  if (family !== 0) {
    const shortest = ipaddr.parse(address).toString();
    return { host: family === 6 ? `[ipv6:${shortest}]` : `[${shortest}]`, port };
  }
  // Postfix's brackets, "no MX lookup", are what is meant anyway.
  const name = address.replace(/\.$/, '');
  return NAME.test(name) ? { host: name, port } : null;
}

export const formatNextHop = ({ host, port }: NextHop): string =>
  port === null ? host : `${host}:${port}`;

/** What a recipient is routed by from now on. @param hop null goes back to its MX */
export function routingDomain(hop: NextHop | null, domain: string): string {
  const mailDomain = mailDomainOf(domain);
  return hop === null ? mailDomain : `${MARK}${formatNextHop(hop)}/${mailDomain}`;
}

/** The domain of the recipient's address, whatever it is routed by. */
export const mailDomainOf = (domain: string): string =>
  domain.startsWith(MARK) ? domain.slice(domain.indexOf('/') + 1) : plainDomain(domain);

/** @returns null for a mail domain */
export function nextHopOf(domain: string): NextHop | null {
  if (!domain.startsWith(MARK)) return null;
  return parseNextHop(domain.slice(MARK.length, domain.indexOf('/')));
}

/** Routing domains stand together in the order of names: after this, and while isRouted() holds. */
export const ROUTED_AFTER = MARK;
export const isRouted = (domain: string): boolean => domain.startsWith(MARK);
