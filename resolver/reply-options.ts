/**
 * What a client that sent an EDNS option gets back beside the answer: its cookie with ours (RFC 7873,
 * 9018), our name (RFC 5001), how long its connection may idle (RFC 7828), padding where nobody can see
 * how long an answer is (RFC 7830, 8467). Clients that sent none, as most do, cost nothing here.
 */
import type { Transport } from './counters.ts';
import { COOKIE_OCTETS, type ServerCookies } from './server-cookies.ts';
import {
  EDNS_OPTION,
  MESSAGE_OCTETS_MAX,
  OPTION_FIXED_OCTETS,
  RECORD_FIXED_OCTETS,
  TYPE,
} from './wire/constants.ts';
import { type QueryView, RecordCursor, readUint16, writeUint16 } from './wire/message.ts';

/** Of the idle time-out: 100 ms. */
const KEEPALIVE_UNIT_MS = 100;
const KEEPALIVE_OCTETS = 2;
/** Responses are padded to a multiple of this (RFC 8467 §4.1). */
const BLOCK_OCTETS = 468;

/** Of the name that NSID tells; the setting `identity` has no more. */
const NSID_OCTETS_MAX = 255;

/** What {@link ReplyOptions.append} writes at most. */
export const REPLY_OPTIONS_OCTETS_MAX =
  4 * OPTION_FIXED_OCTETS + COOKIE_OCTETS + NSID_OCTETS_MAX + KEEPALIVE_OCTETS + BLOCK_OCTETS;

const cursor = new RecordCursor();

export class ReplyOptions {
  readonly #cookies: ServerCookies;
  readonly #nsid: Uint8Array;
  readonly #idleMs: number;

  /** @param nsid told to who asks; "": nothing is */
  constructor(cookies: ServerCookies, nsid: string, idleMs: number) {
    this.#cookies = cookies;
    this.#nsid = Buffer.from(nsid).subarray(0, NSID_OCTETS_MAX);
    this.#idleMs = idleMs;
  }

  /** Whether there is anything to append. */
  wanted(view: QueryView, transport: Transport): boolean {
    if (view.cookieLength > 0 || this.#tellsNsid(view)) return true;
    return transport !== 'udp' && (view.hasKeepalive || view.hasPadding);
  }

  /** Octets to leave for what {@link append} may not leave out. */
  reserve(view: QueryView, transport: Transport): number {
    const cookie = view.cookieLength > 0 ? OPTION_FIXED_OCTETS + COOKIE_OCTETS : 0;
    const nsid = this.#tellsNsid(view) ? OPTION_FIXED_OCTETS + this.#nsid.length : 0;
    const keepalive = transport === 'udp' ? 0 : OPTION_FIXED_OCTETS + KEEPALIVE_OCTETS;
    return cookie + nsid + keepalive;
  }

  #tellsNsid(view: QueryView): boolean {
    return view.hasNsid && this.#nsid.length > 0;
  }

  /**
   * Appends to the OPT record that ends the answer.
   *
   * @param out        the answer, REPLY_OPTIONS_OCTETS_MAX octets of room behind it
   * @param nowSeconds wall clock
   * @returns octets of the answer now
   */
  append(
    out: Uint8Array,
    octets: number,
    query: Uint8Array,
    view: QueryView,
    client: { readonly transport: Transport; readonly address: string },
    nowSeconds: number,
  ): number {
    const lengthAt = optLengthOffset(out.subarray(0, octets));
    if (lengthAt < 0) return octets;
    let end = octets;
    if (view.cookieLength > 0) {
      const cookie = query.subarray(view.cookieOffset, view.cookieOffset + view.cookieLength);
      const made = this.#cookies.make(cookie, client.address, nowSeconds);
      end = appendOption(out, end, EDNS_OPTION.COOKIE, made);
    }
    if (this.#tellsNsid(view)) end = appendOption(out, end, EDNS_OPTION.NSID, this.#nsid);
    // HTTP/2 has its own ways to keep a connection (RFC 8484 §5.2 leaves it to HTTP).
    if (view.hasKeepalive && (client.transport === 'tcp' || client.transport === 'tls')) {
      const timeout = new Uint8Array(KEEPALIVE_OCTETS);
      writeUint16(timeout, 0, Math.floor(this.#idleMs / KEEPALIVE_UNIT_MS));
      end = appendOption(out, end, EDNS_OPTION.TCP_KEEPALIVE, timeout);
    }
    if (view.hasPadding && (client.transport === 'tls' || client.transport === 'https')) {
      const bare = end + OPTION_FIXED_OCTETS;
      const padded = Math.min(Math.ceil(bare / BLOCK_OCTETS) * BLOCK_OCTETS, MESSAGE_OCTETS_MAX);
      if (padded >= bare) {
        end = appendOption(out, end, EDNS_OPTION.PADDING, new Uint8Array(padded - bare));
      }
    }
    writeUint16(out, lengthAt, readUint16(out, lengthAt) + end - octets);
    return end;
  }
}

/** @returns offset of the RDLENGTH of the OPT record that ends the answer, or -1 */
function optLengthOffset(answer: Uint8Array): number {
  let found = -1;
  for (let state = cursor.begin(answer); state > 0; state = cursor.next()) {
    const isLast = cursor.recordEnd === answer.length;
    if (cursor.type === TYPE.OPT && isLast) found = cursor.ttlOffset - 4 + RECORD_FIXED_OCTETS - 2;
  }
  return found;
}

function appendOption(out: Uint8Array, at: number, code: number, data: Uint8Array): number {
  writeUint16(out, at, code);
  writeUint16(out, at + 2, data.length);
  out.set(data, at + OPTION_FIXED_OCTETS);
  return at + OPTION_FIXED_OCTETS + data.length;
}
