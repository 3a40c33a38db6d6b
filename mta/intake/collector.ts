/**
 * Owns the memory of messages that are being taken: one growing buffer each, and one bound for all.
 *
 * Invariants
 * - start <= end <= buffer.length; what precedes `start` is room for fields that we put in front
 * - the sum of all capacities <= ByteBound.max
 */

/** A named bound on octets, shared by everyone who holds some. */
export class ByteBound {
  readonly name: string;
  max: number;
  #held = 0;

  constructor(name: string, max: number) {
    this.name = name;
    this.max = max;
  }

  get held(): number {
    return this.#held;
  }

  /** @returns false, and takes nothing, when the bound would be passed */
  take(octets: number): boolean {
    if (this.#held + octets > this.max) return false;
    this.#held += octets;
    return true;
  }

  give(octets: number): void {
    this.#held -= octets;
  }
}

/** Longest that {@link Collector.prepend} may put in front: Received, Date, Message-ID, an empty line. */
export const HEADROOM_OCTETS = 2048;
/** Holds the usual message of 10 KB and its headroom without growing. */
const CAPACITY_FIRST = 16_384;

const NOTHING = Buffer.alloc(0);

export class Collector {
  readonly #bound: ByteBound;
  #buffer: Buffer = NOTHING;
  #start = HEADROOM_OCTETS;
  #end = HEADROOM_OCTETS;

  private constructor(bound: ByteBound) {
    this.#bound = bound;
  }

  /**
   * @param octets what the client announced, or 0; believed up to the bound
   * @returns null when the bound is reached
   */
  static open(bound: ByteBound, octets: number): Collector | null {
    const collector = new Collector(bound);
    return collector.#grow(Math.max(CAPACITY_FIRST, HEADROOM_OCTETS + octets)) ? collector : null;
  }

  get buffer(): Buffer {
    return this.#buffer;
  }

  get start(): number {
    return this.#start;
  }

  get end(): number {
    return this.#end;
  }

  get octets(): number {
    return this.#end - this.#start;
  }

  /** Copies in what `chunk` holds from `from`; false when the bound is reached. */
  append(chunk: Buffer, from: number): boolean {
    const needed = this.#end + chunk.length - from;
    if (needed > this.#buffer.length && !this.#grow(Math.max(needed, this.#buffer.length * 2))) {
      return false;
    }
    chunk.copy(this.#buffer, this.#end, from);
    this.#end = needed;
    return true;
  }

  /** Forgets what lies behind `end`. */
  truncate(end: number): void {
    this.#end = end;
  }

  /** Writes `text` (ASCII, at most HEADROOM_OCTETS in all) in front of what is held. */
  prepend(text: string): void {
    if (text.length > this.#start) throw new RangeError('headroom exceeded');
    this.#start -= text.length;
    this.#buffer.write(text, this.#start, 'latin1');
  }

  /** What is held, not copied. */
  content(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Gives the octets back to the bound; idempotent. What content() returned stays valid. */
  release(): void {
    this.#bound.give(this.#buffer.length);
    this.#buffer = NOTHING;
    this.#start = 0;
    this.#end = 0;
  }

  #grow(capacity: number): boolean {
    if (!this.#bound.take(capacity - this.#buffer.length)) return false;
    // Not from Node's pool: the receiver may move the memory to another thread.
    const grown = Buffer.allocUnsafeSlow(capacity);
    this.#buffer.copy(grown, 0, 0, this.#end);
    this.#buffer = grown;
    return true;
  }
}
