/**
 * Finds the header fields of a message without copying them.
 *
 * Invariants
 * - A field runs from its name to the end of its last continuation line, CRLF included.
 * - Fields do not overlap, come in the order of the message, and end where the body begins or before.
 */

/** One field, as octet indices into the message: start < colon < end. */
export interface Field {
  /** In lower case, without the white space that may precede the colon. */
  readonly name: string;
  readonly start: number;
  /** Of ':'. */
  readonly colon: number;
  /** Past the CRLF. */
  readonly end: number;
}

export interface Header {
  readonly fields: readonly Field[];
  /** Of the first octet of the body; the length of the message when it has none. */
  readonly bodyStart: number;
}

const TAB = 0x09;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const COLON = 0x3a;

/**
 * @param message CRLF line endings; borrowed
 * @param wanted names in lower case; other fields are stepped over
 * @returns null when a line is neither field nor continuation
 */
export function readHeader(message: Buffer, wanted: ReadonlySet<string>): Header | null {
  const fields: Field[] = [];
  let at = 0;
  while (at < message.length) {
    if (message[at] === CR && message[at + 1] === LF) return { fields, bodyStart: at + 2 };
    const colon = colonOf(message, at);
    const end = fieldEnd(message, at);
    if (colon === -1 || colon >= end) return null;
    const name = nameOf(message, at, colon);
    if (name === '' || message[at] === SPACE || message[at] === TAB) return null;
    if (wanted.has(name)) fields.push({ name, start: at, colon, end });
    at = end;
  }
  return { fields, bodyStart: at };
}

function colonOf(message: Buffer, start: number): number {
  for (let at = start; at < message.length; at += 1) {
    const octet = message[at]!;
    if (octet === COLON) return at;
    if (octet === LF) return -1;
  }
  return -1;
}

function fieldEnd(message: Buffer, start: number): number {
  let at = start;
  for (;;) {
    const lf = message.indexOf(LF, at);
    if (lf === -1) return message.length;
    at = lf + 1;
    if (message[at] !== SPACE && message[at] !== TAB) return at;
  }
}

function nameOf(message: Buffer, start: number, colon: number): string {
  let end = colon;
  while (end > start && (message[end - 1] === SPACE || message[end - 1] === TAB)) end -= 1;
  return message.toString('latin1', start, end).toLowerCase();
}
