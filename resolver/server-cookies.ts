/**
 * Server cookies that any server with the same secret makes and knows (RFC 9018): version 1, three
 * octets reserved, the time, and SipHash-2-4 over the client's cookie, all of that, and its address.
 *
 * The first secret makes cookies; all of them are known, so that a new one can be rolled out to every
 * server behind one address before it is used.
 */
import ipaddr from 'ipaddr.js';
import { sipHash24 } from './siphash.ts';
import { COOKIE_CLIENT_OCTETS } from './wire/constants.ts';
import { readUint32, writeUint32 } from './wire/message.ts';

const VERSION = 1;
const SERVER_OCTETS = 16;
const HASH_OFFSET = COOKIE_CLIENT_OCTETS + 8;
/** Client and server cookie together, as they go into the option. */
export const COOKIE_OCTETS = COOKIE_CLIENT_OCTETS + SERVER_OCTETS;
export const SECRET_OCTETS = 16;
/** RFC 9018 §4.3: accepted for an hour, and for five minutes ahead of our clock. */
const AGE_SECONDS_MAX = 3_600;
const AHEAD_SECONDS_MAX = 300;

export class ServerCookies {
  readonly #secrets: readonly Uint8Array[];

  /** @param secrets one or more of SECRET_OCTETS octets */
  constructor(secrets: readonly Uint8Array[]) {
    this.#secrets = secrets;
  }

  /** @param cookie of the client, whole; @param address numeric. @returns COOKIE_OCTETS octets */
  make(cookie: Uint8Array, address: string, nowSeconds: number): Uint8Array {
    const made = new Uint8Array(COOKIE_OCTETS);
    made.set(cookie.subarray(0, COOKIE_CLIENT_OCTETS));
    made[COOKIE_CLIENT_OCTETS] = VERSION;
    writeUint32(made, COOKIE_CLIENT_OCTETS + 4, nowSeconds);
    sipHash24(this.#secrets[0]!, hashed(made, address), made, HASH_OFFSET);
    return made;
  }

  /** @returns whether the cookie is one that we made for this client, not too long ago */
  knows(cookie: Uint8Array, address: string, nowSeconds: number): boolean {
    if (cookie.length !== COOKIE_OCTETS || cookie[COOKIE_CLIENT_OCTETS] !== VERSION) return false;
    // Serial arithmetic (RFC 1982): the clock of 32 bits comes round in 2106.
    const ageSeconds = (nowSeconds - readUint32(cookie, COOKIE_CLIENT_OCTETS + 4)) | 0;
    if (ageSeconds > AGE_SECONDS_MAX || ageSeconds < -AHEAD_SECONDS_MAX) return false;
    const input = hashed(cookie, address);
    const hash = new Uint8Array(8);
    return this.#secrets.some((secret) => {
      sipHash24(secret, input, hash, 0);
      let difference = 0;
      for (let at = 0; at < 8; at += 1) difference |= hash[at]! ^ cookie[HASH_OFFSET + at]!;
      return difference === 0;
    });
  }
}

function hashed(cookie: Uint8Array, address: string): Uint8Array {
  const addressOctets = ipaddr.process(address).toByteArray();
  const input = new Uint8Array(HASH_OFFSET + addressOctets.length);
  input.set(cookie.subarray(0, HASH_OFFSET));
  input.set(addressOctets, HASH_OFFSET);
  return input;
}
