/** Owns the syntax of SMTP command lines (RFC 5321 §4.1.1, §4.1.2); no state, no policy. */

/** RFC 5321 §4.5.3.1.4 asks for 512, and extensions add some; room for the base64 of AUTH. */
export const COMMAND_OCTETS_MAX = 4096;

export interface Command {
  /** In upper case. */
  readonly verb: string;
  /** What follows the first space, without trailing spaces. */
  readonly argument: string;
}

export function parseCommand(line: string): Command {
  const trimmed = line.trimEnd();
  const space = trimmed.indexOf(' ');
  if (space === -1) return { verb: trimmed.toUpperCase(), argument: '' };
  return { verb: trimmed.slice(0, space).toUpperCase(), argument: trimmed.slice(space + 1) };
}

export interface PathCommand {
  /** Inside of the angle brackets, which it cannot contain. */
  readonly path: string;
  /** Keyword in upper case → value, '' when it has none. */
  readonly parameters: ReadonlyMap<string, string>;
}

/** Spaces after the colon are wrong but common, and harm no one. */
const FROM = /^FROM: *<([^<>]*)>(?: +(.*))?$/i;
const TO = /^TO: *<([^<>]*)>(?: +(.*))?$/i;
/** esmtp-param of RFC 5321 §4.1.2; values may be UTF-8 (RFC 6531 §3.3). */
const PARAMETER = /^([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\u0080-\uffff]+))?$/;
const NO_PARAMETERS: ReadonlyMap<string, string> = new Map();

/** @returns null when the argument of MAIL or RCPT is malformed, or gives a parameter twice */
export function parsePathCommand(argument: string, keyword: 'FROM' | 'TO'): PathCommand | null {
  const match = (keyword === 'FROM' ? FROM : TO).exec(argument);
  if (match === null) return null;
  const path = match[1]!;
  if (match[2] === undefined) return { path, parameters: NO_PARAMETERS };
  const parameters = new Map<string, string>();
  for (const word of match[2].split(/ +/)) {
    const [, name, value] = PARAMETER.exec(word) ?? [];
    if (name === undefined || parameters.has(name.toUpperCase())) return null;
    parameters.set(name.toUpperCase(), value ?? '');
  }
  return { path, parameters };
}
