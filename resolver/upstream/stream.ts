/**
 * Questions to one upstream over a stream, whatever carries it: TCP and TLS (tcp.ts), HTTPS (https.ts).
 * What an attempt needs of it, and what it tells the attempt.
 */

export interface StreamOwner {
  /**
   * A response that matches in full. It is the owner's to keep.
   * @param sameCase it repeats the question in the very case it was sent in
   */
  onStreamResponse(message: Uint8Array, sameCase: boolean): void;
  /**
   * The exchange is over without response.
   * @param code   of the system, of TLS, or ours; ECONNRESET when the peer closed
   * @param reused the connection had answered before, so that a new one may do better
   */
  onStreamError(code: string, reused: boolean): void;
}

/** One question under way. */
export interface StreamExchange {
  readonly owner: StreamOwner;
}

export interface StreamChannel {
  /** Packets that one more question would send, connecting and closing included; <= ASK_PACKETS_MAX. */
  readonly askPackets: number;
  /**
   * @param query message of which ID and case may be replaced; copied
   * @returns the exchange, or null when too many are open
   */
  ask(query: Uint8Array, questionEnd: number, owner: StreamOwner): StreamExchange | null;
  /** Forgets the exchange; its response will be dropped. */
  close(exchange: StreamExchange): void;
  /** The connection is of no use any more: owners are told, and who asks next gets a new one. */
  reset(): void;
  /** Closes everything; nobody is told. */
  stop(): void;
}
