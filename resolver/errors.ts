/** Errors that keep the resolver from starting. Each has a stable code; nothing is recognised by its text. */
import { type Endpoint, formatEndpoint } from '../runtime/settings.ts';

export type Protocol = 'udp' | 'tcp';

/** An address of `resolver.listen` cannot be bound. */
export class ListenFailed extends Error {
  override readonly name = 'ListenFailed';
  readonly code = 'RESOLVER_LISTEN_FAILED';
  readonly endpoint: Endpoint;
  /** Code of the system, such as EADDRINUSE or EACCES. */
  readonly systemCode: string;
  /** @param holder "unbound (process 123)", or null when the system does not tell */
  constructor(endpoint: Endpoint, protocol: Protocol, systemCode: string, holder: string | null) {
    super(`${formatEndpoint(endpoint)} (${protocol}): ${explainBind(systemCode, holder)}`);
    this.endpoint = endpoint;
    this.systemCode = systemCode;
  }
}

function explainBind(systemCode: string, holder: string | null): string {
  switch (systemCode) {
    case 'EADDRINUSE':
      return `address in use by ${holder ?? 'another process'}; stop it, or set another resolver.listen`;
    case 'EACCES':
      return 'not permitted; ports below 1024 need CAP_NET_BIND_SERVICE';
    case 'EADDRNOTAVAIL':
      return 'no interface of this machine has that address';
    default:
      return systemCode;
  }
}

/** An upstream is one of our own listeners, so that queries would go round in circles. */
export class UpstreamLoop extends Error {
  override readonly name = 'UpstreamLoop';
  readonly code = 'RESOLVER_UPSTREAM_LOOP';
  constructor(endpoint: Endpoint) {
    super(
      `resolver.upstreams: ${formatEndpoint(endpoint)} is our own listener; name another server`,
    );
  }
}

/** The file of `resolver.tls_ca` cannot be read. */
export class TlsAuthoritiesUnreadable extends Error {
  override readonly name = 'TlsAuthoritiesUnreadable';
  readonly code = 'RESOLVER_TLS_CA_UNREADABLE';
  /** @param systemCode such as ENOENT */
  constructor(file: string, systemCode: string) {
    super(`resolver.tls_ca: cannot read "${file}": ${systemCode}`);
  }
}

/** Batched calls are not to be had; the portable listener serves in their place. */
export class FrontsUnavailable extends Error {
  override readonly name = 'FrontsUnavailable';
  readonly code = 'RESOLVER_FRONTS_UNAVAILABLE';
}

/** TLS is wanted, but its certificate or key cannot be read. */
export class TlsFileUnreadable extends Error {
  override readonly name = 'TlsFileUnreadable';
  readonly code = 'RESOLVER_TLS_FILE_UNREADABLE';
  constructor(setting: string, file: string, systemCode: string) {
    super(
      file === ''
        ? `resolver.${setting} is not set; listen_tls and listen_https need it`
        : `resolver.${setting}: cannot read "${file}": ${systemCode}`,
    );
  }
}
