/**
 * What to warm the cache with, as people write it: a domain, of which the MX is asked and whatever its
 * bundle brings, or a name with a type.
 */
import { formatKey } from './cache/key.ts';
import { CLASS, TYPE, typeNumber } from './wire/constants.ts';
import { nameKey, textToName } from './wire/names.ts';

/** @param line "example.net", or "mx1.example.net A"; @returns the key of the cache, or null */
export function warmKey(line: string): string | null {
  const [name = '', typeText = 'MX', ...more] = line.trim().split(/\s+/);
  const wire = textToName(name);
  const type = typeNumber(typeText);
  if (typeof wire === 'number' || type === null || type === TYPE.ANY || more.length > 0)
    return null;
  const key = nameKey(wire, 0);
  if (typeof key === 'number') return null;
  return formatKey({ name: key, type, class: CLASS.IN, dnssecOk: false, cd: false });
}
