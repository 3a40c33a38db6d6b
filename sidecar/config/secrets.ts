/** Which settings are never shown, neither by `config show` nor in an error. */
import type { KeyPath } from './lines.ts';

/** Settings all of whose values are secret, but for those in PLAIN. */
const SECRETS: ReadonlySet<string> = new Set([
  'mta.users',
  'mta.feedback.secrets',
  'resolver.cookie_secrets',
  'admin.token',
]);
/** Keys that are secret wherever they stand, as in webhooks. */
const SECRET_KEYS: ReadonlySet<string | number> = new Set(['secret', 'password']);
/** Keys of a secret setting's tables that tell nothing. */
const PLAIN: ReadonlySet<string | number> = new Set(['tenant']);

export function isSecret(path: KeyPath): boolean {
  if (path.some((key) => SECRET_KEYS.has(key))) return true;
  const setting = path.slice(0, 2).join('.');
  return SECRETS.has(setting) && !(path.length > 3 && PLAIN.has(path.at(-1)!));
}
