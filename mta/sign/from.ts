/** Whose message it is: the domain of its author, out of the From field (RFC 5322 §3.6.2, RFC 6854). */
import { domainToASCII } from 'node:url';

/** An author list longer than this is no author list. */
const VALUE_CHARACTERS_MAX = 10_000;

/**
 * @param value of the From field, unfolded or not; untrusted
 * @returns the domain of its first mailbox, A-labels in lower case without final dot; null when it has none
 */
export function authorDomain(value: string): string | null {
  const text = bare(value.slice(0, VALUE_CHARACTERS_MAX));
  // A comma without quotes may also stand in a name.
  const domain = domainIn(text.split(',')[0]!) ?? domainIn(text);
  if (domain === null) return null;
  const ascii = domainToASCII(domain).replace(/\.$/, '');
  return ascii === '' ? null : ascii;
}

/** An address in angle brackets stands behind a name, which may hold an "@" of its own. */
function domainIn(text: string): string | null {
  const address = /<([^<>]*)>/.exec(text)?.[1] ?? text;
  return /@\s*([^\s<>,;:@]+)/.exec(address)?.[1] ?? null;
}

/** Without comments and quoted strings: they may hold anything. */
function bare(text: string): string {
  let kept = '';
  let depth = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]!;
    if (character === '\\') at += 1;
    else if (quoted) quoted = character !== '"';
    else if (character === '"' && depth === 0) quoted = true;
    else if (character === '(') depth += 1;
    else if (character === ')' && depth > 0) depth -= 1;
    else if (depth === 0) kept += character;
  }
  return kept;
}
