/**
 * Hosts without IPv6 egress have no use for AAAA: with `ipv6 = false` it is answered NODATA here, and
 * never asked upstream. A client that validates by itself must not be set up this way, since the
 * answer carries no proof.
 */
import { EXTENDED_ERROR, FLAG, HEADER_OCTETS, TYPE } from '../wire/constants.ts';
import type { QueryView } from '../wire/message.ts';
import { ROOT_NAME } from '../wire/names.ts';
import { writeResponse } from '../wire/write.ts';

const TTL_SECONDS = 3_600;
/** MNAME and RNAME the root, then SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM: it gives the denial its lifetime (RFC 2308 §5). */
const SOA_RDATA = Uint8Array.from([
  0,
  0,
  ...[1, 3_600, 1_200, 604_800, TTL_SECONDS].flatMap((n) => [n >>> 24, n >>> 16, n >>> 8, n]),
]);

/** @returns NODATA for AAAA, or null for any other type */
export function answerWithoutIpv6(query: Uint8Array, view: QueryView): Uint8Array | null {
  if (view.qtype !== TYPE.AAAA) return null;
  const name = query.subarray(HEADER_OCTETS, view.nameEnd);
  return writeResponse({
    id: view.id,
    flags: FLAG.RA | (view.flags & (FLAG.RD | FLAG.CD)),
    question: { name, type: view.qtype, class: view.qclass },
    authorities: [{ name: ROOT_NAME, type: TYPE.SOA, ttlSeconds: TTL_SECONDS, rdata: SOA_RDATA }],
    edns: view.hasEdns,
    dnssecOk: view.dnssecOk,
    extendedError: { code: EXTENDED_ERROR.FILTERED, text: 'resolver.ipv6 is false' },
  });
}
