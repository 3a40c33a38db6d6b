/**
 * Messages in a TCP stream: two octets of length, then so many of message (RFC 1035 §4.2.2, RFC 7766 §8).
 *
 * Invariant: at most one message is in assembly, so at most 65,535 octets are held beside the chunk
 * being read.
 */
import { MESSAGE_OCTETS_MAX } from './constants.ts';

const LENGTH_OCTETS = 2;
const NOTHING = new Uint8Array(0);

/** Cuts a stream into messages: {@link feed} a chunk, then take {@link next} until it is null. */
export class FrameReader {
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  /** Length octets seen of the frame in assembly, and their value so far. */
  #lengthSeen = 0;
  #length = 0;
  /** The message in assembly, when it began in an earlier chunk. */
  #partial: Uint8Array | null = null;
  #filled = 0;

  /** @param chunk borrowed until every message in it was taken; all of the chunk before must be taken */
  feed(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** Whether the stream stands between two messages. */
  get idle(): boolean {
    return this.#lengthSeen === 0;
  }

  /** @returns the next whole message, a view of the chunk where it lies in one; null when more is needed */
  next(): Uint8Array | null {
    const chunk = this.#chunk;
    while (this.#lengthSeen < LENGTH_OCTETS) {
      if (this.#at === chunk.length) return this.#exhausted();
      this.#length = (this.#length << 8) | chunk[this.#at]!;
      this.#at += 1;
      this.#lengthSeen += 1;
    }
    const length = this.#length;
    if (this.#partial === null && chunk.length - this.#at >= length) {
      const message = chunk.subarray(this.#at, this.#at + length);
      this.#at += length;
      return this.#finished(message);
    }
    this.#partial ??= new Uint8Array(length);
    const taken = Math.min(length - this.#filled, chunk.length - this.#at);
    this.#partial.set(chunk.subarray(this.#at, this.#at + taken), this.#filled);
    this.#filled += taken;
    this.#at += taken;
    return this.#filled === length ? this.#finished(this.#partial) : this.#exhausted();
  }

  #finished(message: Uint8Array): Uint8Array {
    this.#lengthSeen = 0;
    this.#length = 0;
    this.#partial = null;
    this.#filled = 0;
    return message;
  }

  #exhausted(): null {
    this.#chunk = NOTHING;
    this.#at = 0;
    return null;
  }
}

/** @returns the message behind its length, copied; one buffer, so that one segment carries both */
export function frame(message: Uint8Array): Uint8Array {
  if (message.length > MESSAGE_OCTETS_MAX) throw new RangeError('message exceeds 65535 octets');
  const framed = new Uint8Array(LENGTH_OCTETS + message.length);
  framed[0] = message.length >> 8;
  framed[1] = message.length & 0xff;
  framed.set(message, LENGTH_OCTETS);
  return framed;
}
