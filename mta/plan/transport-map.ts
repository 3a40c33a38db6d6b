/**
 * The map `route`: Postfix's transport(5) entries by which domains with the same MX hosts become one
 * next hop, hence one queue with shared connections, and need no MX lookup of Postfix's own.
 *
 * Invariants
 * - An entry is given only where there is a route, and none of its hosts is this machine. Whatever
 *   else DNS says, Postfix finds out and decides by itself: a domain is never refused, and no mail
 *   is returned, for what this map says.
 * - Nobody waits longer than WAIT_MS_MAX: trivial-rewrite(8) asks one question at a time, and all of
 *   Postfix behind it. A route that takes longer is there for the next message.
 * - Equal site at the same time ⇒ equal entry.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { HostResult } from './hosts.ts';
import type { RouteResult } from './route.ts';
import type { Router } from './router.ts';
import type { Site } from './site.ts';

/** Above a lookup that goes to an upstream and back, far below what an operator would notice. */
export const WAIT_MS_MAX = 300;
/** As many as Postfix tries by itself (smtp_mx_address_limit). */
const HOSTS_MAX = 5;
/** Hosts of a rank take turns at being first, since Postfix tries them as written (RFC 5321 §5.1). */
export const TURN_MS = 600_000;
const SMTP_PORT = 25;
/** LDH and underscores: what can be a domain, and nothing that would mean something to Postfix. */
const DOMAIN = /^(?:[a-z0-9_-]{1,63}\.)+[a-z0-9_-]{1,63}$/;
const DOMAIN_CHARACTERS_MAX = 253;

export interface TransportMapParts {
  readonly router: Router;
  readonly clock: Clock;
  /** Addresses of this machine. */
  readonly own: readonly string[];
}

export class TransportMap {
  readonly #router: Router;
  readonly #clock: Clock;
  readonly #own: ReadonlySet<string>;

  constructor({ router, clock, own }: TransportMapParts) {
    this.#router = router;
    this.#clock = clock;
    this.#own = new Set(own);
  }

  /**
   * Never rejects.
   *
   * @param key an address, as Postfix asks a socketmap, or a domain, as people do; all else, such as
   *   "*", is not known
   * @returns ":[mx1.example.net], [mx2.example.net]" (":" keeps the transport), or null
   */
  async lookUp(key: string): Promise<string | null> {
    // Before the last "@" may stand a quoted local part with others.
    const domain = key.slice(key.lastIndexOf('@') + 1).toLowerCase();
    if (domain.length > DOMAIN_CHARACTERS_MAX || !DOMAIN.test(domain)) return null;
    const result = this.#router.peek(domain) ?? (await this.#soon(this.#router.route(domain)));
    if (result === null || result.kind !== 'route') return null;
    const { site } = result.route;
    if (await this.#leadsHere(site)) return null;
    return entryOf(site, Math.floor(this.#clock.wallMs() / TURN_MS));
  }

  /** @returns null when it takes longer than WAIT_MS_MAX */
  #soon<Answer extends RouteResult | HostResult>(answer: Promise<Answer>): Promise<Answer | null> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(WAIT_MS_MAX, () => resolve(null));
      void answer.then((found) => {
        timer.cancel();
        resolve(found);
      });
    });
  }

  /** Of the best rank only; it was looked up with the route, so this asks nothing. */
  async #leadsHere({ ranks }: Site): Promise<boolean> {
    const found = await Promise.all(ranks[0]!.map((host) => this.#addressesSoon(host)));
    return found.flat().some((address) => this.#own.has(address));
  }

  async #addressesSoon(host: string): Promise<readonly string[]> {
    const found = this.#router.addressesOf(host);
    const known = 'kind' in found ? found : await this.#soon(found);
    return known?.kind === 'addresses' ? known.addresses : [];
  }
}

/** An address, such as a next hop that an operator named, has them already. */
const inBrackets = (host: string): string =>
  host.startsWith('[') ? host.replace('ipv6:', '') : `[${host}]`;

/** @param turn which host of each rank comes first, counted around */
export function entryOf({ ranks, port }: Site, turn: number): string {
  const hosts = ranks.flatMap((rank) => {
    const first = turn % rank.length;
    return [...rank.slice(first), ...rank.slice(0, first)];
  });
  const suffix = port === SMTP_PORT ? '' : `:${port}`;
  return `:${hosts
    .slice(0, HOSTS_MAX)
    .map((host) => `${inBrackets(host)}${suffix}`)
    .join(', ')}`;
}
