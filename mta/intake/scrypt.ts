/**
 * Owns how passwords are kept: as scrypt hashes (RFC 7914) in the PHC string format,
 * "$scrypt$ln=15,r=8,p=1$SALT$HASH", both in base64 without padding.
 *
 * Invariant: what a hash asks for is bounded, so that a typing error costs no gigabytes.
 */
import { scrypt, timingSafeEqual } from 'node:crypto';

/** log2 of the cost; 15 is 32 MiB and some 60 ms, once for each password that is looked at. */
const LN_DEFAULT = 15;
const LN_MIN = 10;
const LN_MAX = 18;
const R_DEFAULT = 8;
const R_MAX = 16;
const P_DEFAULT = 1;
const P_MAX = 4;
const OCTETS_MIN = 8;
const OCTETS_MAX = 64;
const HASH_OCTETS = 32;
export const SALT_OCTETS = 16;

export interface ScryptHash {
  readonly ln: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

const FORM =
  /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{1,88})\$([A-Za-z0-9+/]{1,88})$/;

/** Whether it is meant for a hash; parseScrypt() tells whether it is one. */
export const looksHashed = (text: string): boolean => text.startsWith('$scrypt$');

/** @returns null when it is none, or asks for more than we give */
export function parseScrypt(text: string): ScryptHash | null {
  const [, ln, r, p, salt = '', hash = ''] = FORM.exec(text) ?? [];
  const parsed = {
    ln: Number(ln),
    r: Number(r),
    p: Number(p),
    salt: Buffer.from(salt, 'base64'),
    hash: Buffer.from(hash, 'base64'),
  };
  const fits =
    within(parsed.ln, LN_MIN, LN_MAX) &&
    within(parsed.r, 1, R_MAX) &&
    within(parsed.p, 1, P_MAX) &&
    within(parsed.salt.length, OCTETS_MIN, OCTETS_MAX) &&
    within(parsed.hash.length, OCTETS_MIN, OCTETS_MAX);
  return fits ? parsed : null;
}

/** On the thread pool; takes as long for the wrong password as for the right one. */
export async function verifyScrypt(expected: ScryptHash, password: string): Promise<boolean> {
  return timingSafeEqual(await derive(expected, password, expected.hash.length), expected.hash);
}

/** @param salt SALT_OCTETS of randomness */
export async function hashPassword(password: string, salt: Buffer): Promise<string> {
  const cost = { ln: LN_DEFAULT, r: R_DEFAULT, p: P_DEFAULT, salt };
  const hash = await derive(cost, password, HASH_OCTETS);
  const { ln, r, p } = cost;
  return `$scrypt$ln=${ln},r=${r},p=${p}$${bare(salt)}$${bare(hash)}`;
}

const within = (value: number, least: number, most: number): boolean =>
  value >= least && value <= most;

const bare = (octets: Buffer): string => octets.toString('base64').replaceAll('=', '');

function derive(
  { ln, r, p, salt }: Omit<ScryptHash, 'hash'>,
  password: string,
  octets: number,
): Promise<Buffer> {
  const N = 2 ** ln;
  return new Promise((resolve, reject) => {
    // Twice of what it takes: the bound is there for those who do not check.
    scrypt(password, salt, octets, { N, r, p, maxmem: 256 * N * r }, (error, key) =>
      error === null ? resolve(key) : reject(error),
    );
  });
}
