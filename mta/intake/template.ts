/**
 * Owns substitution: {{ name }}, {{ a.b }}, a default as {{ name or 'x' }} or {{ name | default('x') }},
 * and {{{ name }}}, which is not escaped in HTML. Nothing else: no statements, no code.
 *
 * Invariants
 * - Only own properties are looked up, and values are texts, numbers or booleans; others read as absent.
 * - An absent value without a default is the empty text.
 * - What is substituted is not looked through again.
 */
import { InjectionRefused } from './problems.ts';

export type Substitutions = Readonly<Record<string, unknown>>;

interface Tag {
  readonly path: readonly string[];
  readonly fallback: string;
  readonly raw: boolean;
}

export interface Template {
  readonly pieces: readonly (string | Tag)[];
  /** Values are made safe for HTML. */
  readonly html: boolean;
}

/** Tags of one text. */
const TAGS_MAX = 10_000;
const TAG = /(\{\{\{?)([^{}]*)\}\}\}?/g;
const PATH = String.raw`[A-Za-z_][\w-]*(?:\.[\w-]+)*`;
const LITERAL = `'[^']*'|"[^"]*"`;
const EXPRESSION = new RegExp(
  String.raw`^\s*(${PATH})\s*(?:(?:or\s+|\|\|\s*)(${LITERAL})|\|\s*default\(\s*(${LITERAL})\s*(?:,\s*true\s*)?\))?\s*$`,
);

/** @throws InjectionRefused naming the field, when a tag is none of ours */
export function compile(text: string, field: string, html = false): Template {
  const pieces: (string | Tag)[] = [];
  let at = 0;
  for (const match of text.matchAll(TAG)) {
    const [whole, open, inside] = match as unknown as [string, string, string];
    const parsed = EXPRESSION.exec(inside);
    if (parsed === null || pieces.length > 2 * TAGS_MAX) throw unknownTag(field, whole);
    const [, path, ...literals] = parsed;
    const literal = literals.find((found) => found !== undefined);
    pieces.push(text.slice(at, match.index));
    pieces.push({
      path: path!.split('.'),
      fallback: literal?.slice(1, -1) ?? '',
      raw: open === '{{{',
    });
    at = match.index + whole.length;
  }
  pieces.push(text.slice(at));
  return { pieces, html };
}

/** A text that is meant as it stands. */
export const verbatim = (text: string): Template => ({ pieces: [text], html: false });

/** It reads the same for everyone. */
export const isConstant = ({ pieces }: Template): boolean => pieces.length === 1;

/**
 * @param lengthMax characters
 * @throws InjectionRefused when it grows beyond
 */
export function render(template: Template, data: Substitutions, lengthMax: number): string {
  let text = '';
  for (const piece of template.pieces) {
    if (typeof piece === 'string') text += piece;
    else {
      const value = lookUp(data, piece.path) ?? piece.fallback;
      text += template.html && !piece.raw ? escapeHtml(value) : value;
    }
    if (text.length > lengthMax) {
      throw new InjectionRefused(413, 'too_large', 'too large with its substitutions');
    }
  }
  return text;
}

function lookUp(data: Substitutions, path: readonly string[]): string | null {
  let value: unknown = data;
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return null;
    value = (value as Substitutions)[name];
  }
  if (typeof value === 'string') return value === '' ? null : value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : null;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escapeHtml = (text: string): string =>
  text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!);

const unknownTag = (field: string, tag: string): InjectionRefused =>
  new InjectionRefused(
    400,
    'invalid_field',
    `"${field}": ${JSON.stringify(tag.slice(0, 80))} is no substitution known here; write {{ name }} or {{ name or 'default' }}`,
    { field },
  );
