/**
 * The numbers of the DNS protocol: types, classes, codes, flags and limits, each with its source.
 * Nothing here allocates at run time except {@link typeName} and its kin, which are for people.
 */

/** RR types this project speaks of (IANA "DNS Parameters"). Others pass through as numbers. */
export const TYPE = {
  A: 1,
  NS: 2,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  HINFO: 13,
  MX: 15,
  TXT: 16,
  RP: 17,
  AFSDB: 18,
  SIG: 24,
  KEY: 25,
  AAAA: 28,
  LOC: 29,
  SRV: 33,
  NAPTR: 35,
  CERT: 37,
  DNAME: 39,
  OPT: 41,
  DS: 43,
  SSHFP: 44,
  RRSIG: 46,
  NSEC: 47,
  DNSKEY: 48,
  NSEC3: 50,
  NSEC3PARAM: 51,
  TLSA: 52,
  SMIMEA: 53,
  CDS: 59,
  CDNSKEY: 60,
  OPENPGPKEY: 61,
  CSYNC: 62,
  SVCB: 64,
  HTTPS: 65,
  SPF: 99,
  TSIG: 250,
  IXFR: 251,
  AXFR: 252,
  ANY: 255,
  URI: 256,
  CAA: 257,
} as const;

export const CLASS = { IN: 1, CH: 3, HS: 4, NONE: 254, ANY: 255 } as const;

export const OPCODE = { QUERY: 0, IQUERY: 1, STATUS: 2, NOTIFY: 4, UPDATE: 5, DSO: 6 } as const;

/** Response codes; those above 15 need an OPT record for their upper eight bits (RFC 6891 §6.1.3). */
export const RCODE = {
  NOERROR: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
  YXDOMAIN: 6,
  YXRRSET: 7,
  NXRRSET: 8,
  NOTAUTH: 9,
  NOTZONE: 10,
  BADVERS: 16,
  BADKEY: 17,
  BADTIME: 18,
  BADMODE: 19,
  BADNAME: 20,
  BADALG: 21,
  BADTRUNC: 22,
  BADCOOKIE: 23,
} as const;

/** Masks over the 16-bit flags word, octets 2 and 3 of the header (RFC 1035 §4.1.1, RFC 4035 §3). */
export const FLAG = {
  QR: 0x8000,
  AA: 0x0400,
  TC: 0x0200,
  RD: 0x0100,
  RA: 0x0080,
  AD: 0x0020,
  CD: 0x0010,
} as const;

/** EDNS option codes (RFC 6891 §6.1.2). */
export const EDNS_OPTION = {
  NSID: 3,
  CLIENT_SUBNET: 8,
  EXPIRE: 9,
  COOKIE: 10,
  TCP_KEEPALIVE: 11,
  PADDING: 12,
  EXTENDED_ERROR: 15,
} as const;

/** INFO-CODE of an extended error (RFC 8914 §5.2). */
export const EXTENDED_ERROR = {
  OTHER: 0,
  UNSUPPORTED_DNSKEY_ALGORITHM: 1,
  UNSUPPORTED_DS_DIGEST: 2,
  STALE_ANSWER: 3,
  FORGED_ANSWER: 4,
  DNSSEC_INDETERMINATE: 5,
  DNSSEC_BOGUS: 6,
  SIGNATURE_EXPIRED: 7,
  SIGNATURE_NOT_YET_VALID: 8,
  DNSKEY_MISSING: 9,
  RRSIGS_MISSING: 10,
  NO_ZONE_KEY_BIT: 11,
  NSEC_MISSING: 12,
  CACHED_ERROR: 13,
  NOT_READY: 14,
  BLOCKED: 15,
  CENSORED: 16,
  FILTERED: 17,
  PROHIBITED: 18,
  STALE_NXDOMAIN: 19,
  NOT_AUTHORITATIVE: 20,
  NOT_SUPPORTED: 21,
  NO_REACHABLE_AUTHORITY: 22,
  NETWORK_ERROR: 23,
  INVALID_DATA: 24,
} as const;

/** Fixed header (RFC 1035 §4.1.1); the question starts right behind it. */
export const HEADER_OCTETS = 12;
/** QTYPE and QCLASS. */
export const QUESTION_FIXED_OCTETS = 4;
/** TYPE, CLASS, TTL and RDLENGTH. */
export const RECORD_FIXED_OCTETS = 10;
/** An encoded name, length octets and root included (RFC 1035 §3.1). */
export const NAME_OCTETS_MAX = 255;
/** One label (RFC 1035 §2.3.4). */
export const LABEL_OCTETS_MAX = 63;
/** A length octet at or above this opens a compression pointer (RFC 1035 §4.1.4). */
export const POINTER_TAG = 0xc0;
/** A name of 255 octets has at most 127 labels, and each useful pointer stands before one of them. */
export const POINTER_HOPS_MAX = 127;
/** Length over TCP is 16 bits (RFC 1035 §4.2.2). */
export const MESSAGE_OCTETS_MAX = 65_535;
/** UDP without EDNS (RFC 1035 §2.3.4). */
export const UDP_OCTETS_PLAIN = 512;
/** UDP with EDNS, no fragmentation on any path (RFC 9715 §3). */
export const EDNS_UDP_OCTETS = 1232;
/** An OPT record without options: root, TYPE, CLASS, TTL, RDLENGTH. */
export const OPT_FIXED_OCTETS = 11;
/** OPTION-CODE and OPTION-LENGTH (RFC 6891 §6.1.2). */
export const OPTION_FIXED_OCTETS = 4;
/** More options than this in one query is nonsense; the registry holds about twenty. */
export const OPTIONS_MAX = 64;
/** Client cookie alone, or with a server cookie of 8 to 32 octets (RFC 7873 §4). */
export const COOKIE_CLIENT_OCTETS = 8;
export const COOKIE_OCTETS_MIN_FULL = 16;
export const COOKIE_OCTETS_MAX = 40;
/** Records of a query beside its question: an IXFR's SOA, OPT, TSIG or SIG(0), and room. */
export const QUERY_RECORDS_MAX = 8;
/** Records of one message: 65,535 octets hold at most 5,957 of 11 octets. */
export const RECORDS_MAX = 5957;
/** TTLs are 31 bits; with the top bit set they read as zero (RFC 2181 §8). */
export const TTL_SECONDS_MAX = 0x7fff_ffff;

const TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(TYPE).map(([name, number]) => [number, name]),
);
const TYPE_NUMBERS: ReadonlyMap<string, number> = new Map(Object.entries(TYPE));
const RCODE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(RCODE).map(([name, number]) => [number, name]),
);

/** "MX", or "TYPE1234" for what has no name here (RFC 3597 §5). */
export const typeName = (type: number): string => TYPE_NAMES.get(type) ?? `TYPE${type}`;

/** @returns the type number of "MX", "mx" or "TYPE15", or null when the text names none */
export function typeNumber(text: string): number | null {
  const upper = text.toUpperCase();
  const known = TYPE_NUMBERS.get(upper);
  if (known !== undefined) return known;
  const match = /^TYPE(\d{1,5})$/.exec(upper);
  const number = match === null ? -1 : Number(match[1]);
  return number >= 0 && number <= 0xffff ? number : null;
}

/** "NXDOMAIN", or "RCODE12" for what has no name here. */
export const rcodeName = (rcode: number): string => RCODE_NAMES.get(rcode) ?? `RCODE${rcode}`;
