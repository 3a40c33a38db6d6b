/**
 * DNS cookies as a client (RFC 7873 §5, RFC 9018): our cookie, drawn at random for each upstream, goes
 * with every question and must come back; the server's comes with its answers and goes back to it.
 * Who does not see our questions cannot forge the answers of a server that has once shown that it
 * speaks cookies.
 *
 * Invariant: at most one server cookie, of COOKIE_OCTETS_MAX - COOKIE_CLIENT_OCTETS octets at most.
 */
import type { Random } from '../../runtime/random.ts';
import {
  COOKIE_CLIENT_OCTETS,
  COOKIE_OCTETS_MAX,
  COOKIE_OCTETS_MIN_FULL,
  EDNS_OPTION,
  OPT_FIXED_OCTETS,
  OPTION_FIXED_OCTETS,
  OPTIONS_MAX,
  RCODE,
  TYPE,
} from '../wire/constants.ts';
import { copyOctets, RecordCursor, readUint16, writeUint16, writeUint32 } from '../wire/message.ts';

const WORD_SPAN = 0x1_0000_0000;

/**
 * ok: right, or none was to be expected. missing: the server has shown that it would have sent one.
 * wrong: not ours. refused: ours came back, the server wants to see the cookie that it now sent.
 */
export type CookieVerdict = 'ok' | 'missing' | 'wrong' | 'refused';

const cursor = new RecordCursor();

export class CookieJar {
  readonly #client = new Uint8Array(COOKIE_CLIENT_OCTETS);
  #server: Uint8Array | null = null;

  constructor(random: Random) {
    writeUint32(this.#client, 0, random.integer(WORD_SPAN));
    writeUint32(this.#client, 4, random.integer(WORD_SPAN));
  }

  /** Whether the server has shown that it speaks cookies. */
  get established(): boolean {
    return this.#server !== null;
  }

  /** @returns a copy of the query with our option; its last record must be an OPT without options */
  added(query: Uint8Array): Uint8Array {
    const octets = COOKIE_CLIENT_OCTETS + (this.#server?.length ?? 0);
    const out = new Uint8Array(query.length + OPTION_FIXED_OCTETS + octets);
    out.set(query);
    writeUint16(out, query.length - 2, OPTION_FIXED_OCTETS + octets);
    writeUint16(out, query.length, EDNS_OPTION.COOKIE);
    writeUint16(out, query.length + 2, octets);
    out.set(this.#client, query.length + OPTION_FIXED_OCTETS);
    if (this.#server !== null) {
      out.set(this.#server, query.length + OPTION_FIXED_OCTETS + COOKIE_CLIENT_OCTETS);
    }
    return out;
  }

  /** Looks at the response to a query with our option, and keeps the server's cookie where ours is right. */
  judge(response: Uint8Array): CookieVerdict {
    const at = findCookie(response);
    if (at === null) return this.#server === null ? 'ok' : 'missing';
    const length = readUint16(response, at - 2);
    if (!this.#isOurs(response, at, length)) return 'wrong';
    if (length >= COOKIE_OCTETS_MIN_FULL) {
      this.#server = copyOctets(response, at + COOKIE_CLIENT_OCTETS, at + length);
    }
    return cursor.rcode === RCODE.BADCOOKIE ? 'refused' : 'ok';
  }

  /** The server does not speak cookies any more, as TCP has shown. */
  forget(): void {
    this.#server = null;
  }

  #isOurs(response: Uint8Array, at: number, length: number): boolean {
    if (length !== COOKIE_CLIENT_OCTETS && length < COOKIE_OCTETS_MIN_FULL) return false;
    if (length > COOKIE_OCTETS_MAX) return false;
    return this.#client.every((octet, index) => response[at + index] === octet);
  }
}

/** @returns offset of the first cookie's data, or null; the cursor then knows the whole RCODE */
function findCookie(response: Uint8Array): number | null {
  let found: number | null = null;
  for (let state = cursor.begin(response); state > 0; state = cursor.next()) {
    if (cursor.type === TYPE.OPT && cursor.section === 'additional') {
      found ??= cookieIn(response, cursor.rdataOffset, cursor.rdataOffset + cursor.rdataLength);
    }
  }
  return found;
}

function cookieIn(message: Uint8Array, start: number, end: number): number | null {
  let at = start;
  for (let count = 0; count < OPTIONS_MAX && at + OPTION_FIXED_OCTETS <= end; count += 1) {
    const length = readUint16(message, at + 2);
    const data = at + OPTION_FIXED_OCTETS;
    if (data + length > end) return null;
    if (readUint16(message, at) === EDNS_OPTION.COOKIE) return data;
    at = data + length;
  }
  return null;
}

/** Whether a query of ours ends in an OPT without options, so that {@link CookieJar.added} may be used. */
export const endsInBareOpt = (query: Uint8Array, questionEnd: number): boolean =>
  query.length === questionEnd + OPT_FIXED_OCTETS;
