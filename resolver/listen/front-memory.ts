/**
 * What the core and one front share besides the answer table: orders, counters, and the ring by which
 * queries reach the core. The front is the ring's one producer, the core its one consumer.
 *
 * Invariants of the ring: 0 <= head - tail <= RING_WORDS, both ever growing modulo 2^32; a query
 * lies in one piece; head moves after the query is whole, tail after it was taken.
 */
import { ANSWER_SECONDS_BOUNDS, TYPE_LABELS } from '../counters.ts';
import { CONTROL_WORDS, type DatagramBatch, PEER_WORDS } from './datagram-batch.ts';

/** What a front is told. Anything else is a mistake that ends it. */
export const ORDER = { serve: 0, stop: 1 } as const;

/** Indices of words; those written by different threads lie on different cache lines. */
const WORD = { order: 0, head: 16, tail: 32, bell: 48 } as const;
const CONTROL_WORDS_ALL = 64;
/**
 * Some 20,000 questions that nobody has cached: a cold start asks them all at once, and what finds no
 * room is dropped. With 256 KiB a third of a storm of 3,000 was.
 */
const RING_OCTETS = 2_097_152;
const RING_WORDS = RING_OCTETS / 4;

/** A query in the ring, in words: size, octets of the query, peer, local address, the query. */
const QUERY = { octets: 1, peer: 2, control: 2 + PEER_WORDS, wire: 2 + PEER_WORDS + CONTROL_WORDS };
/** Size of what only fills the ring up to its end. */
const FILLER = -1;

/** The bell: the core sleeps until the front rings. */
const ASLEEP = 1;
const AWAKE = 0;

/** Indices of numbers. */
export const TALLY = {
  /** Of answers, by type label; then by RCODE; then by time taken. */
  types: 0,
  rcodes: TYPE_LABELS.length,
  buckets: TYPE_LABELS.length + 16,
  seconds: TYPE_LABELS.length + 16 + ANSWER_SECONDS_BOUNDS.length + 1,
  /** Answers that the kernel would not take, and queries for which the ring had no room. */
  backlog: TYPE_LABELS.length + 16 + ANSWER_SECONDS_BOUNDS.length + 2,
  /** Queries of more octets than we take. */
  long: TYPE_LABELS.length + 16 + ANSWER_SECONDS_BOUNDS.length + 3,
  /** Times that something was received. */
  batches: TYPE_LABELS.length + 16 + ANSWER_SECONDS_BOUNDS.length + 4,
} as const;
export const TALLIES = TALLY.batches + 1;

const TALLIES_AT = 4 * CONTROL_WORDS_ALL;
const RING_AT = TALLIES_AT + 8 * (TALLIES + 8);

export const createFrontMemory = (): SharedArrayBuffer =>
  new SharedArrayBuffer(RING_AT + RING_OCTETS);

/** One side's view. */
export class FrontMemory {
  /** The front adds; the core reads. */
  readonly tallies: Float64Array;
  readonly #control: Int32Array;
  readonly #ring: Int32Array;
  readonly #ringOctets: Uint8Array;

  constructor(buffer: SharedArrayBuffer) {
    this.#control = new Int32Array(buffer, 0, CONTROL_WORDS_ALL);
    this.tallies = new Float64Array(buffer, TALLIES_AT, TALLIES);
    this.#ring = new Int32Array(buffer, RING_AT, RING_WORDS);
    this.#ringOctets = new Uint8Array(buffer, RING_AT, RING_OCTETS);
  }

  get order(): number {
    return Atomics.load(this.#control, WORD.order);
  }

  set order(order: number) {
    Atomics.store(this.#control, WORD.order, order);
  }

  /** The front's: copies a query to the core. @returns whether there was room */
  push(batch: DatagramBatch, place: number, octets: number): boolean {
    const ring = this.#ring;
    const size = QUERY.wire + ((octets + 3) >>> 2);
    let head = Atomics.load(this.#control, WORD.head);
    const free = RING_WORDS - ((head - Atomics.load(this.#control, WORD.tail)) | 0);
    const left = RING_WORDS - (head & (RING_WORDS - 1));
    const filler = left < size ? left : 0;
    if (free < size + filler) return false;
    if (filler > 0) {
      ring[head & (RING_WORDS - 1)] = FILLER;
      head += filler;
    }
    const at = head & (RING_WORDS - 1);
    ring[at] = size;
    ring[at + QUERY.octets] = octets;
    const { words } = batch;
    copyWords(words, batch.peerWord(place), ring, at + QUERY.peer, PEER_WORDS);
    copyWords(words, batch.controlWord(place), ring, at + QUERY.control, CONTROL_WORDS);
    copyWords(words, batch.at(place) >>> 2, ring, at + QUERY.wire, size - QUERY.wire);
    Atomics.store(this.#control, WORD.head, (head + size) | 0);
    return true;
  }

  /** The front's: wakes the core if it sleeps, after pushing. */
  ring(): void {
    if (Atomics.load(this.#control, WORD.bell) !== ASLEEP) return;
    Atomics.store(this.#control, WORD.bell, AWAKE);
    Atomics.notify(this.#control, WORD.bell);
  }

  /**
   * The core's: takes the oldest query.
   *
   * @param query takes its octets; QUERY_OCTETS_MAX
   * @param from  takes words of peer and local address; PEER_WORDS + CONTROL_WORDS
   * @returns octets of the query, or -1 when there is none
   */
  take(query: Uint8Array, from: Int32Array): number {
    const ring = this.#ring;
    let tail = Atomics.load(this.#control, WORD.tail);
    if (tail === Atomics.load(this.#control, WORD.head)) return -1;
    let at = tail & (RING_WORDS - 1);
    if (ring[at] === FILLER) {
      tail += RING_WORDS - at;
      at = 0;
    }
    const octets = ring[at + QUERY.octets]!;
    copyWords(ring, at + QUERY.peer, from, 0, PEER_WORDS + CONTROL_WORDS);
    const first = 4 * (at + QUERY.wire);
    query.set(this.#ringOctets.subarray(first, first + octets));
    Atomics.store(this.#control, WORD.tail, (tail + ring[at]!) | 0);
    return octets;
  }

  /**
   * The core's: calls back once there may be queries to take.
   *
   * @returns whether it will; false when there are some already
   */
  sleep(onWake: () => void): boolean {
    Atomics.store(this.#control, WORD.bell, ASLEEP);
    const control = this.#control;
    const isEmpty = Atomics.load(control, WORD.head) === Atomics.load(control, WORD.tail);
    if (isEmpty) {
      const wait = Atomics.waitAsync(control, WORD.bell, ASLEEP);
      if (wait.async) {
        void wait.value.then(onWake);
        return true;
      }
    }
    Atomics.store(control, WORD.bell, AWAKE);
    return false;
  }

  /** The core's: ends its own sleep. */
  wake(): void {
    Atomics.store(this.#control, WORD.bell, AWAKE);
    Atomics.notify(this.#control, WORD.bell);
  }
}

function copyWords(
  source: Int32Array,
  from: number,
  target: Int32Array,
  to: number,
  count: number,
): void {
  for (let index = 0; index < count; index += 1) target[to + index] = source[from + index]!;
}
