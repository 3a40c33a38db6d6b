/**
 * How many whole transactions one connection may send ahead of their replies: MAIL, RCPT and BDAT LAST
 * of one behind those of the other (RFC 2920, 3030).
 *
 * Sending content before its recipients are accepted is a wager that they will be. It is made only where
 * refusals are rare, and only with a host whose replies can be told apart, so that one too many or one
 * too few is noticed before it is taken for that of another message.
 *
 * Invariants
 * - 1 <= size <= WINDOW_MAX, and it is 1 until PROOF transactions in a row went through.
 * - After a lost wager it is 1 until twice as many go through as before; after WASTES_MAX it stays 1.
 *   Exim hangs up after three, Postfix slows down after ten.
 */
import type { Reply } from './reply.ts';

/** Beyond eight little is gained (17 to 20 µs a message), and all of them may be delivered twice when the connection dies. */
export const WINDOW_MAX = 8;
/** Content sent ahead, all transactions together: what a dead connection may leave in doubt. */
export const WINDOW_OCTETS_MAX = 1_048_576;
const PROOF = 4;
const WASTES_MAX = 2;

type Asked = 'mail' | 'rcpt' | 'rset';

interface Heard {
  readonly enhanced: string | null;
  readonly wording: string;
}

export class Window {
  #size = 1;
  /** Transactions that went through since the window was last shut, or opened further. */
  #streak = 0;
  #proof = PROOF;
  #wastes = 0;
  #indistinct = false;
  /** The host's positive reply to each, learnt while nothing was sent ahead. */
  readonly #heard: Record<Asked, Heard | null> = { mail: null, rcpt: null, rset: null };

  get size(): number {
    return this.#size;
  }

  /** Content was sent in vain on this connection. */
  get lost(): boolean {
    return this.#wastes > 0;
  }

  /** The first positive reply to each of the commands whose reply must not be taken for that to content. */
  heard(asked: Asked, reply: Reply): void {
    this.#heard[asked] ??= { enhanced: reply.enhanced, wording: wordingOf(reply) };
  }

  /** This positive reply to content reads as those to other commands do. */
  indistinct(reply: Reply): boolean {
    const { enhanced } = reply;
    const { mail, rcpt, rset } = this.#heard;
    // The codes alone tell most hosts' replies apart.
    const isAlike =
      enhanced === mail?.enhanced || enhanced === rcpt?.enhanced || enhanced === rset?.enhanced;
    if (!isAlike) return false;
    const wording = wordingOf(reply);
    return wording === mail?.wording || wording === rcpt?.wording || wording === rset?.wording;
  }

  /** A message was taken, with `reply`. */
  taken(reply: Reply): void {
    if (this.#size === 1 && this.indistinct(reply)) this.#indistinct = true;
    this.#streak += 1;
    if (this.#indistinct || this.#wastes >= WASTES_MAX || this.#size >= WINDOW_MAX) return;
    if (this.#size === 1 && this.#streak < this.#proof) return;
    this.#size += 1;
    this.#streak = 0;
  }

  /** A transaction came to nothing: refused as a whole, whether content was sent for it or not. */
  refused(sentInVain: boolean): void {
    if (this.#size > 1 || sentInVain) this.#proof *= 2;
    if (sentInVain) this.#wastes += 1;
    this.#size = 1;
    this.#streak = 0;
  }
}

/** Addresses, identifiers and counts differ from reply to reply; that there is one does not. */
const wordingOf = ({ enhanced, lines }: Reply): string =>
  `${enhanced ?? ''} ${(lines[0] ?? '').replaceAll(/\S*[\d@]\S*/g, '#')}`;
