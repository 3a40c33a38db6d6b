/** Records as people read them (RFC 1035 §5.1, RFC 3597 §5), for what mail asks; the rest in hexadecimal. */
import { TYPE, typeName } from './constants.ts';
import type { RecordCursor } from './message.ts';
import { nameToText } from './names.ts';
import {
  decodeA,
  decodeAaaa,
  decodeMx,
  decodeName,
  decodeSoa,
  decodeTlsa,
  decodeTxt,
} from './rdata.ts';

/** Octets of RDATA shown for types without a form of their own. */
const HEX_OCTETS_MAX = 64;

const hex = (octets: Uint8Array): string => Buffer.from(octets).toString('hex');
const quote = (text: string): string =>
  `"${text.replaceAll(/[^\x20-\x7e]|["\\]/g, (character) =>
    character === '"' || character === '\\'
      ? `\\${character}`
      : `\\${character.charCodeAt(0).toString().padStart(3, '0')}`,
  )}"`;

/** "example.com. MX 10 mail.example.com.": owner, type and RDATA of the record under the cursor. */
export function recordToText(cursor: RecordCursor): string {
  const owner = nameToText(cursor.message, cursor.ownerOffset);
  const text = rdataToText(cursor) ?? unknownToText(cursor);
  return `${owner} ${typeName(cursor.type)} ${text}`;
}

/** RFC 3597 §5. */
function unknownToText({ message, rdataOffset, rdataLength }: RecordCursor): string {
  const shown = message.subarray(rdataOffset, rdataOffset + Math.min(rdataLength, HEX_OCTETS_MAX));
  return `\\# ${rdataLength} ${hex(shown)}${rdataLength > HEX_OCTETS_MAX ? '…' : ''}`;
}

/** @returns null for other types, and for RDATA that is not what its type demands */
function rdataToText(cursor: RecordCursor): string | null {
  const { message, rdataOffset: offset, rdataLength: length } = cursor;
  const orNull = (decoded: string | number): string | null =>
    typeof decoded === 'number' ? null : decoded;
  switch (cursor.type) {
    case TYPE.A:
      return orNull(decodeA(message, offset, length));
    case TYPE.AAAA:
      return orNull(decodeAaaa(message, offset, length));
    case TYPE.CNAME:
    case TYPE.NS:
    case TYPE.PTR:
      return orNull(decodeName(message, offset, length));
    case TYPE.MX: {
      const mx = decodeMx(message, offset, length);
      return typeof mx === 'number' ? null : `${mx.preference} ${mx.exchange}`;
    }
    case TYPE.TXT: {
      const strings = decodeTxt(message, offset, length);
      return typeof strings === 'number' ? null : strings.map(quote).join(' ');
    }
    case TYPE.SOA: {
      const soa = decodeSoa(message, offset, length);
      if (typeof soa === 'number') return null;
      return `${soa.primary} ${soa.mailbox} ${soa.serial} ${soa.refreshSeconds} ${soa.retrySeconds} ${soa.expireSeconds} ${soa.minimumSeconds}`;
    }
    case TYPE.TLSA: {
      const tlsa = decodeTlsa(message, offset, length);
      if (typeof tlsa === 'number') return null;
      return `${tlsa.usage} ${tlsa.selector} ${tlsa.matching} ${hex(tlsa.data)}`;
    }
    default:
      return null;
  }
}
