/**
 * What counts as a response at all (RFC 5452 §9.1). The socket checks the addresses, the table of
 * open exchanges the ID, `repeatsQuestion` of wire/message.ts the question.
 */
import { FLAG, HEADER_OCTETS, RCODE } from '../wire/constants.ts';
import { flagsOf, headerRcodeOf, questionCountOf, RecordCursor } from '../wire/message.ts';

const OPCODE_MASK = 0x7800;
const cursor = new RecordCursor();

/** @returns whether there is a header, with QR set and opcode QUERY */
export const isResponse = (message: Uint8Array): boolean =>
  message.length >= HEADER_OCTETS && (flagsOf(message) & (FLAG.QR | OPCODE_MASK)) === FLAG.QR;

/** A server that cannot parse EDNS may return no more than a header (RFC 6891 §7). */
export const isBareRejection = (response: Uint8Array): boolean =>
  questionCountOf(response) === 0 && rejectsForm(response);

/** FORMERR or NOTIMP: the server did not understand us, rather than not know. */
export const rejectsForm = (response: Uint8Array): boolean =>
  headerRcodeOf(response) === RCODE.FORMERR || headerRcodeOf(response) === RCODE.NOTIMP;

/** Whether every record that the header counts can be stepped through. */
export function isSound(response: Uint8Array): boolean {
  let state = cursor.begin(response);
  while (state > 0) state = cursor.next();
  return state === 0;
}
