/**
 * Names that never leave this machine (RFC 6761, RFC 6303, RFC 7686): localhost, the reverse of the
 * loopback addresses, and top labels that the DNS must not be asked for. Private reverse zones such
 * as 10.in-addr.arpa do go upstream: in a cloud network the upstream knows them.
 */
import { CLASS, FLAG, HEADER_OCTETS, RCODE, TYPE } from './wire/constants.ts';
import type { QueryView } from './wire/message.ts';
import { nameKey, textToName } from './wire/names.ts';
import { type RecordToWrite, writeResponse } from './wire/write.ts';

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

interface Zone {
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

const ZONES: readonly Zone[] = [
  { apex: LOCALHOST, apexKey: keyOf(LOCALHOST), rdata: localhostRdata },
  emptyZone('invalid.'),
  emptyZone('test.'),
  emptyZone('onion.'),
  reverseZone(LOOPBACK_V4, '1.0.0.127.in-addr.arpa.'),
  reverseZone(LOOPBACK_V6, LOOPBACK_V6),
];

/**
 * @param query a class IN query that was parsed into `view`
 * @returns the response, or null when the name is an ordinary one
 */
export function answerSpecialName(query: Uint8Array, view: QueryView): Uint8Array | null {
  const key = nameKey(query, HEADER_OCTETS);
  if (typeof key === 'number') return null;
  const zone = ZONES.find(({ apexKey }) => isWithin(key, apexKey));
  if (zone === undefined) return null;
  const name = query.subarray(HEADER_OCTETS, view.nameEnd);
  const found = zone.rdata(key, view.qtype);
  const answers: RecordToWrite[] = [];
  const authorities: RecordToWrite[] = [];
  if (found instanceof Uint8Array) {
    answers.push({ name, type: view.qtype, ttlSeconds: TTL_SECONDS, rdata: found });
  } else {
    const soa = { type: TYPE.SOA, ttlSeconds: TTL_SECONDS, rdata: SOA_RDATA };
    authorities.push({ name: zone.apex, ...soa });
  }
  return writeResponse({
    id: view.id,
    flags: FLAG.AA | FLAG.RA | (view.flags & (FLAG.RD | FLAG.CD)),
    rcode: found === null ? RCODE.NXDOMAIN : RCODE.NOERROR,
    question: { name, type: view.qtype, class: CLASS.IN },
    answers,
    authorities,
    edns: view.hasEdns,
    dnssecOk: view.dnssecOk,
  });
}

/** Whether the name is the apex or below it, label by label. */
function isWithin(key: string, apexKey: string): boolean {
  if (!key.endsWith(apexKey)) return false;
  const start = key.length - apexKey.length;
  let at = 0;
  while (at < start) at += 1 + key.charCodeAt(at);
  return at === start;
}
