/**
 * How a server that we forward to is written, and what that says: transport, address, and the name
 * that its certificate must bear.
 *
 *     192.0.2.53, 192.0.2.53:53, [2001:db8::53]:53        UDP, and TCP where that is called for
 *     tcp://192.0.2.53:53                                 TCP alone
 *     tls://192.0.2.53:853#dns.example.net                DNS over TLS (RFC 7858)
 *     https://dns.example.net/dns-query#192.0.2.53        DNS over HTTPS (RFC 8484)
 *     https://192.0.2.53/dns-query                        certificate issued to the address
 *
 * Addresses are always given: a resolver that needed a resolver to start would not start.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../../runtime/settings.ts';

export type UpstreamTransport = 'udp' | 'tcp' | 'tls' | 'https';

export interface UpstreamAddress extends Endpoint {
  readonly transport: UpstreamTransport;
  /** As people read it: metrics label, extended errors, logs. Equal texts are the same server. */
  readonly text: string;
  /** Name or address that the certificate must bear; null without TLS. */
  readonly serverName: string | null;
  /** Of an HTTPS upstream: "/dns-query"; else null. */
  readonly path: string | null;
}

const DNS_PORT = 53;
const TLS_PORT = 853;
const HTTPS_PORT = 443;
const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*$/i;

/** A plain server, as from /etc/resolv.conf. */
export const plainUpstream = ({ address, port }: Endpoint): UpstreamAddress => ({
  address,
  port,
  transport: 'udp',
  text: formatEndpoint({ address, port }),
  serverName: null,
  path: null,
});

/** @returns what the text says, or null when it is none of the forms above */
export function parseUpstream(text: string): UpstreamAddress | null {
  const scheme = /^(tcp|tls|https):\/\/(.*)$/s.exec(text);
  if (scheme === null) {
    const endpoint = parseEndpoint(text, DNS_PORT);
    return endpoint === null || endpoint.port === 0 ? null : plainUpstream(endpoint);
  }
  const rest = scheme[2]!;
  if (scheme[1] === 'tcp') return parseTcp(rest);
  return scheme[1] === 'tls' ? parseTls(rest) : parseHttps(text);
}

function parseTcp(rest: string): UpstreamAddress | null {
  const endpoint = parseEndpoint(rest, DNS_PORT);
  if (endpoint === null || endpoint.port === 0) return null;
  const text = `tcp://${formatEndpoint(endpoint)}`;
  return { ...endpoint, transport: 'tcp', text, serverName: null, path: null };
}

function parseTls(rest: string): UpstreamAddress | null {
  const [before = '', name, ...more] = rest.split('#');
  const endpoint = parseEndpoint(before, TLS_PORT);
  if (endpoint === null || endpoint.port === 0 || more.length > 0) return null;
  if (name !== undefined && !HOST_NAME.test(name)) return null;
  const fragment = name === undefined ? '' : `#${name}`;
  return {
    ...endpoint,
    transport: 'tls',
    text: `tls://${formatEndpoint(endpoint)}${fragment}`,
    serverName: name ?? endpoint.address,
    path: null,
  };
}

function parseHttps(text: string): UpstreamAddress | null {
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '' || url.search !== '') return null;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const address = url.hash === '' ? host : url.hash.slice(1);
  const port = url.port === '' ? HTTPS_PORT : Number(url.port);
  if (isIP(address) === 0 || port === 0 || url.pathname === '/') return null;
  return { address, port, transport: 'https', text, serverName: host, path: url.pathname };
}

/** A server to forward to; yields an {@link UpstreamAddress}. */
export const upstreamAddress = () =>
  z.string().transform((text, context) => {
    const parsed = parseUpstream(text);
    if (parsed !== null) return parsed;
    context.addIssue(
      `"${text}" is not an upstream; write for example "192.0.2.53:53", "tls://192.0.2.53:853#dns.example.net" or "https://dns.example.net/dns-query#192.0.2.53"`,
    );
    return z.NEVER;
  });
