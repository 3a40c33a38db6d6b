/**
 * Who may ask, and what is answered without a look at the cache: strangers (`allow`), clients over their
 * limit (`rate_limit`) or without our cookie (`require_cookies`), malformed and odd questions.
 *
 * Nothing is allocated for a plain question that passes, as nearly all do.
 */
import { Acl } from './acl.ts';
import type { ResolverConfig } from './config.ts';
import type { Counters, Source, Transport } from './counters.ts';
import { NOT_ALLOWED, OVER_LIMIT } from './extended-errors.ts';
import { answerOddQuestion, type Identity, isOddQuestion } from './odd-questions.ts';
import { isLoopback, RateLimit } from './rate-limit.ts';
import type { ServerCookies } from './server-cookies.ts';
import { FLAG, RCODE } from './wire/constants.ts';
import { QueryVerdict, type QueryView } from './wire/message.ts';
import { writeError } from './wire/write.ts';

/** What a query gets that does not pass. */
export interface Turned {
  /** In a buffer of its own; null: nothing. */
  readonly answer: Uint8Array | null;
  /** null: not counted among answers, but among drops. */
  readonly source: Source | null;
}

const DROPPED: Turned = { answer: null, source: null };

export class Gate {
  readonly #acl: Acl;
  readonly #rateLimit: RateLimit;
  readonly #overLimit: ResolverConfig['rate_limit_answer'];
  readonly #requireCookies: boolean;
  readonly #identity: Identity;
  readonly #cookies: ServerCookies;
  readonly #counters: Counters;

  constructor(config: ResolverConfig, cookies: ServerCookies, counters: Counters) {
    this.#acl = new Acl(config.allow);
    this.#rateLimit = new RateLimit(config.rate_limit);
    this.#overLimit = config.rate_limit_answer;
    this.#requireCookies = config.require_cookies;
    this.#identity = { name: config.identity, version: config.version };
    this.#cookies = cookies;
    this.#counters = counters;
  }

  /**
   * @param message the query, borrowed
   * @param view    what it was parsed into; its verdict is not `drop`
   * @param address numeric, of the client
   * @param nowMs   monotonic
   * @param nowSeconds wall clock, asked for only where cookies are demanded
   * @returns null when it passes
   */
  turn(
    message: Uint8Array,
    view: QueryView,
    transport: Transport,
    address: string,
    nowMs: number,
    nowSeconds: () => number,
  ): Turned | null {
    if (!this.#rateLimit.admits(address, nowMs)) return this.#overLimitOf(message, view, transport);
    if (!this.#acl.allows(address)) {
      return { answer: writeError(message, view, RCODE.REFUSED, NOT_ALLOWED), source: 'refused' };
    }
    if (view.verdict !== QueryVerdict.ok) return unsound(message, view);
    if (isOddQuestion(view)) {
      const answer = answerOddQuestion(message, view, this.#identity);
      return { answer, source: (answer[3]! & 0x0f) === RCODE.NOERROR ? 'local' : 'refused' };
    }
    if (!this.#requireCookies || transport !== 'udp' || isLoopback(address)) return null;
    const { cookieOffset, cookieLength } = view;
    const cookie = message.subarray(cookieOffset, cookieOffset + cookieLength);
    return this.#cookies.knows(cookie, address, nowSeconds()) ? null : demandCookie(message, view);
  }

  #overLimitOf(message: Uint8Array, view: QueryView, transport: Transport): Turned {
    const how = transport === 'udp' ? this.#overLimit : 'refuse';
    this.#counters.drops.rate += 1;
    if (how === 'drop') return DROPPED;
    const rcode = how === 'refuse' ? RCODE.REFUSED : RCODE.NOERROR;
    const answer = writeError(message, view, rcode, OVER_LIMIT);
    if (how === 'truncate') truncate(answer);
    return { answer, source: null };
  }
}

function unsound(message: Uint8Array, view: QueryView): Turned {
  if (view.verdict === QueryVerdict.cookieOnly) {
    return { answer: writeError(message, view, RCODE.NOERROR), source: 'local' };
  }
  return { answer: writeError(message, view, view.verdict), source: 'failure' };
}

/** BADCOOKIE to who can do better; TC to who cannot, because over TCP its address is no lie. */
function demandCookie(message: Uint8Array, view: QueryView): Turned {
  const hasCookie = view.cookieLength > 0;
  const answer = writeError(message, view, hasCookie ? RCODE.BADCOOKIE : RCODE.NOERROR);
  if (!hasCookie) truncate(answer);
  return { answer, source: 'refused' };
}

function truncate(answer: Uint8Array): void {
  answer[2] = answer[2]! | (FLAG.TC >>> 8);
}
