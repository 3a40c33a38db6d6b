/**
 * Names that never leave this machine: those of RFC 6761 that the DNS must not be asked for, the zones
 * that every resolver serves itself (RFC 6303, and the registry that grew from it), localhost.
 *
 * The reverse zones of private networks (10.in-addr.arpa and the like) are answered here only when
 * `resolver.private_reverse` says so: in a cloud network the upstream knows them. Nor is "local." ours,
 * though RFC 6762 §22.1 would have it so: many a site has its mail hosts there. A zone of
 * `resolver.forward` is never answered here.
 */
import { CLASS, FLAG, HEADER_OCTETS, RCODE, TYPE } from './wire/constants.ts';
import type { QueryView } from './wire/message.ts';
import { nameKey, textToName } from './wire/names.ts';
import { type ExtendedError, type ResponseToWrite, writeResponse } from './wire/write.ts';

const TTL_SECONDS = 10_800;

const nameOf = (text: string): Uint8Array => {
  const name = textToName(text);
  if (typeof name === 'number') throw new TypeError(`not a domain name: ${text}`);
  return name;
};

const LOCALHOST = nameOf('localhost.');
const LOOPBACK_V4 = '127.in-addr.arpa.';
const LOOPBACK_V6 = `1.${'0.'.repeat(31)}ip6.arpa.`;
/** MNAME, RNAME, then SERIAL, REFRESH, RETRY, EXPIRE, MINIMUM (RFC 6303 §3). */
const SOA_RDATA = Uint8Array.from([
  ...LOCALHOST,
  ...nameOf('nobody.invalid.'),
  ...[1, 3_600, 1_200, 604_800, TTL_SECONDS].flatMap((n) => [n >>> 24, n >>> 16, n >>> 8, n]),
]);

export interface Zone {
  readonly apex: Uint8Array;
  readonly apexKey: string;
  /** What the name at hand has of the type, or null when it does not exist. */
  readonly rdata: (key: string, type: number) => Uint8Array | null | 'nodata';
}

const localhostRdata = (_key: string, type: number): Uint8Array | 'nodata' => {
  if (type === TYPE.A) return Uint8Array.of(127, 0, 0, 1);
  if (type === TYPE.AAAA) return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
  return 'nodata';
};

const nothing = (key: string, apexKey: string): null | 'nodata' =>
  key === apexKey ? 'nodata' : null;

/** A zone in which one name points to localhost. */
function reverseZone(apex: string, host: string): Zone {
  const hostKey = keyOf(nameOf(host));
  const apexKey = keyOf(nameOf(apex));
  return {
    apex: nameOf(apex),
    apexKey,
    rdata: (key, type) => {
      if (key !== hostKey) return nothing(key, apexKey);
      return type === TYPE.PTR ? LOCALHOST : 'nodata';
    },
  };
}

function emptyZone(apex: string): Zone {
  const apexKey = keyOf(nameOf(apex));
  // RFC 6761 §6.2, §6.4: the top label does not exist either.
  return { apex: nameOf(apex), apexKey, rdata: () => null };
}

function keyOf(name: Uint8Array): string {
  const key = nameKey(name, 0);
  if (typeof key === 'number') throw new TypeError('not a domain name');
  return key;
}

/** A zone with an apex and nothing in it (RFC 6303 §3). */
function bareZone(apex: string): Zone {
  const apexKey = keyOf(nameOf(apex));
  return { apex: nameOf(apex), apexKey, rdata: (key) => nothing(key, apexKey) };
}

const NAMES: readonly Zone[] = [
  { apex: LOCALHOST, apexKey: keyOf(LOCALHOST), rdata: localhostRdata },
  emptyZone('invalid.'),
  emptyZone('test.'),
  /** RFC 7686. */
  emptyZone('onion.'),
  /** RFC 9476. */
  emptyZone('alt.'),
  /** RFC 8375, RFC 9462 §6.4, RFC 9665 §10.1. */
  ...['home.arpa.', 'resolver.arpa.', 'service.arpa.'].map(bareZone),
];

/** What is nobody's: this network, loopback, link-local, documentation, broadcast (RFC 6303 §4.2 to §4.6). */
const REVERSE: readonly Zone[] = [
  reverseZone(LOOPBACK_V4, '1.0.0.127.in-addr.arpa.'),
  reverseZone(LOOPBACK_V6, LOOPBACK_V6),
  ...['0', '254.169', '2.0.192', '100.51.198', '113.0.203', '255.255.255.255'].map((octets) =>
    bareZone(`${octets}.in-addr.arpa.`),
  ),
  bareZone(`${'0.'.repeat(32)}ip6.arpa.`),
  ...['8', '9', 'a', 'b'].map((nibble) => bareZone(`${nibble}.e.f.ip6.arpa.`)),
  bareZone('8.b.d.0.1.0.0.2.ip6.arpa.'),
];

/** RFC 1918, shared address space (RFC 7793) and unique local addresses. */
const PRIVATE_REVERSE: readonly Zone[] = [
  ...['10', '168.192'].map((octets) => bareZone(`${octets}.in-addr.arpa.`)),
  ...range(16, 31).map((octet) => bareZone(`${octet}.172.in-addr.arpa.`)),
  ...range(64, 127).map((octet) => bareZone(`${octet}.100.in-addr.arpa.`)),
  bareZone('d.f.ip6.arpa.'),
];

function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** Zones by the key of their apex. @param withPrivate those of private networks too */
export const specialZones = (withPrivate: boolean): ReadonlyMap<string, Zone> =>
  new Map(
    [...NAMES, ...REVERSE, ...(withPrivate ? PRIVATE_REVERSE : [])].map((zone) => [
      zone.apexKey,
      zone,
    ]),
  );

/** @param key of the name, which lies in the zone; @param query a class IN query, parsed into `view` */
export function answerFromZone(
  zone: Zone,
  key: string,
  query: Uint8Array,
  view: QueryView,
): Uint8Array {
  const name = query.subarray(HEADER_OCTETS, view.nameEnd);
  const found = zone.rdata(key, view.qtype);
  if (!(found instanceof Uint8Array)) return deny(zone.apex, found === null, query, view);
  return writeLocal(query, view, {
    answers: [{ name, type: view.qtype, ttlSeconds: TTL_SECONDS, rdata: found }],
  });
}

/** NXDOMAIN, or NODATA, with the SOA of a zone of ours. */
export function deny(
  apex: Uint8Array,
  isNxdomain: boolean,
  query: Uint8Array,
  view: QueryView,
  extendedError?: ExtendedError,
): Uint8Array {
  const soa = { name: apex, type: TYPE.SOA, ttlSeconds: TTL_SECONDS, rdata: SOA_RDATA };
  return writeLocal(query, view, {
    rcode: isNxdomain ? RCODE.NXDOMAIN : RCODE.NOERROR,
    authorities: [soa],
    ...(extendedError === undefined ? {} : { extendedError }),
  });
}

/** A response of our own to a class IN query. */
export function writeLocal(
  query: Uint8Array,
  view: QueryView,
  what: Pick<ResponseToWrite, 'rcode' | 'answers' | 'authorities' | 'extendedError'>,
): Uint8Array {
  return writeResponse({
    id: view.id,
    flags: FLAG.AA | FLAG.RA | (view.flags & (FLAG.RD | FLAG.CD)),
    question: {
      name: query.subarray(HEADER_OCTETS, view.nameEnd),
      type: view.qtype,
      class: CLASS.IN,
    },
    edns: view.hasEdns,
    dnssecOk: view.dnssecOk,
    ...what,
  });
}
