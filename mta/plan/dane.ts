/**
 * What DNS says of the certificates of MX hosts (DANE for SMTP, RFC 7672): each host is asked about once
 * for all the domains whose mail it takes.
 *
 * Invariants
 * - Only records that the resolver vouches for (AD) count. Whoever asks has made sure that it vouches for
 *   the MX and the addresses too (RFC 7672 §2.2).
 * - A host whose TLSA lookup is in trouble is not to be sent to: an attacker may be the trouble (§2.1.2).
 * - At most HOSTS_MAX answers are kept, each for HOST_MS_MIN to HOST_MS_MAX.
 */
import { LRUCache } from 'lru-cache';
import type { TlsaRdata } from '../../resolver/wire/rdata.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { Tlsa } from '../tlsa.ts';
import type { Dns } from './dns.ts';
import type { Lookup } from './dns-answer.ts';
import { TROUBLE_MS, troubleOf } from './hosts.ts';
import type { DnsTrouble } from './route.ts';

export type DaneResult =
  /** No DANE for this host. */
  | { readonly kind: 'none' }
  /** None usable: TLS is a must all the same, but its certificate cannot be judged (§2.2). */
  | { readonly kind: 'tlsa'; readonly usable: readonly Tlsa[] }
  | DnsTrouble;

const HOSTS_MAX = 20_000;
const HOST_MS_MIN = 60_000;
const HOST_MS_MAX = 86_400_000;
/** Records of one host that are looked at; key rollover needs a few. */
const RECORDS_MAX = 32;
const NONE: DaneResult = { kind: 'none' };

interface Entry {
  readonly result: DaneResult;
  /** Monotonic ms. */
  readonly freshUntilMs: number;
}

export class DaneHosts {
  readonly #dns: Dns;
  readonly #clock: Clock;
  readonly #entries = new LRUCache<string, Entry>({ max: HOSTS_MAX });
  readonly #underWay = new Map<string, Promise<DaneResult>>();

  constructor(dns: Dns, clock: Clock) {
    this.#dns = dns;
    this.#clock = clock;
  }

  /** @param host in lower case without final dot */
  find(host: string, port: number): DaneResult | Promise<DaneResult> {
    const name = `_${port}._tcp.${host}`;
    const entry = this.#entries.get(name);
    if (entry !== undefined && this.#clock.monotonicMs() < entry.freshUntilMs) return entry.result;
    const shared = this.#underWay.get(name);
    if (shared !== undefined) return shared;
    const lookup = this.#ask(name).finally(() => this.#underWay.delete(name));
    this.#underWay.set(name, lookup);
    return lookup;
  }

  /** Trouble with the name is over: it is asked for anew. @param name "_25._tcp.mx.example.net" */
  forgetTrouble(name: string): void {
    if (this.#entries.peek(name)?.result.kind === 'trouble') this.#entries.delete(name);
  }

  async #ask(name: string): Promise<DaneResult> {
    const lookup = await this.#dns.tlsa(name);
    const result = resultOf(name, lookup);
    const freshMs =
      lookup.kind === 'trouble'
        ? TROUBLE_MS
        : Math.min(Math.max(lookup.ttlSeconds * 1000, HOST_MS_MIN), HOST_MS_MAX);
    this.#entries.set(name, { result, freshUntilMs: this.#clock.monotonicMs() + freshMs });
    return result;
  }
}

function resultOf(name: string, lookup: Lookup<TlsaRdata>): DaneResult {
  if (lookup.kind === 'trouble') return troubleOf(`TLSA of ${name}`, lookup);
  if (lookup.kind !== 'answer' || !lookup.authenticated) return NONE;
  const usable = lookup.records.slice(0, RECORDS_MAX).flatMap(usableRecord);
  // One order for one set, so that it is one key.
  return { kind: 'tlsa', usable: usable.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)) };
}

const keyOf = ({ usage, selector, matching, data }: Tlsa): string =>
  `${usage} ${selector} ${matching} ${data}`;

/** Octets of the data, by matching type; 0 is any number but none. */
const DIGEST_OCTETS = [0, 32, 64] as const;

/** RFC 7672 §3.1.3: PKIX-TA and PKIX-EE are not for SMTP. */
function usableRecord({ usage, selector, matching, data }: TlsaRdata): Tlsa[] {
  if (usage !== 2 && usage !== 3) return [];
  if (selector !== 0 && selector !== 1) return [];
  if (matching !== 0 && matching !== 1 && matching !== 2) return [];
  const octets = DIGEST_OCTETS[matching];
  if (octets === 0 ? data.length === 0 : data.length !== octets) return [];
  return [{ usage, selector, matching, data: Buffer.from(data).toString('hex') }];
}
