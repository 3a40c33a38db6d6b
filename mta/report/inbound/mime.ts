/**
 * Reads MIME that comes from strangers, as far as reports need it: header fields, parts, transfer
 * encodings (RFC 5322, RFC 2045, RFC 2046). What is broken reads as less, never as an error.
 *
 * Invariants
 * - Work and memory grow with the message and no faster: every loop consumes it, and what is kept is
 *   bounded by the named maxima.
 * - Bodies are views of the message until decoded() is called.
 */

export const HEADER_OCTETS_MAX = 65_536;
const FIELDS_MAX = 500;
/** Characters of one field's value. */
const VALUE_MAX = 4_000;
export const PARTS_MAX = 32;
/** What a report says fits this many times over. */
const DECODED_OCTETS_MAX = 1_048_576;
const BOUNDARY_MAX = 200;
const LF = 0x0a;
const CR = 0x0d;

/** Fields by name in lower case, values unfolded, in order. */
export class Header {
  readonly #fields = new Map<string, string[]>();

  add(name: string, value: string): void {
    const values = this.#fields.get(name);
    if (values === undefined) this.#fields.set(name, [value]);
    else values.push(value);
  }

  /** The first of that name; null when there is none. */
  get(name: string): string | null {
    return this.#fields.get(name)?.[0] ?? null;
  }

  all(name: string): readonly string[] {
    return this.#fields.get(name) ?? [];
  }

  get empty(): boolean {
    return this.#fields.size === 0;
  }
}

export interface Entity {
  readonly header: Header;
  /** Behind the empty line; undecoded. */
  readonly body: Buffer;
}

/** @param octets borrowed */
export function readEntity(octets: Buffer): Entity {
  const end = headerEnd(octets);
  const header = readFields(octets.toString('utf8', 0, Math.min(end.at, HEADER_OCTETS_MAX)));
  return { header, body: octets.subarray(end.next) };
}

/** @returns where the header ends, and where what follows its empty line begins */
function headerEnd(octets: Buffer): { readonly at: number; readonly next: number } {
  for (let at = 0; at <= octets.length; ) {
    const lf = octets.indexOf(LF, at);
    if (lf === -1) return { at: octets.length, next: octets.length };
    if (lf === at || (lf === at + 1 && octets[at] === CR)) return { at, next: lf + 1 };
    at = lf + 1;
  }
  return { at: octets.length, next: octets.length };
}

/** Header fields of a text, folded lines joined; lines that are none are passed over. */
export function readFields(text: string): Header {
  const header = new Header();
  let name = '';
  let value = '';
  let fields = 0;
  const keep = (): void => {
    if (name !== '') header.add(name, value.trim().slice(0, VALUE_MAX));
  };
  for (const line of text.split(/\r?\n/)) {
    if (/^[ \t]/.test(line)) {
      if (value.length < VALUE_MAX) value += ` ${line.trim()}`;
      continue;
    }
    keep();
    name = '';
    const colon = line.indexOf(':');
    const written = line.slice(0, Math.max(colon, 0)).trimEnd();
    if (!/^[!-9;-~]{1,100}$/.test(written)) continue;
    if (fields === FIELDS_MAX) break;
    fields += 1;
    name = written.toLowerCase();
    value = line.slice(colon + 1);
  }
  keep();
  return header;
}

export interface ContentType {
  /** "multipart/report", in lower case; "text/plain" where nothing is said. */
  readonly type: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
}

export function contentTypeOf({ header }: Pick<Entity, 'header'>): ContentType {
  const value = header.get('content-type') ?? '';
  const type = /^\s*([a-z0-9!#$&^_.+-]+\/[a-z0-9!#$&^_.+-]+)/i.exec(value)?.[1];
  const parameters = new Map<string, string>();
  const PARAMETER = /;\s*([a-z0-9*_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/gi;
  for (const [, name, quoted, plain] of value.matchAll(PARAMETER)) {
    const key = name!.toLowerCase();
    if (parameters.has(key)) continue;
    parameters.set(key, quoted === undefined ? plain! : quoted.replaceAll(/\\(.)/g, '$1'));
  }
  return { type: type?.toLowerCase() ?? 'text/plain', parameters };
}

/** The parts of a multipart entity, at most PARTS_MAX; empty when it is none or has no boundary. */
export function partsOf(entity: Entity): Entity[] {
  const { type, parameters } = contentTypeOf(entity);
  const boundary = parameters.get('boundary') ?? '';
  if (!type.startsWith('multipart/') || boundary === '' || boundary.length > BOUNDARY_MAX)
    return [];
  const parts: Entity[] = [];
  const { body } = entity;
  const delimiter = Buffer.from(`--${boundary}`);
  let start = -1;
  for (let at = 0; at < body.length && parts.length < PARTS_MAX; ) {
    const found = body.indexOf(delimiter, at);
    if (found === -1) break;
    at = found + delimiter.length;
    if (found > 0 && body[found - 1] !== LF) continue;
    const isLast = body[at] === 0x2d && body[at + 1] === 0x2d;
    // What follows must be white space alone, or it is another, longer boundary.
    const lf = body.indexOf(LF, at);
    const lineEnd = lf === -1 ? body.length : lf;
    if (!/^(?:--)?[ \t\r]*$/.test(body.toString('latin1', at, Math.min(lineEnd, at + 80))))
      continue;
    if (start !== -1) parts.push(readEntity(body.subarray(start, bodyEnd(body, start, found))));
    start = isLast ? -1 : Math.min(lineEnd + 1, body.length);
    if (isLast) return parts;
    at = lineEnd;
  }
  // Cut short: what there is of the last part counts.
  if (start !== -1 && parts.length < PARTS_MAX) parts.push(readEntity(body.subarray(start)));
  return parts;
}

/** The line end before a delimiter belongs to the delimiter (RFC 2046 §5.1.1). */
function bodyEnd(body: Buffer, start: number, delimiterAt: number): number {
  let end = delimiterAt;
  if (end > start && body[end - 1] === LF) end -= 1;
  if (end > start && body[end - 1] === CR) end -= 1;
  return end;
}

/** The body without its transfer encoding, at most DECODED_OCTETS_MAX of it. */
export function decoded({ header, body }: Entity): Buffer {
  const encoding = header.get('content-transfer-encoding')?.toLowerCase() ?? '';
  if (encoding === 'base64') {
    const text = body.toString('latin1', 0, DECODED_OCTETS_MAX * 1.4);
    return Buffer.from(text.replaceAll(/[^A-Za-z0-9+/]+/g, ''), 'base64');
  }
  const view = body.subarray(0, DECODED_OCTETS_MAX);
  return encoding === 'quoted-printable' ? fromQuotedPrintable(view) : view;
}

function fromQuotedPrintable(octets: Buffer): Buffer {
  const text = octets.toString('latin1').replaceAll(/[ \t]+(?=\r?\n)/g, '');
  const plain = text
    .replaceAll(/=\r?\n/g, '')
    .replaceAll(/=([0-9A-Fa-f]{2})/g, (_all, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
  return Buffer.from(plain, 'latin1');
}
