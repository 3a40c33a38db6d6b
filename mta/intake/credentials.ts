/**
 * Owns who may authenticate, by AUTH or by HTTP Basic, and whose mail theirs is.
 *
 * Invariants
 * - A password is compared in time that does not tell it apart, and an unknown user takes as long as a
 *   known one.
 * - At most HASHING_MAX passwords are hashed at a time and WAITING_MAX wait for it: guessing slows
 *   guessers down, not the mta.
 * - Nothing here is ever logged or quoted.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Random } from '../../runtime/random.ts';
import type { MtaConfig } from '../config.ts';
import { type Principal, principalOf } from './allowances.ts';
import { looksHashed, parseScrypt, type ScryptHash, verifyScrypt } from './scrypt.ts';

/** Of the four threads that Node has for such work: others need some too. */
const HASHING_MAX = 2;
const WAITING_MAX = 100;
const KEY_WORDS = 8;

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

interface User {
  readonly principal: Principal;
  /** Of the password itself where the configuration has it, else null. */
  readonly digest: Buffer | null;
  readonly hash: ScryptHash | null;
  /** Keyed digest of the password that was right last, so that it is hashed once. */
  proven: Buffer | null;
}

export type Verdict = Principal | 'wrong' /** Too many ask at once. */ | 'busy';

export class Credentials {
  readonly #users: ReadonlyMap<string, User>;
  /** Stands in for users whom nobody knows. */
  readonly #nobody: User;
  /** Of this process alone. */
  readonly #key: Buffer;
  #hashing = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(users: MtaConfig['users'], random: Random) {
    this.#users = new Map(Object.entries(users).map(([name, user]) => [name, userOf(name, user)]));
    const hash = [...this.#users.values()].find((user) => user.hash !== null)?.hash ?? null;
    const nothing = { principal: principalOf('user', '', ''), proven: null };
    this.#nobody = { ...nothing, digest: hash === null ? digest('') : null, hash };
    this.#key = Buffer.from(
      Uint32Array.from({ length: KEY_WORDS }, () => random.integer(2 ** 32)).buffer,
    );
  }

  /** false: there is no one who could authenticate. */
  get any(): boolean {
    return this.#users.size > 0;
  }

  async verify(name: string, password: string): Promise<Verdict> {
    const known = this.#users.get(name);
    const user = known ?? this.#nobody;
    const right =
      user.hash === null
        ? timingSafeEqual(digest(password), user.digest ?? digest(''))
        : await this.#matches(user, user.hash, password);
    if (right === null) return 'busy';
    return right && known !== undefined ? known.principal : 'wrong';
  }

  /** Whom a peer that we trust has authenticated, by name alone. */
  vouchedFor(name: string): Principal {
    return this.#users.get(name)?.principal ?? principalOf('user', name, undefined);
  }

  /** @returns null when too many wait */
  async #matches(user: User, hash: ScryptHash, password: string): Promise<boolean | null> {
    const keyed = createHmac('sha256', this.#key).update(password).digest();
    if (user.proven !== null && timingSafeEqual(user.proven, keyed)) return true;
    if (this.#hashing >= HASHING_MAX) {
      if (this.#waiting.length >= WAITING_MAX) return null;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    } else this.#hashing += 1;
    try {
      const right = await verifyScrypt(hash, password);
      if (right && user !== this.#nobody) user.proven = keyed;
      return right;
    } finally {
      // The place goes to the one who has waited longest.
      const next = this.#waiting.shift();
      if (next === undefined) this.#hashing -= 1;
      else next();
    }
  }
}

function userOf(name: string, configured: MtaConfig['users'][string]): User {
  const { password, tenant } =
    typeof configured === 'string' ? { password: configured, tenant: undefined } : configured;
  const hash = looksHashed(password) ? parseScrypt(password) : null;
  return {
    principal: principalOf('user', name, tenant),
    digest: hash === null ? digest(password) : null,
    hash,
    proven: null,
  };
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
