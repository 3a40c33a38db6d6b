/** What differs between two tables of settings, each setting compared as a whole. */

/**
 * @returns keys of settings that differ, such as "cache.max_ttl", in the order of `next`, those that are
 *   in `old` alone last. Tables are opened once, lists are one setting
 */
export function changedKeys(old: object, next: object): string[] {
  const [before, after] = [settingsOf(old), settingsOf(next)];
  const keys = [...after.keys(), ...[...before.keys()].filter((key) => !after.has(key))];
  return keys.filter((key) => before.get(key) !== after.get(key));
}

/** Each setting as text. */
function settingsOf(table: object): Map<string, string> {
  const settings = new Map<string, string>();
  for (const [key, value] of Object.entries(table)) {
    if (isTable(value)) {
      for (const [inner, setting] of Object.entries(value)) {
        settings.set(`${key}.${inner}`, JSON.stringify(setting));
      }
    } else {
      settings.set(key, JSON.stringify(value));
    }
  }
  return settings;
}

/** An endpoint is one setting. */
const isTable = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !('address' in value);
