/**
 * Records that people write: `[[resolver.local]]`, a file in the form of /etc/hosts. Data is text as in
 * a zone file for the types that mail needs, or octets as of RFC 3597 for all others.
 */
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { TYPE, typeNumber } from './wire/constants.ts';
import { textToName } from './wire/names.ts';

/** One record, or one line, of a name; its address backwards, for PTR. */
export interface LocalRecord {
  readonly name: Uint8Array;
  readonly type: number;
  readonly rdata: Uint8Array;
}

const TEXT_OCTETS_MAX = 255;
const RDATA_OCTETS_MAX = 4_096;
/** Lines of a hosts file that are read. */
const HOSTS_LINES_MAX = 100_000;

/** @returns the RDATA, or what is wrong with the text, in one clause */
export function parseRdata(type: number, text: string): Uint8Array | string {
  if (text.startsWith('\\#')) return parseGeneric(text);
  switch (type) {
    case TYPE.A:
      return isIP(text) === 4 ? addressOctets(text) : `"${text}" is not an IPv4 address`;
    case TYPE.AAAA:
      return isIP(text) === 6 ? addressOctets(text) : `"${text}" is not an IPv6 address`;
    case TYPE.MX:
      return parseMx(text);
    case TYPE.PTR:
      return nameOr(text);
    case TYPE.TXT:
      return parseText(text);
    default:
      return 'write the data of this type as octets, for example "\\# 4 c0000201"';
  }
}

/** @returns the type, or what is wrong with it */
export function parseType(text: string): number | string {
  const type = typeNumber(text);
  if (type === null || type === 0 || type === TYPE.OPT) return `"${text}" is not a type`;
  // A chain would have to be followed, part of it upstream.
  if (type === TYPE.CNAME || type === TYPE.DNAME)
    return 'aliases cannot be local; write the records';
  return type;
}

function parseGeneric(text: string): Uint8Array | string {
  const match = /^\\#\s+(\d{1,5})((?:\s+[0-9a-f]+)*)$/i.exec(text);
  const octets = Buffer.from(match?.[2]?.replaceAll(/\s/g, '') ?? '', 'hex');
  if (match === null || octets.length !== Number(match[1]) || octets.length > RDATA_OCTETS_MAX) {
    return 'octets are written "\\# LENGTH HEX" (RFC 3597)';
  }
  return Uint8Array.from(octets);
}

function parseMx(text: string): Uint8Array | string {
  const match = /^(\d{1,5})\s+(\S+)$/.exec(text);
  const preference = Number(match?.[1] ?? Number.NaN);
  if (match === null || preference > 0xffff) return 'MX is written "PREFERENCE HOST"';
  const host = nameOr(match[2]!);
  if (typeof host === 'string') return host;
  return Uint8Array.from([preference >>> 8, preference & 0xff, ...host]);
}

function nameOr(text: string): Uint8Array | string {
  const name = textToName(text);
  return typeof name === 'number' ? `"${text}" is not a domain name` : name;
}

/** Strings of 255 octets each, as many as it takes. */
function parseText(text: string): Uint8Array | string {
  const octets = Buffer.from(text);
  if (octets.length > RDATA_OCTETS_MAX) return `longer than ${RDATA_OCTETS_MAX} octets`;
  const parts: number[] = octets.length === 0 ? [0] : [];
  for (let at = 0; at < octets.length; at += TEXT_OCTETS_MAX) {
    const part = octets.subarray(at, at + TEXT_OCTETS_MAX);
    parts.push(part.length, ...part);
  }
  return Uint8Array.from(parts);
}

const addressOctets = (text: string): Uint8Array =>
  Uint8Array.from(ipaddr.parse(text).toByteArray());

/** The records of a file such as /etc/hosts; lines that are none are passed over. */
export function parseHosts(text: string): LocalRecord[] {
  const records: LocalRecord[] = [];
  for (const line of text.split('\n', HOSTS_LINES_MAX)) {
    const [address = '', ...hosts] = line.replace(/#.*/, '').trim().split(/\s+/);
    const family = isIP(address);
    // A zone index such as %eth0 is no part of the DNS.
    if (family === 0 || address.includes('%')) continue;
    const names = hosts.map(nameOr).filter((name) => typeof name !== 'string');
    const type = family === 4 ? TYPE.A : TYPE.AAAA;
    records.push(...names.map((name) => ({ name, type, rdata: addressOctets(address) })));
    const [first] = names;
    if (first !== undefined) {
      records.push({ name: reverseName(address), type: TYPE.PTR, rdata: first });
    }
  }
  return records;
}

function reverseName(address: string): Uint8Array {
  const octets = ipaddr.parse(address).toByteArray();
  const labels =
    octets.length === 4
      ? octets.map(String)
      : octets.flatMap((octet) => [(octet >>> 4).toString(16), (octet & 15).toString(16)]);
  const suffix = octets.length === 4 ? 'in-addr.arpa.' : 'ip6.arpa.';
  return nameOr(`${labels.toReversed().join('.')}.${suffix}`) as Uint8Array;
}
