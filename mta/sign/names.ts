/** What may stand in d= and s= (RFC 6376 §3.5), in the one spelling that we use. */
import { domainToASCII } from 'node:url';

const LABELS = /^[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;
const NAME_CHARACTERS_MAX = 253;

/** @returns A-labels in lower case, or null when the text is no domain */
export function domainName(text: string): string | null {
  const ascii = domainToASCII(text.replace(/\.$/, ''));
  return ascii.length <= NAME_CHARACTERS_MAX && LABELS.test(ascii) ? ascii : null;
}

/** @returns the selector in lower case (RFC 6376 §3.1), or null when the text is none */
export function selectorName(text: string): string | null {
  const lower = text.toLowerCase();
  return lower.length <= NAME_CHARACTERS_MAX && LABELS.test(lower) ? lower : null;
}
