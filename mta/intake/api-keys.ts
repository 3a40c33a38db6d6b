/**
 * Owns the keys of the HTTP APIs: whose a key is.
 *
 * Invariants
 * - The configuration holds digests alone: a key cannot be read out of it.
 * - A look-up compares with every key, each in constant time.
 */
import { createHash, timingSafeEqual } from 'node:crypto';

interface ApiKey {
  readonly name: string;
  readonly digest: Buffer;
}

export class ApiKeys {
  readonly #keys: readonly ApiKey[];

  /** @param digests name → "sha256:" and hex digits */
  constructor(digests: Readonly<Record<string, string>>) {
    this.#keys = Object.entries(digests).map(([name, digest]) => ({
      name,
      digest: Buffer.from(digest.slice('sha256:'.length), 'hex'),
    }));
  }

  get any(): boolean {
    return this.#keys.length > 0;
  }

  /** @returns the name of the key, or null when it is none of ours */
  nameOf(key: string): string | null {
    const digest = createHash('sha256').update(key).digest();
    let found: string | null = null;
    for (const known of this.#keys) {
      if (timingSafeEqual(known.digest, digest)) found = known.name;
    }
    return found;
  }
}
