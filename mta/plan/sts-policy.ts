/** The syntax of MTA-STS: the TXT record, the policy file, and which hosts a policy names (RFC 8461 §3, §4.1). */

export interface StsPolicy {
  readonly mode: 'enforce' | 'testing' | 'none';
  /** Host names in lower case, or "*." and a name; one or more unless mode is 'none'. */
  readonly mx: readonly string[];
  readonly maxAgeSeconds: number;
}

/** §3.2: 31557600 s, about a year. */
const MAX_AGE_SECONDS_MAX = 31_557_600;
/** Patterns of one policy; more than any provider has hosts. */
const PATTERNS_MAX = 256;

/**
 * @param records each as its character-strings; untrusted
 * @returns the id, or null when there is not exactly one record of version STSv1 (§3.1)
 */
export function parseStsRecord(records: readonly (readonly string[])[]): string | null {
  const ours = records
    .map((strings) => strings.join(''))
    .filter((text) => /^v=STSv1[ \t]*;/.test(text));
  if (ours.length !== 1) return null;
  return /;[ \t]*id[ \t]*=[ \t]*([A-Za-z0-9]{1,32})[ \t]*(?:;|$)/.exec(ours[0]!)?.[1] ?? null;
}

/**
 * @param text of the policy file; untrusted
 * @returns the policy, or what is wrong with it
 */
export function parseStsPolicy(text: string): StsPolicy | string {
  const values = new Map<string, string>();
  const mx: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const [, key, value] = /^[ \t]*([A-Za-z0-9_.-]+)[ \t]*:[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (key === undefined) {
      if (line.trim() === '') continue;
      return 'a line is no "key: value"';
    }
    if (key === 'mx') mx.push(value!.toLowerCase().replace(/\.$/, ''));
    // Of a key that comes twice the first counts (§3.2).
    else if (!values.has(key)) values.set(key, value!);
  }
  const mode = values.get('mode');
  const maxAge = values.get('max_age') ?? '';
  if (values.get('version') !== 'STSv1') return 'its version is not STSv1';
  if (mode !== 'enforce' && mode !== 'testing' && mode !== 'none') return 'it has no known mode';
  if (!/^\d{1,10}$/.test(maxAge)) return 'it has no max_age';
  if (mx.length > PATTERNS_MAX) return `it has more than ${PATTERNS_MAX} MX patterns`;
  if (mx.length === 0 && mode !== 'none') return 'it names no MX host';
  if (mx.some((pattern) => !PATTERN.test(pattern))) return 'one of its MX patterns is no name';
  return { mode, mx, maxAgeSeconds: Math.min(Number(maxAge), MAX_AGE_SECONDS_MAX) };
}

const PATTERN = /^(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/;

/** @param host in lower case without final dot. A wildcard stands for exactly one label (§4.1, RFC 6125 §6.4.3). */
export const stsNames = ({ mx }: StsPolicy, host: string): boolean =>
  mx.some((pattern) =>
    pattern.startsWith('*.')
      ? host.includes('.') && host.slice(host.indexOf('.')) === pattern.slice(1)
      : host === pattern,
  );
