/**
 * Finds the line on which a key or array element of a TOML document stands, so that an error about
 * a value can point at it.
 *
 * Reads only documents that the TOML parser has already accepted: it splits them, and judges
 * nothing. Every loop moves `at` forward or ends.
 */

export type KeyPath = readonly (string | number)[];

/** @returns for every key and element, by {@link pathKey}, its line from 1 */
export function locateKeys(source: string): ReadonlyMap<string, number> {
  const walk = new Walk(source);
  walk.document();
  return walk.lines;
}

/** @returns the line of the path or of its nearest ancestor in the document; null when there is none */
export function lineOf(lines: ReadonlyMap<string, number>, path: KeyPath): number | null {
  for (let length = path.length; length > 0; length -= 1) {
    const line = lines.get(pathKey(path.slice(0, length)));
    if (line !== undefined) return line;
  }
  return null;
}

const pathKey = (path: KeyPath): string => JSON.stringify(path.map(String));

const BARE_KEY = /[A-Za-z0-9_-]+/y;
/** Numbers, booleans and dates end where structure, a comment or the line does. */
const SCALAR = /[^,\]}#\r\n]+/y;
const SPACE = /[ \t]*/y;
const SPACE_AND_LINES = /(?:[ \t\r\n]|#[^\n]*)*/y;
const STRINGS: readonly RegExp[] = [
  /"""(?:[^\\]|\\[\s\S])*?"{3,5}/y,
  /'''[\s\S]*?'{3,5}/y,
  /"(?:[^"\\]|\\.)*"/y,
  /'[^']*'/y,
];

/** Escapes that JSON lacks are left as written: such a key only loses its line. */
function unquote(quoted: string): string {
  if (quoted.startsWith("'")) return quoted.slice(1, -1);
  try {
    return String(JSON.parse(quoted));
  } catch {
    return quoted.slice(1, -1);
  }
}

class Walk {
  readonly lines = new Map<string, number>();
  readonly #source: string;
  /** Elements seen so far of each array of tables. */
  readonly #tables = new Map<string, number>();
  #at = 0;
  #line = 1;
  #lineCountedTo = 0;

  constructor(source: string) {
    this.#source = source;
  }

  document(): void {
    let table: KeyPath = [];
    this.#take(SPACE_AND_LINES);
    while (this.#at < this.#source.length) {
      const before = this.#at;
      if (this.#source[this.#at] === '[') table = this.#header();
      else this.#pair(table);
      this.#take(SPACE_AND_LINES);
      if (this.#at === before) return;
    }
  }

  /** [a.b] or [[a.b]] */
  #header(): KeyPath {
    const isArray = this.#source.startsWith('[[', this.#at);
    this.#at += isArray ? 2 : 1;
    const line = this.#lineHere();
    let path: (string | number)[] = [];
    const names = this.#dottedKey();
    for (const [index, name] of names.entries()) {
      path = [...path, name];
      const key = pathKey(path);
      const isLast = index === names.length - 1;
      if (isLast && isArray) this.#tables.set(key, (this.#tables.get(key) ?? 0) + 1);
      this.#note(path, line);
      const elements = this.#tables.get(key);
      if (elements !== undefined) path = [...path, elements - 1];
      this.#note(path, line);
    }
    this.#take(/\]{1,2}/y);
    return path;
  }

  /** key = value */
  #pair(table: KeyPath): void {
    this.#take(SPACE);
    const line = this.#lineHere();
    const path = [...table];
    for (const name of this.#dottedKey()) {
      path.push(name);
      this.#note(path, line);
    }
    this.#take(/[ \t]*=[ \t]*/y);
    this.#value(path);
  }

  #value(path: KeyPath): void {
    const opening = this.#source[this.#at];
    if (opening === '[') this.#list(']', (index) => this.#element(path, index));
    else if (opening === '{') this.#list('}', () => this.#pair(path));
    else if (this.#string() === '') this.#take(SCALAR);
  }

  #element(path: KeyPath, index: number): void {
    const element = [...path, index];
    this.#note(element, this.#lineHere());
    this.#value(element);
  }

  /** Items between commas, up to and past `closing`. */
  #list(closing: string, item: (index: number) => void): void {
    this.#at += 1;
    for (let index = 0; this.#at < this.#source.length; index += 1) {
      this.#take(SPACE_AND_LINES);
      if (this.#source[this.#at] === closing) break;
      const before = this.#at;
      item(index);
      this.#take(SPACE_AND_LINES);
      if (this.#source[this.#at] === ',') this.#at += 1;
      if (this.#at === before) return;
    }
    this.#at += 1;
  }

  #dottedKey(): string[] {
    const names: string[] = [];
    do {
      this.#take(SPACE);
      const quoted = this.#string();
      names.push(quoted === '' ? this.#take(BARE_KEY) : unquote(quoted));
    } while (this.#take(/[ \t]*\./y) !== '');
    return names;
  }

  /** @returns the string with its quotes, or '' when none stands here */
  #string(): string {
    for (const pattern of STRINGS) {
      const text = this.#take(pattern);
      if (text !== '') return text;
    }
    return '';
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const text = pattern.exec(this.#source)?.[0] ?? '';
    this.#at += text.length;
    return text;
  }

  #lineHere(): number {
    for (let at = this.#lineCountedTo; at < this.#at; at += 1) {
      if (this.#source[at] === '\n') this.#line += 1;
    }
    this.#lineCountedTo = this.#at;
    return this.#line;
  }

  #note(path: KeyPath, line: number): void {
    const key = pathKey(path);
    if (!this.lines.has(key)) this.lines.set(key, line);
  }
}
