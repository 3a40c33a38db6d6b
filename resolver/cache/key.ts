/**
 * The identity of a cached response: name in lower case, type, class, DO and CD, whole. A shorter key,
 * or one without DO or CD, gives one client the answer that was meant for another.
 *
 * Layout, one character an octet (latin1): name on the wire, uncompressed; two octets of type; two of
 * class; one of flags. The name delimits itself, so the key is injective.
 */
import { HEADER_OCTETS, NAME_OCTETS_MAX, QUESTION_FIXED_OCTETS } from '../wire/constants.ts';
import { type QueryView, writeUint16 } from '../wire/message.ts';
import { lowerOctet } from '../wire/names.ts';

/** Octets behind the name. */
const KEY_TAIL_OCTETS = 5;
const KEY_DNSSEC_OK = 1;
const KEY_CHECKING_DISABLED = 2;

// One call into the runtime makes a flat string; concatenation makes a rope that every lookup first
// has to flatten (143 against 293 ns, lookup included).
const scratch = Buffer.alloc(NAME_OCTETS_MAX + KEY_TAIL_OCTETS);

const flagsOctet = (dnssecOk: boolean, checkingDisabled: boolean): number =>
  (dnssecOk ? KEY_DNSSEC_OK : 0) | (checkingDisabled ? KEY_CHECKING_DISABLED : 0);

/** @returns the key of a query whose verdict is ok */
export function queryKey(query: Uint8Array, view: QueryView): string {
  const nameEnd = view.nameEnd;
  let octets = 0;
  for (let at = HEADER_OCTETS; at < nameEnd; at += 1) scratch[octets++] = lowerOctet(query[at]!);
  writeUint16(scratch, octets, view.qtype);
  writeUint16(scratch, octets + 2, view.qclass);
  scratch[octets + 4] = flagsOctet(view.dnssecOk, view.cd);
  return scratch.toString('latin1', 0, octets + KEY_TAIL_OCTETS);
}

export interface KeyParts {
  /** As {@link nameKey} gives it. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  readonly dnssecOk: boolean;
  readonly cd: boolean;
}

export const formatKey = (parts: KeyParts): string =>
  parts.name +
  String.fromCharCode(
    parts.type >>> 8,
    parts.type & 0xff,
    parts.class >>> 8,
    parts.class & 0xff,
    flagsOctet(parts.dnssecOk, parts.cd),
  );

/** The inverse of {@link formatKey}; the key is one of ours. */
export function parseKey(key: string): KeyParts {
  const tail = key.length - KEY_TAIL_OCTETS;
  const flags = key.charCodeAt(tail + 4);
  return {
    name: key.slice(0, tail),
    type: (key.charCodeAt(tail) << 8) | key.charCodeAt(tail + 1),
    class: (key.charCodeAt(tail + 2) << 8) | key.charCodeAt(tail + 3),
    dnssecOk: (flags & KEY_DNSSEC_OK) !== 0,
    cd: (flags & KEY_CHECKING_DISABLED) !== 0,
  };
}

export const typeOfKey = (key: string): number => {
  const tail = key.length - KEY_TAIL_OCTETS;
  return (key.charCodeAt(tail) << 8) | key.charCodeAt(tail + 1);
};

export const keyHasType = (key: string, type: number): boolean => typeOfKey(key) === type;

/** Whether the response's question, right behind the header and uncompressed, is the key's. */
export function questionMatchesKey(wire: Uint8Array, key: string): boolean {
  const questionOctets = key.length - 1;
  const flags = key.charCodeAt(questionOctets);
  if (flags > (KEY_DNSSEC_OK | KEY_CHECKING_DISABLED)) return false;
  if (wire.length < HEADER_OCTETS + questionOctets) return false;
  let at = 0;
  while (at < questionOctets && key.charCodeAt(at) !== 0) at += 1 + key.charCodeAt(at);
  if (at + 1 + QUESTION_FIXED_OCTETS !== questionOctets) return false;
  for (let index = 0; index < questionOctets; index += 1) {
    if (wire[HEADER_OCTETS + index] !== key.charCodeAt(index)) return false;
  }
  return true;
}

/** Whether the key is of this very name, whatever its type. */
export const keyHasName = (key: string, name: string): boolean =>
  key.length === name.length + KEY_TAIL_OCTETS && key.startsWith(name);

/** Whether the key's name is `suffix` or below it, label by label: "b.a." is below "a.", "ba." is not. */
export function keyHasSuffix(key: string, suffix: string): boolean {
  const nameEnd = key.length - KEY_TAIL_OCTETS;
  let at = 0;
  while (nameEnd - at > suffix.length) at += 1 + key.charCodeAt(at);
  return nameEnd - at === suffix.length && key.startsWith(suffix, at);
}
