/**
 * What a delivery asks after the MX: addresses of the exchanges, their TLSA where the chain so far is
 * secure (RFC 7672 §2.2), and the domain's policies (RFC 8461 §3.1, RFC 8460 §3).
 */
import { formatKey, type KeyParts, parseKey } from '../cache/key.ts';
import { FLAG, NAME_OCTETS_MAX, TYPE } from '../wire/constants.ts';
import { exchangesOf } from '../wire/exchanges.ts';

export const KINDS = ['a', 'aaaa', 'tlsa', 'mta_sts', 'tls_rpt'] as const;
export type Kind = (typeof KINDS)[number];

export interface Member {
  readonly kind: Kind;
  /** Of the cache. */
  readonly key: string;
}

/** Real domains have up to a dozen; what lists more is no reason for a storm. */
const EXCHANGES_MAX = 10;

const prefix = (...labels: string[]): string =>
  labels.map((label) => String.fromCharCode(label.length) + label).join('');
const TLSA_PREFIX = prefix('_25', '_tcp');
const MTA_STS_PREFIX = prefix('_mta-sts');
const TLS_RPT_PREFIX = prefix('_smtp', '_tls');

/** All that is asked of the exchanges of an MX response, whatever it is worth. */
export const exchangeMembers = (mx: KeyParts, wire: Uint8Array): readonly Member[] =>
  exchangesOf(wire, EXCHANGES_MAX)
    .filter((exchange) => exchange.length > 1)
    .flatMap((exchange) => membersOfExchange(mx, exchange, true, true));

function membersOfExchange(
  mx: KeyParts,
  exchange: string,
  ipv6: boolean,
  isSecure: boolean,
): Member[] {
  return [
    member('a', mx, exchange, TYPE.A),
    ...(ipv6 ? [member('aaaa', mx, exchange, TYPE.AAAA)] : []),
    ...(isSecure ? [member('tlsa', mx, TLSA_PREFIX + exchange, TYPE.TLSA)] : []),
  ].filter(fits);
}

const member = (kind: Kind, mx: KeyParts, name: string, type: number): Member => ({
  kind,
  key: formatKey({ ...mx, name, type }),
});

/** A prefix may have made the name longer than names can be. */
const fits = ({ key }: Member): boolean => parseKey(key).name.length <= NAME_OCTETS_MAX;

/**
 * @param mx what was asked: its DO and CD are those of the whole bundle
 * @param wire the response; none of its MX records makes the domain its own exchange (RFC 5321 §5.1)
 * @param ipv6 whether addresses of that family are of any use
 */
export function membersOf(mx: KeyParts, wire: Uint8Array, ipv6: boolean): readonly Member[] {
  const found = exchangesOf(wire, EXCHANGES_MAX);
  const exchanges = found.length === 0 ? [mx.name] : found;
  // A null MX: there will be no delivery.
  if (exchanges.some((exchange) => exchange.length === 1)) return [];
  const isSecure = (wire[3]! & FLAG.AD) !== 0;
  return [
    ...exchanges.flatMap((exchange) => membersOfExchange(mx, exchange, ipv6, isSecure)),
    member('mta_sts', mx, MTA_STS_PREFIX + mx.name, TYPE.TXT),
    member('tls_rpt', mx, TLS_RPT_PREFIX + mx.name, TYPE.TXT),
  ].filter(fits);
}
