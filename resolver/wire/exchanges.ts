/** The MX hosts that a response names. */
import { HEADER_OCTETS, TYPE } from './constants.ts';
import { RecordCursor } from './message.ts';
import { nameKey } from './names.ts';

/** Key of the root, which as only exchange says that the domain takes no mail (RFC 7505 §3). */
const ROOT_KEY = '\0';
/** PREFERENCE stands before the exchange (RFC 1035 §3.3.9). */
const PREFERENCE_OCTETS = 2;

const cursor = new RecordCursor();

/**
 * @param wire a response that was stepped through before
 * @param countMax further MX records are not looked at
 * @returns keys of the exchanges in the answer section, each once, in the order of the response
 */
export function exchangesOf(wire: Uint8Array, countMax: number): readonly string[] {
  const exchanges = new Set<string>();
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    if (cursor.section !== 'answer' || exchanges.size >= countMax) break;
    if (cursor.type !== TYPE.MX || cursor.rdataLength <= PREFERENCE_OCTETS) continue;
    const key = nameKey(wire, cursor.rdataOffset + PREFERENCE_OCTETS);
    if (typeof key === 'string') exchanges.add(key);
  }
  return [...exchanges];
}

/** RFC 7505 §3: one MX record whose exchange is the root. */
export function isNullMx(wire: Uint8Array): boolean {
  const exchanges = exchangesOf(wire, 2);
  return exchanges.length === 1 && exchanges[0] === ROOT_KEY;
}

/** IPv4 addresses of the answer section, as unsigned numbers, at most `countMax`. */
export function addressesOf(wire: Uint8Array, countMax: number): readonly number[] {
  const addresses: number[] = [];
  if (wire.length < HEADER_OCTETS) return addresses;
  for (let state = cursor.begin(wire); state > 0; state = cursor.next()) {
    if (cursor.section !== 'answer' || addresses.length >= countMax) break;
    if (cursor.type !== TYPE.A || cursor.rdataLength !== 4) continue;
    const at = cursor.rdataOffset;
    addresses.push(wire.slice(at, at + 4).reduce((number, octet) => number * 256 + octet, 0));
  }
  return addresses;
}
