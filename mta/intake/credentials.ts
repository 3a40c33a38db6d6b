/** Owns the comparison of passwords, for AUTH and for HTTP Basic, in time that does not tell them apart. */
import { createHash, timingSafeEqual } from 'node:crypto';

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

export class Credentials {
  readonly #digests: ReadonlyMap<string, Buffer>;
  /** Compared with when the user is unknown, so that this takes as long. */
  readonly #nobody = digest('');

  constructor(users: Readonly<Record<string, string>>) {
    this.#digests = new Map(
      Object.entries(users).map(([name, password]) => [name, digest(password)]),
    );
  }

  /** false: there is no one who could authenticate. */
  get any(): boolean {
    return this.#digests.size > 0;
  }

  verify(name: string, password: string): boolean {
    const expected = this.#digests.get(name);
    const equal = timingSafeEqual(digest(password), expected ?? this.#nobody);
    return equal && expected !== undefined;
  }
}

/**
 * Decodes the message of SASL PLAIN (RFC 4616): authzid NUL authcid NUL password.
 * @returns null when it is none; an authzid other than the user is refused too
 */
export function parsePlain(base64: string): { name: string; password: string } | null {
  const parts = decodeBase64(base64)?.split('\0');
  if (parts?.length !== 3) return null;
  const [authzid, name, password] = parts as [string, string, string];
  return authzid === '' || authzid === name ? { name, password } : null;
}

/** @returns UTF-8 text, or null when it is not base64 */
export function decodeBase64(text: string): string | null {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return null;
  return Buffer.from(text, 'base64').toString('utf8');
}
