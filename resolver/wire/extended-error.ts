/** Reads what a server says of its own failure (RFC 8914), so that clients can be told. */
import { EDNS_OPTION, OPTION_FIXED_OCTETS, OPTIONS_MAX, TYPE } from './constants.ts';
import { RecordCursor, readUint16 } from './message.ts';
import type { ExtendedError } from './write.ts';

const INFO_CODE_OCTETS = 2;
const cursor = new RecordCursor();
const decoder = new TextDecoder();

/** @returns the first extended error of the response, or null when there is none, or the octets are unsound */
export function readExtendedError(response: Uint8Array): ExtendedError | null {
  for (let state = cursor.begin(response); state > 0; state = cursor.next()) {
    if (cursor.type === TYPE.OPT && cursor.section === 'additional') {
      return findExtendedError(
        response,
        cursor.rdataOffset,
        cursor.rdataOffset + cursor.rdataLength,
      );
    }
  }
  return null;
}

function findExtendedError(message: Uint8Array, start: number, end: number): ExtendedError | null {
  let at = start;
  for (let count = 0; count < OPTIONS_MAX && at + OPTION_FIXED_OCTETS <= end; count += 1) {
    const length = readUint16(message, at + 2);
    const data = at + OPTION_FIXED_OCTETS;
    if (data + length > end) return null;
    if (readUint16(message, at) === EDNS_OPTION.EXTENDED_ERROR && length >= INFO_CODE_OCTETS) {
      const text = decoder.decode(message.subarray(data + INFO_CODE_OCTETS, data + length));
      return { code: readUint16(message, data), text };
    }
    at = data + length;
  }
  return null;
}
