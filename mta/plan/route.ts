/** What DNS says of a domain: by which hosts, in which order, its mail goes (RFC 5321 §5.1). */
import type { Tlsa } from '../tlsa.ts';
import type { Site, TlsPolicy } from './site.ts';

/** Where mail for one domain goes. */
export interface Route {
  /** A-labels in lower case without final dot, or an address literal "[192.0.2.1]". */
  readonly domain: string;
  readonly site: Site;
  /** 'mx', the domain's own addresses for want of an MX (RFC 5321 §5.1), an address literal, or an operator's next hop. */
  readonly origin: 'mx' | 'implicit' | 'literal' | 'operator';
  /** The resolver vouched for the MX response with the AD bit (RFC 4035 §3.2.3). */
  readonly authenticated: boolean;
}

/** DNS decided, and says no. */
export interface Undeliverable {
  readonly kind: 'undeliverable';
  readonly code: 'null-mx' | 'no-such-domain' | 'no-address' | 'loop';
  /** RFC 3463 and RFC 7505 status, such as "5.1.10". */
  readonly enhanced: string;
  /** One line for the bounce. */
  readonly text: string;
  /** Monotonic ms until which this may be reused without asking. */
  readonly freshUntilMs: number;
}

/** DNS did not decide. Mail waits, whatever its age in attempts; it is never returned for this. */
export interface DnsTrouble {
  readonly kind: 'trouble';
  /** false when the resolver itself gave no response at all: then every domain is in trouble. */
  readonly reachable: boolean;
  /** One line for `why`, with the resolver's extended error text where it gave one. */
  readonly text: string;
  /** The name that was asked about, in lower case without final dot; absent where it was no lookup that failed. */
  readonly about?: string;
}

export type RouteResult =
  | {
      readonly kind: 'route';
      readonly route: Route;
      /** Monotonic ms until which this may be reused without asking. */
      readonly freshUntilMs: number;
      /** DNS has trouble; this is what it said before, and still good enough to deliver by. */
      readonly stale: boolean;
    }
  | Undeliverable
  | DnsTrouble;

/** One address to connect to. */
export interface Target {
  /** Name of the MX host, for SNI and certificate matching, or an address literal. */
  readonly host: string;
  readonly address: string;
  readonly port: number;
  /** Index into the site's ranks. */
  readonly rank: number;
  /** In place of the site's, where DANE asks more of this host. */
  readonly tls?: TlsPolicy | 'dane';
  /** For 'dane': what its certificate must match, one or more. */
  readonly tlsa?: readonly Tlsa[];
}

/** The next address to try, or why there is none left. */
export type NextTarget =
  | { readonly kind: 'target'; readonly target: Target }
  /** Every usable address has been handed out, or the bound on them is reached. */
  | { readonly kind: 'exhausted' }
  | Undeliverable
  | DnsTrouble;

/** One walk over a site's addresses, for one connection attempt: made by Router.itinerary(). */
export interface Itinerary {
  /** By rank; within a rank hosts in random order; looked up only when reached. */
  next(): Promise<NextTarget>;
  /**
   * This host is of no use (bad greeting, say): its other addresses are passed over.
   * @param useless default: that of the last target
   */
  skipHost(useless?: string): void;
}
