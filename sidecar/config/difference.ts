/** What differs between two configurations, as lines for a log: `mta.max_age: "5d" → "4d"`. */
import { effectiveSettings } from './effective.ts';
import type { RawConfig } from './schema.ts';

/** Secrets are never shown, so that another secret makes no line. @returns in the order of the schema */
export function differences(before: RawConfig, after: RawConfig): readonly string[] {
  const texts = new Map(settingsOf(before));
  return settingsOf(after).flatMap(([key, text]) => {
    const was = texts.get(key) ?? null;
    return was === text ? [] : [`${key}: ${was ?? 'unset'} → ${text ?? 'unset'}`];
  });
}

const settingsOf = (raw: RawConfig) =>
  effectiveSettings({ raw, file: null }).map(({ path, text }) => [path.join('.'), text] as const);
