/** Peers as sockets name them: a sockaddr in words, and the verdict on whether it may ask. */
import type { Acl } from '../acl.ts';
import type { Family } from './datagram-batch.ts';

/** Power of two; a mail host has a handful of clients. */
const VERDICTS = 1_024;
const VERDICT_WORDS = 5;
const ALLOWED = 1;
const DENIED = 2;

/** @param word index of the sockaddr's first word. @returns numeric address; groups may be zeroes */
export function addressOfPeer(words: Int32Array, word: number, family: Family): string {
  if (family === 4) {
    const address = words[word + 1]!;
    return `${address & 255}.${(address >>> 8) & 255}.${(address >>> 16) & 255}.${address >>> 24}`;
  }
  const groups: string[] = [];
  for (let index = word + 2; index < word + 6; index += 1) {
    groups.push(bigEndianHex(words[index]!), bigEndianHex(words[index]! >>> 16));
  }
  return groups.join(':');
}

const bigEndianHex = (pair: number): string =>
  (((pair & 255) << 8) | ((pair >>> 8) & 255)).toString(16);

/** The same verdicts as the Acl's, kept by address words so that a hit needs no string. */
export class PeerAcl {
  readonly #acl: Acl;
  readonly #family: Family;
  /** Direct mapped: four words of address, one of verdict. */
  readonly #verdicts = new Int32Array(VERDICTS * VERDICT_WORDS);

  constructor(acl: Acl, family: Family) {
    this.#acl = acl;
    this.#family = family;
  }

  /** @param word index of the sockaddr's first word */
  allows(words: Int32Array, word: number): boolean {
    const isIpv4 = this.#family === 4;
    const a = words[isIpv4 ? word + 1 : word + 2]!;
    const b = isIpv4 ? 0 : words[word + 3]!;
    const c = isIpv4 ? 0 : words[word + 4]!;
    const d = isIpv4 ? 0 : words[word + 5]!;
    const verdicts = this.#verdicts;
    const mixed = Math.imul(a ^ Math.imul(b, 31) ^ Math.imul(c, 17) ^ d, 0x9e3779b1) >>> 22;
    const at = mixed * VERDICT_WORDS;
    const known = verdicts[at + 4]!;
    if (
      known !== 0 &&
      verdicts[at] === a &&
      verdicts[at + 1] === b &&
      verdicts[at + 2] === c &&
      verdicts[at + 3] === d
    ) {
      return known === ALLOWED;
    }
    const allowed = this.#acl.allows(addressOfPeer(words, word, this.#family));
    verdicts[at] = a;
    verdicts[at + 1] = b;
    verdicts[at + 2] = c;
    verdicts[at + 3] = d;
    verdicts[at + 4] = allowed ? ALLOWED : DENIED;
    return allowed;
  }
}
