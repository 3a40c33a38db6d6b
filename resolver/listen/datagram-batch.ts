/**
 * Memory for datagrams that are received and sent many at a time, laid out for recvmmsg(2) and
 * sendmmsg(2). What was received into a place is answered from the same place: its octets are
 * overwritten, its peer and local address stay.
 *
 * Invariants: 0 <= sending <= received or filled places <= BATCH_MAX; nothing is allocated per batch;
 * the memory never moves, and lives as long as the batch.
 */
import { type Libc, MSG_DONTWAIT, MSG_TRUNC, MSG_WAITFORONE } from './libc.ts';

export const BATCH_MAX = 64;
/** Longest query taken; questions have at most 271 octets, the rest is options. */
export const QUERY_OCTETS_MAX = 2_048;
/** A line more than a power of two, so that the places do not all compete for the same cache lines. */
const PLACE_OCTETS = QUERY_OCTETS_MAX + 64;
/** sockaddr_in6 has 28. */
export const PEER_OCTETS = 32;
export const PEER_WORDS = PEER_OCTETS / 4;
/** The longest control message, with an in6_pktinfo. */
export const CONTROL_OCTETS = 40;
export const CONTROL_WORDS = CONTROL_OCTETS / 4;

/** struct mmsghdr and struct iovec, in octets. */
const HEADER = { peer: 0, peerOctets: 8, vector: 16, vectors: 24, control: 32, controlOctets: 40 };
const HEADER_FLAGS = 48;
const HEADER_LENGTH = 56;
const HEADER_OCTETS = 64;
const HEADER_WORDS = HEADER_OCTETS / 4;
const VECTOR_OCTETS = 16;
const VECTOR_WORDS = VECTOR_OCTETS / 4;

const PAYLOAD_AT = 0;
const PEERS_AT = PAYLOAD_AT + BATCH_MAX * PLACE_OCTETS;
const CONTROLS_AT = PEERS_AT + BATCH_MAX * PEER_OCTETS;
const RECEIVE_VECTORS_AT = CONTROLS_AT + BATCH_MAX * CONTROL_OCTETS;
const SEND_VECTORS_AT = RECEIVE_VECTORS_AT + BATCH_MAX * VECTOR_OCTETS;
const RECEIVE_AT = SEND_VECTORS_AT + BATCH_MAX * VECTOR_OCTETS;
const SEND_AT = RECEIVE_AT + BATCH_MAX * HEADER_OCTETS;
const BATCH_OCTETS = SEND_AT + BATCH_MAX * HEADER_OCTETS;

/** What differs between the families, in octets. */
const FAMILIES = {
  4: { peer: 16, control: 32, interfaceAt: 16 },
  6: { peer: 28, control: CONTROL_OCTETS, interfaceAt: 32 },
} as const;
export type Family = keyof typeof FAMILIES;

export interface BatchOptions {
  readonly libc: Libc;
  readonly fd: number;
  readonly family: Family;
  /** Whether the local address of each datagram is wanted, and answered from. */
  readonly wantsLocal: boolean;
}

export class DatagramBatch {
  /** All places; a place's octets start at {@link at}. */
  readonly octets: Uint8Array;
  /** The same and everything else, as words. */
  readonly words: Int32Array;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #receiveAddress: bigint;
  readonly #sendAddresses: readonly bigint[];
  /** 0 when the local address is of no interest. */
  readonly #controlOctets: number;
  readonly #interfaceWord: number;
  /** Place that each header of the sending array points at. */
  readonly #wired = new Int32Array(BATCH_MAX).fill(-1);
  readonly #base: bigint;
  #sending = 0;

  constructor({ libc, fd, family, wantsLocal }: BatchOptions) {
    const { peer: peerOctets, control, interfaceAt } = FAMILIES[family];
    const memory = new ArrayBuffer(BATCH_OCTETS);
    this.octets = new Uint8Array(memory);
    this.words = new Int32Array(memory);
    this.#libc = libc;
    this.#fd = fd;
    this.#base = libc.addressOf(memory);
    this.#receiveAddress = this.#base + BigInt(RECEIVE_AT);
    this.#sendAddresses = Array.from(
      { length: BATCH_MAX },
      (_, index) => this.#base + BigInt(SEND_AT + index * HEADER_OCTETS),
    );
    this.#controlOctets = wantsLocal ? control : 0;
    this.#interfaceWord = interfaceAt / 4;
    for (let place = 0; place < BATCH_MAX; place += 1) {
      this.#lay(RECEIVE_AT, RECEIVE_VECTORS_AT, place, peerOctets);
      this.#lay(SEND_AT, SEND_VECTORS_AT, place, peerOctets);
      this.#wire(RECEIVE_AT, RECEIVE_VECTORS_AT, place, place);
      this.#word(RECEIVE_VECTORS_AT + place * VECTOR_OCTETS + 8, QUERY_OCTETS_MAX);
    }
  }

  /** Octet of {@link octets} where a place's datagram starts; a multiple of four. */
  at(place: number): number {
    return PAYLOAD_AT + place * PLACE_OCTETS;
  }

  /** Waits for datagrams. @returns how many there are, in places from 0; or -1, see errno */
  receive(): number {
    this.#sending = 0;
    if (this.#controlOctets > 0) {
      for (let place = 0; place < BATCH_MAX; place += 1) {
        this.#word(RECEIVE_AT + place * HEADER_OCTETS + HEADER.controlOctets, this.#controlOctets);
      }
    }
    return this.#libc.recvmmsg(this.#fd, this.#receiveAddress, BATCH_MAX, MSG_WAITFORONE, null);
  }

  receivedOctets(place: number): number {
    return this.words[(RECEIVE_AT + HEADER_LENGTH) / 4 + place * HEADER_WORDS]!;
  }

  /** Whether the datagram was longer than QUERY_OCTETS_MAX. */
  wasCut(place: number): boolean {
    return (this.words[(RECEIVE_AT + HEADER_FLAGS) / 4 + place * HEADER_WORDS]! & MSG_TRUNC) !== 0;
  }

  /** Index of the first word of the place's peer in {@link words}. */
  peerWord(place: number): number {
    return (PEERS_AT + place * PEER_OCTETS) / 4;
  }

  controlWord(place: number): number {
    return (CONTROLS_AT + place * CONTROL_OCTETS) / 4;
  }

  /** Sends `octets` from the place with the next {@link flush}. */
  queue(place: number, octets: number): void {
    const index = this.#sending;
    this.#sending = index + 1;
    if (this.#wired[index] !== place) {
      this.#wired[index] = place;
      this.#wire(SEND_AT, SEND_VECTORS_AT, index, place);
    }
    this.words[(SEND_VECTORS_AT + 8) / 4 + index * VECTOR_WORDS] = octets;
    // The answer leaves by whatever way the routes say, not by the interface that the query came in at.
    if (this.#controlOctets > 0) this.words[this.controlWord(place) + this.#interfaceWord] = 0;
  }

  /** Datagrams queued and not flushed. */
  get sending(): number {
    return this.#sending;
  }

  /** Never waits. @returns how many of the queued were not sent */
  flush(): number {
    const count = this.#sending;
    this.#sending = 0;
    let done = 0;
    let lost = 0;
    while (done < count) {
      const address = this.#sendAddresses[done]!;
      const sent = this.#libc.sendmmsg(this.#fd, address, count - done, MSG_DONTWAIT);
      // The first of them cannot be sent: to this peer, or at all for now. The next tells which.
      if (sent <= 0) lost += 1;
      done += Math.max(sent, 1);
    }
    return lost;
  }

  #lay(headersAt: number, vectorsAt: number, place: number, peerOctets: number): void {
    const header = headersAt + place * HEADER_OCTETS;
    this.#word(header + HEADER.peerOctets, peerOctets);
    this.#pointer(header + HEADER.vector, vectorsAt + place * VECTOR_OCTETS);
    this.#word(header + HEADER.vectors, 1);
    this.#word(header + HEADER.controlOctets, this.#controlOctets);
  }

  /** Points a header and its vector at the payload, peer and control of a place. */
  #wire(headersAt: number, vectorsAt: number, index: number, place: number): void {
    const header = headersAt + index * HEADER_OCTETS;
    this.#pointer(vectorsAt + index * VECTOR_OCTETS, this.at(place));
    this.#pointer(header + HEADER.peer, PEERS_AT + place * PEER_OCTETS);
    if (this.#controlOctets > 0) {
      this.#pointer(header + HEADER.control, CONTROLS_AT + place * CONTROL_OCTETS);
    }
  }

  #word(offset: number, value: number): void {
    this.words[offset / 4] = value;
  }

  #pointer(offset: number, target: number): void {
    const address = Number(this.#base) + target;
    this.words[offset / 4] = address | 0;
    this.words[offset / 4 + 1] = Math.floor(address / 0x1_0000_0000);
  }
}
